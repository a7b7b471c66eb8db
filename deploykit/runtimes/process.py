"""The process runtime: nginx and app servers as this user's processes, kept running by a supervisord of their own.

Everything lies below `.deploykit/NAME/`; no root, no container. What it is made of is in `deploykit.supervision`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deploykit import disk, draining, machine, wire
from deploykit.errors import DeployFailed, EnvironmentLacks, Problem, SpecError
from deploykit.plan import (
    Build,
    BuildRelease,
    Desired,
    DiscardRelease,
    EndOrphans,
    Facts,
    Observed,
    Plan,
    PrepareBase,
    RemoveLeftovers,
    RunNginx,
    RunReleaseCommands,
    StageNginx,
    StartMember,
    Step,
    StopMember,
    StopNginx,
    SwitchRelease,
)
from deploykit.runtimes import CommandResult, LogLine, Runtime, Stack, Tell, Vantage
from deploykit.spec.model import Spec
from deploykit.supervision import journal, ports, records
from deploykit.supervision.building import Builder
from deploykit.supervision.gateway import NAME as NGINX
from deploykit.supervision.gateway import Gateway
from deploykit.supervision.home import Home, member_name, program_parts, refuse_foreign, refuse_unusable
from deploykit.supervision.leftovers import leftovers, unstaged, unwritten
from deploykit.supervision.members import Members, probe_request, stop_seconds
from deploykit.supervision.observing import observe
from deploykit.supervision.processes import end, strays
from deploykit.supervision.supervisord import Supervisord, process_family

STAYS = ("volumes", "lock", "state.json")
"""What `down` leaves in the home: data, a lock that is held right now, and the record that is removed after it."""

FOLDERS = ("supervisor/programs", "logs", "nginx", "run", "releases", "venvs", "volumes", "tmp/nginx")


class ProcessRuntime:
    """One stack as processes of the user who owns its folder."""

    def __init__(self, stack: Stack, tell: Tell) -> None:
        machine.become_owner(stack.folder)
        self.stack = stack
        self.tell = tell
        self.home = Home(Path(os.path.abspath(stack.home)), stack.id)  # noqa: PTH100 -- links stay as the user has them
        refuse_foreign(self.home.root)
        self.supervisord = Supervisord(self.home)
        self.builder = Builder(self.home, stack.folder, tell)
        self.members = Members(self.home, self.supervisord)
        self.gateway = Gateway(self.home, self.supervisord)
        self._secrets: Mapping[str, Mapping[str, str]] = {}

    # --- looked at ---

    def facts(self, spec: Spec, renewed: Collection[str] = ()) -> Facts:
        """What the planner has to know; `renewed` are apps that get a new release, which needs other TCP ports."""
        refuse_unusable(self.home.root)
        return Facts(
            nginx=machine.find_nginx(),
            pythons={name: machine.find_python(app.python).version for name, app in spec.apps.items()},
            cpus=machine.usable_cpus(),
            memory_bytes=machine.usable_memory_bytes(),
            user=machine.user_name(),
            ports=ports.choose(self.home, spec, frozenset(renewed)),
        )

    def secrets_reached(self, values: Mapping[str, Mapping[str, str]]) -> None:
        self._secrets = values

    def make_builds(
        self, spec: Spec, plan: Plan, dockerfiles: Mapping[str, str], wanted: Mapping[str, Build], *, push: bool
    ) -> Mapping[str, tuple[Build, bool]]:
        raise _no_images("build")

    def promote(self, spec: Spec, build: str) -> Mapping[str, Build]:
        raise _no_images("up --release")

    def observe(self, probes: bool = True) -> Observed:
        return observe(self.home, self.supervisord, probes)

    def refuse_taken(self, desired: Desired, observed: Observed) -> None:
        if not observed.orphans:  # what is left behind may hold it, and is ended first
            self.gateway.refuse_taken(desired.plan)

    # --- changed ---

    def apply(self, step: Step, desired: Desired) -> str:
        with disk.explained("can't change what this stack has on disk"):
            return self._apply(step, desired)

    def _apply(self, step: Step, desired: Desired) -> str:
        match step:
            case EndOrphans():
                return self._end_orphans(max((app.stop_grace_seconds for app in desired.plan.apps), default=10.0))
            case PrepareBase():
                return self._prepare(desired)
            case BuildRelease(app=app):
                files, values = desired.app_files(app), self._secrets.get(app, {})
                return self.builder.build(desired.plan.app(app), desired.releases[app], files, values)
            case RunReleaseCommands(app=app):
                return self.builder.run_commands(desired.plan.app(app), desired.releases[app])
            case StartMember(app=app, slot=number, release=release):
                plan = desired.plan.app(app)
                slot = next(slot for slot in plan.slots if slot.number == number)
                return self.members.start(plan, slot, release)
            case SwitchRelease(app=app, release=release, previous=previous):
                return self._switch(desired, app, release, previous)
            case StageNginx():
                return self.gateway.stage(desired)
            case RunNginx(generation=generation, how=how, before=before):
                return self.gateway.run(desired, generation, how, before)
            case StopMember(app=app, slot=number, release=release):
                return self._stop(desired, app, number, release)
            case DiscardRelease(app=app, release=release):
                dropped = app not in desired.releases
                return self.builder.discard(app, release, dropped=dropped)
            case RemoveLeftovers():
                return self._remove_leftovers()
            case StopNginx():
                return self.gateway.stop(stop_seconds(self.home, NGINX))
        raise TypeError(f"no such step: {step!r}")

    def _end_orphans(self, patience_seconds: float) -> str:
        lost = strays(self.home, self.supervisord.pid())
        end(lost, patience_seconds)
        return f"ended {', '.join(stray.name for stray in lost)}" if lost else "they have ended by themselves"

    def _remove_leftovers(self) -> str:
        found = leftovers(self.home)
        for path in found:
            disk.remove(path)
        return f"removed {len(found)}" if found else "all of it came to be needed"

    def _prepare(self, desired: Desired) -> str:
        refuse_unusable(self.home.root)
        ignore = self.stack.folder / ".deploykit" / ".gitignore"
        if not ignore.exists():
            disk.write(ignore, "*\n")
        for name in (".", *FOLDERS, *(f"run/{app.name}" for app in desired.plan.apps)):
            (self.home.root / name).mkdir(parents=True, exist_ok=True)
        # Logs, sockets and secrets are nobody's business but the owner's.
        for folder in (self.home.root, self.home.sockets, *(self.home.sockets / app.name for app in desired.plan.apps)):
            folder.chmod(0o700)
        for file in desired.files:
            if file.path.startswith("supervisor/"):
                disk.write(self.home.root / file.path, file.text, file.mode)
        if self.supervisord.pid() is not None:
            return "supervisord runs"
        if os.geteuid() == 0:
            self.tell("warning: all of this runs as root, because root owns the folder of the spec")
        self.tell("it runs until `deploykit down` or a reboot; after a reboot, `deploykit up` starts it again")
        return f"supervisord runs as process {self.supervisord.launch()}"

    def _switch(self, desired: Desired, app: str, release: str, previous: str) -> str:
        plan = desired.plan.app(app)
        if records.read_release(self.home, app, release) is None:
            raise DeployFailed(f"release {release} of {app} is not complete, so nothing was switched to it")
        self._warn_of_data(app, disk.read_link(self.home.current(app)), release)
        # Before `current` leaves it, or its files were gone for a moment.
        if previous:
            disk.link(self.home.previous(app), previous)
        else:
            disk.remove(self.home.previous(app))
        # Files first: a page of the new release may name files that only it has.
        disk.link(self.home.current(app), release)
        if plan.socket == "unix":
            for slot in plan.slots:
                disk.link(self.home.slot(app, slot.number), f"{release}-{slot.number}.sock")
            wanted = {f"{slot.number}.sock" for slot in plan.slots}
            for path in sorted((self.home.sockets / app).iterdir()):
                if path.is_symlink() and path.name not in wanted:
                    disk.remove(path)
        # A release on TCP leaves the links of the one before: nginx knows them until it is reloaded.
        return f"{release} serves"

    def _warn_of_data(self, app: str, old: str, new: str) -> None:
        written = self.builder.written_by_app(app, old) if old and old != new else []
        if written:
            more = f" and {len(written) - 1} more" if len(written) > 1 else ""
            self.tell(f"warning: {app} {old} wrote {written[0]}{more} among its code, and {new} does not have that:")
            self.tell(f"warning: keep data in a folder that `volumes` names; the old is in {self.home.code(app, old)}")

    def _stop(self, desired: Desired, app: str, slot: int, release: str) -> str:
        plan = desired.plan.app(app) if app in desired.releases else None
        wanted = plan is not None and plan.socket == "unix" and any(slot == known.number for known in plan.slots)
        patience = stop_seconds(self.home, f"{app}-{slot}-{release}")
        grace = max(0.0, patience - draining.END_SECONDS)
        with draining.told(self.tell, member_name(app, slot), self.members.open_connections(app, slot, release), grace):
            return self.members.stop(app, slot, release, wanted=wanted, patience_seconds=patience)

    def undo_leftovers(self, desired: Desired) -> None:
        with disk.explained("can't remove what is half done"):
            self.builder.remove_half_built()
            for path in (*unstaged(self.home), *unwritten(self.home)):
                disk.remove(path)

    # --- asked ---

    def exchange(self, vantage: Vantage, requests: Sequence[wire.Request]) -> tuple[wire.Answer, ...]:
        # Both vantages are this machine's loopback.
        return tuple(wire.exchange(requests))

    def ask_members(self, desired: Desired) -> Mapping[tuple[str, int], wire.Answer]:
        answers = {}
        for app in desired.plan.apps:
            live = records.live_release(self.home, app.name)
            record = records.read_release(self.home, app.name, live) if live else None
            for slot in app.slots:
                if record is None:
                    answers[app.name, slot.number] = wire.Answer(0, error="no release serves")
                    continue
                address = self.members.address(record, slot.number)
                request = probe_request(app.probe, address, app.protocol, app.probe.timeout_seconds)
                answers[app.name, slot.number] = wire.send(request)
        return answers

    def nginx_accepts(self, desired: Desired) -> CommandResult:
        record = records.read_nginx(self.home)
        command = record.command if record is not None else desired.plan.facts.nginx.command
        return CommandResult(*self.gateway.check(command, "current"))

    def nginx_files_on_disk(self) -> Mapping[str, str]:
        return records.digests_of(self.gateway.current_folder())

    # --- used by a person ---

    def run(self, app: str, command: Sequence[str], *, tty: bool) -> int:
        import signal

        release = records.live_release(self.home, app)
        if not release or records.read_release(self.home, app, release) is None:
            raise EnvironmentLacks(f"no release of {app} serves here", hint=f"deploykit up{self.stack.option}")
        # The keys of the terminal are for the command, which shares it; what it makes of them is its own affair.
        # Passed over here and not ignored: what is ignored stays so in the command.
        keys = (signal.SIGINT, signal.SIGQUIT)
        before = [signal.signal(key, lambda _number, _frame: None) for key in keys]
        try:
            code = self.builder.run(app, release, command)
        finally:
            for key, handler in zip(keys, before, strict=True):
                signal.signal(key, handler)
        return code if code >= 0 else 128 - code

    def logs(self, names: Sequence[str], *, lines: int, follow: bool) -> Iterator[LogLine]:
        def wanted() -> Iterator[tuple[str, Path]]:
            for name in names or self._names():
                yield name, self.home.log(name)

        followed = journal.follow(wanted, lines) if follow else journal.last(wanted, lines)
        for name, text in followed:
            yield LogLine(name, text)

    def log_mark(self) -> str:
        return journal.mark(self.home.log(NGINX))

    def log_since(self, mark: str) -> tuple[str, ...] | None:
        return journal.since(self.home.log(NGINX), mark)

    def _names(self) -> tuple[str, ...]:
        """`nginx` and every member that has written something or will."""
        found = set()
        if self.home.programs.is_dir():
            for path in self.home.programs.glob("*.conf"):
                parts = program_parts(path.stem)
                found.add(member_name(parts[0], parts[1]) if parts else path.stem)
        return (*sorted(found - {NGINX}), *({NGINX} & found))

    def export(self, desired: Desired, app: str, into: Path) -> None:
        with disk.explained(f"can't write {into}"):
            self.builder.export(app, desired.releases[app].id, into)

    def restart(self, app: str, slot: int) -> None:
        self.members.restart(app, slot, records.live_release(self.home, app))

    def down(self, *, volumes: bool) -> tuple[str, ...]:
        grace = [stop_seconds(self.home, path.stem) for path in self._program_files()]
        patience = max(grace, default=10.0)
        with disk.explained("can't remove what this stack has on disk"):
            if self.supervisord.pid() is not None:
                # nginx first: what it has taken is finished while the apps still answer.
                self.gateway.stop(stop_seconds(self.home, NGINX))
                self.supervisord.shutdown(patience)
            end(strays(self.home, None), patience)
            kept = () if volumes else self.volumes_kept()
            if self.home.root.is_dir():
                for path in sorted(self.home.root.iterdir()):
                    if path.name not in STAYS or (path.name == "volumes" and not kept):
                        disk.remove(path)
        return kept

    def _program_files(self) -> list[Path]:
        return sorted(self.home.programs.glob("*.conf")) if self.home.programs.is_dir() else []

    def volumes_kept(self) -> tuple[str, ...]:
        return tuple(str(path) for path in sorted(self.home.volumes.glob("*/[!.]*")) if path.is_dir())

    def hosts(self) -> Mapping[str, Any]:
        import testinfra

        host = testinfra.get_host("local://")
        return dict.fromkeys(self.process_ids(), host)

    def process_ids(self) -> Mapping[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for name, program in sorted(self.supervisord.all().items()):
            parts = program_parts(name)
            if not program.is_up or (parts and records.live_release(self.home, parts[0]) != parts[2]):
                continue
            family = tuple(process.pid for process in process_family(program.pid))
            if family:
                found[member_name(parts[0], parts[1]) if parts else name] = family
        return found


def _no_images(command: str) -> SpecError:
    what = f"`{command}` is about images, and the target process makes each release where it runs"
    return SpecError(Problem("", what, "use `--target docker`, or `deploykit up` with the checkout"))


DRIVER: type[Runtime] = ProcessRuntime
