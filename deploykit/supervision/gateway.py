"""nginx: generations staged beside the live one, run only when nginx has accepted them, confirmed from nginx itself."""

from __future__ import annotations

import contextlib
import math
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from deploykit import disk, machine, wire
from deploykit.causes import likely_cause
from deploykit.errors import DeployFailed, EnvironmentLacks, Failure
from deploykit.plan import Desired, Plan, RenderedFile
from deploykit.supervision import journal, records
from deploykit.supervision.home import Home, clean_environment
from deploykit.supervision.programs import Program
from deploykit.supervision.supervisord import Running, Supervisord, until

NAME = "nginx"
TAKES_REQUESTS = "worker process"
"""In the title of a worker that still listens."""

GENERATION_HOST = "deploykit.invalid"
CONFIRM_SECONDS = 15.0
"""How long a start or a reload may take until the live nginx tells the new generation."""

LEAVE_SECONDS = 5.0
"""How long nginx may go on listening where it did before a reload."""


class Gateway:
    """The nginx of one stack."""

    def __init__(self, home: Home, supervisord: Supervisord) -> None:
        self.home = home
        self.supervisord = supervisord

    # --- staged ---

    def stage(self, desired: Desired) -> str:
        """The generation lies beside the live one, and the nginx that will run it has accepted it.

        Raises:
            DeployFailed: nginx refuses it; with nginx's own lines. What was staged is removed again.
        """
        generation, files = desired.generation, desired.nginx_files()
        folder = self.home.nginx / generation
        disk.remove(folder / records.MANIFEST)
        wanted = {file.path.removeprefix("nginx/"): file for file in files}
        if folder.is_dir():
            for path in [path for path in folder.rglob("*") if path.is_file() or path.is_symlink()]:
                if str(path.relative_to(folder)) not in wanted:
                    disk.remove(path)
        for name, file in wanted.items():
            disk.write(folder / name, file.text, file.mode)
        code, output = self.check(desired.plan.facts.nginx.command, generation)
        if code != 0:
            if disk.read_link(self.home.nginx / "current") != generation:
                disk.remove(folder)
            raise self._refused(output, files, generation)
        records.write_manifest(folder, generation, {file.path: file.digest for file in files}, _record(desired.plan))
        return f"{desired.plan.facts.nginx.version_text} accepted {len(files)} files"

    def check(self, command: str, generation: str) -> tuple[int, str]:
        """Exit code and output of `nginx -t` on that generation, as the nginx of this stack would read it."""
        words = [command, "-t", "-p", ".", "-c", f"nginx/{generation}/nginx.conf"]
        try:
            done = subprocess.run(
                words,
                cwd=self.home.root,
                env=clean_environment(self.home),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=60,
                check=False,
            )
        except OSError as error:
            raise EnvironmentLacks(f"can't run {command}: {error.strerror}") from error
        except subprocess.TimeoutExpired:
            return 1, "nginx -t did not end within 60 s"
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def _refused(self, output: str, files: Sequence[RenderedFile], generation: str) -> DeployFailed:
        lines = tuple(line for line in output.splitlines() if line.strip())
        cause = likely_cause(lines)
        for file in files:
            place = re.search(re.escape(file.path.removeprefix("nginx/")) + r":(\d+)", output)
            if place:
                at = ".".join(str(part) for part in file.spec_path)
                cause = f"line {place[1]} of {file.path}" + (f", which `{at}` of the spec makes" if at else "")
                break
        return DeployFailed(
            Failure(
                "nginx refuses its new configuration, which never went live",
                tried=(f"nginx -t -p . -c nginx/{generation}/nginx.conf",),
                log_name="nginx -t",
                log_lines=lines[-20:],
                cause=cause,
            )
        )

    # --- run ---

    def run(self, desired: Desired, generation: str, how: str, before: str) -> str:
        """The live nginx runs that generation and says so.

        Raises:
            EnvironmentLacks: its port is taken.
            DeployFailed: it did not come to run it; `current` is what it was, and an nginx that ran goes on with that.
        """
        folder = self.home.nginx / generation
        if records.whole_generation(folder) != generation:
            raise DeployFailed(
                f"the nginx configuration {generation} is not there whole", hint="deploykit up stages it"
            )
        plan = desired.plan
        # A generation that is gone back to listens where it did, not where this plan wants it.
        record = None if generation == desired.generation else records.staged_nginx(folder)
        record = record or _record(plan)
        known = self.supervisord.one(NAME)
        old = records.read_nginx(self.home)
        # nginx opens what it will listen on before it closes what it did: one port at two addresses can't be reloaded.
        moved = old is not None and old.port == record.port and old.host != record.host
        if how == "reload" and known is not None and known.is_up and not moved:
            if old is None or old.port != record.port:
                self._refuse_taken(record)
            self._reload(generation, before, record)
            if old is not None and old.port != record.port:
                self._await_left(old)
        else:
            self._start(plan, generation, before, record)
        records.write_nginx(self.home, record)
        self._forget_old(generation, before)
        return f"runs generation {generation}"

    def _start(self, plan: Plan, generation: str, before: str, record: records.NginxRecord) -> None:
        old = records.read_nginx(self.home)
        known = self.supervisord.one(NAME)
        was_up = known is not None and known.is_up
        if not was_up or old is None or old.port != record.port:
            self._refuse_taken(record)
        patience = max([app.stop_grace_seconds for app in plan.apps], default=30.0)
        self.supervisord.remove(NAME, patience)
        disk.link(self.home.nginx / "current", generation)
        start = journal.size(self.home.log(NAME))
        self.supervisord.start(_program(record.command, patience))
        if seen := self._not_confirmed(record, generation, start):
            lines = journal.lines_since(self.home.log(NAME), start, 20)
            self.supervisord.remove(NAME, 5.0)
            failed = self._failed("nginx did not start with its new configuration", seen, lines, record)
            self._restore(before)
            if was_up and before and old is not None:
                start = journal.size(self.home.log(NAME))
                self.supervisord.start(_program(old.command, patience))
                self._not_confirmed(old, before, start)
            raise failed

    def _reload(self, generation: str, before: str, record: records.NginxRecord) -> None:
        start = journal.size(self.home.log(NAME))
        disk.link(self.home.nginx / "current", generation)
        old = self._workers()
        self.supervisord.signal(NAME, "HUP")
        if seen := self._not_confirmed(record, generation, start):
            lines = journal.lines_since(self.home.log(NAME), start, 20)
            self._restore(before)
            self.supervisord.signal(NAME, "HUP")
            raise self._failed("nginx did not take its new configuration", seen, lines, record)
        # A new worker has answered; until an old one has heard of it, it may still take the next request.
        for _ in until(LEAVE_SECONDS, 0.02):
            if not any(TAKES_REQUESTS in self._workers().get(pid, "") for pid in old):
                return

    def _workers(self) -> dict[int, str]:
        """Process id and title of each of nginx's workers; nginx writes into the title that one is shutting down."""
        import psutil

        known = self.supervisord.one(NAME)
        found: dict[int, str] = {}
        with contextlib.suppress(psutil.Error):
            for process in psutil.Process(known.pid).children() if known is not None and known.pid else ():
                with contextlib.suppress(psutil.Error):
                    title = " ".join(process.cmdline())
                    found[process.pid] = "" if "shutting down" in title else title
        return found

    def _await_left(self, old: records.NginxRecord) -> None:
        """Old workers close what they listened on a moment after new ones answer; then others may have it."""
        for _ in until(LEAVE_SECONDS, 0.02):
            if not machine.why_not_listen(old.host, old.port):
                return

    def _restore(self, before: str) -> None:
        if before:
            disk.link(self.home.nginx / "current", before)
        else:
            disk.remove(self.home.nginx / "current")

    def _failed(
        self, what: str, seen: str, lines: tuple[str, ...], record: records.NginxRecord
    ) -> DeployFailed | EnvironmentLacks:
        if any("bind()" in line and "Address already in use" in line for line in lines):
            # It was free when it was looked at, and somebody was quicker.
            try:
                self._refuse_taken(record)
            except EnvironmentLacks as taken:
                return taken
        log = str(self.home.log(NAME))
        return DeployFailed(Failure(what, tried=(seen,), log_name=log, log_lines=lines, cause=likely_cause(lines)))

    def refuse_taken(self, plan: Plan) -> None:
        """Nothing, where nginx listens where the plan says, or could.

        Raises:
            EnvironmentLacks: somebody else listens there; says who.
        """
        old = records.read_nginx(self.home)
        known = self.supervisord.one(NAME) if self.supervisord.pid() is not None else None
        if known is None or not known.is_up or old is None or old.port != plan.listen_port:
            self._refuse_taken(_record(plan))

    def _refuse_taken(self, record: records.NginxRecord) -> None:
        if reason := machine.why_not_listen(record.host, record.port):
            host = f"[{record.host}]" if ":" in record.host else record.host
            raise EnvironmentLacks(
                f"nginx can't listen on {host}:{record.port}: {reason}",
                hint="end it, or choose another port in `listen`",
            )

    def _not_confirmed(self, record: records.NginxRecord, generation: str, log_start: int) -> str:
        """What was seen instead of that generation from a running nginx, until the time was over; empty once it is."""
        deadline = time.monotonic() + CONFIRM_SECONDS
        while True:
            told = self.told(record)
            known = self.supervisord.one(NAME)
            if known is None or known.state in ("BACKOFF", "FATAL", "EXITED", "STOPPED"):
                return "nginx ended" if known is None or not known.error else f"nginx ended: {known.error}"
            if told == generation and known.state == "RUNNING":
                return ""
            if any("[emerg]" in line for line in journal.lines_since(self.home.log(NAME), log_start, 50)):
                return f"the live nginx tells generation {told or 'none'}, not {generation}"
            if time.monotonic() >= deadline:
                return f"the live nginx tells generation {told or 'none'} after {CONFIRM_SECONDS:g} s, not {generation}"
            time.sleep(0.05)

    def _forget_old(self, generation: str, before: str) -> None:
        for folder in self.home.nginx.iterdir():
            if folder.is_dir() and not folder.is_symlink() and folder.name not in (generation, before):
                disk.remove(folder)

    # --- looked at ---

    def told(self, record: records.NginxRecord | None = None) -> str:
        """The generation that the live nginx tells; empty where it tells none."""
        record = record or records.read_nginx(self.home)
        if record is None:
            return ""
        answer = wire.send(generation_request(record))
        return answer.body.strip() if answer.status == 200 else ""

    def on_disk(self) -> str:
        """The generation that `current` names; empty where its files are not what was written."""
        current = disk.read_link(self.home.nginx / "current")
        return current if current and records.whole_generation(self.home.nginx / current) == current else ""

    def current_folder(self) -> Path:
        return self.home.nginx / "current"

    def stop(self, patience_seconds: float) -> str:
        """It has finished its requests and ended."""
        known: Running | None = self.supervisord.one(NAME)
        self.supervisord.remove(NAME, patience_seconds)
        return "ended" if known is not None and known.is_up else "it did not run"


def generation_request(record: records.NginxRecord) -> wire.Request:
    """The request that asks the live nginx for its generation; it answers only to loopback addresses."""
    six = ":" in record.host
    everywhere = record.host in ("0.0.0.0", "::")  # noqa: S104 -- compared, not bound
    host = ("[::1]" if six else "127.0.0.1") if everywhere else (f"[{record.host}]" if six else record.host)
    return wire.Request(
        f"{host}:{record.port}",
        "/generation",
        host=GENERATION_HOST,
        source="::1" if six else "127.0.0.1",
        timeout_seconds=2.0,
    )


def _record(plan: Plan) -> records.NginxRecord:
    return records.NginxRecord(plan.nginx_shape, plan.facts.nginx.command, plan.listen_host, plan.listen_port)


def _program(command: str, stop_seconds: float) -> Program:
    return Program(
        name=NAME,
        command=(command, "-p", ".", "-c", "nginx/current/nginx.conf"),
        directory=".",
        log=f"logs/{NAME}.log",
        # Finish the requests that run; TERM would cut them.
        stop_signal="QUIT",
        stop_seconds=max(1, math.ceil(stop_seconds)),
    )
