"""Instances: started beside what serves, healthy before they are switched to, stopped by their graceful signal."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import replace

from deploykit import disk, draining, machine, wire
from deploykit.errors import DeployFailed, EnvironmentLacks
from deploykit.health import READ_LINES, ended_text, failure, more_telling, why_unhealthy
from deploykit.plan import AppPlan, Probe, Slot
from deploykit.supervision import journal, records
from deploykit.supervision.environments import environment_python
from deploykit.supervision.home import Home, member_name, program_name
from deploykit.supervision.programs import Program
from deploykit.supervision.supervisord import Running, Supervisord, process_family

UP = "../../../.."
"""From a release's code to the home of the stack."""

FAILED_SECONDS = 1.0
"""The patience with an instance that never became healthy: nothing waits for its answers."""

SETTLED_SECONDS = 10
"""An instance that lives shorter is not started again at once each time, which would keep a CPU busy; as an Engine."""

UNKNOWN_GRACE_SECONDS = 60.0
"""The patience where nobody says how long an instance may take to stop."""


class Members:
    """The instances of one stack."""

    def __init__(self, home: Home, supervisord: Supervisord) -> None:
        self.home = home
        self.supervisord = supervisord

    # --- start and stop ---

    def start(self, app: AppPlan, slot: Slot, release: str) -> str:
        """The instance runs and answers its probe.

        Raises:
            DeployFailed: it ended, or did not become healthy within its start period; nothing of it is left then.
            EnvironmentLacks: its port is taken.
        """
        record = records.read_release(self.home, app.name, release)
        if record is None:
            raise DeployFailed(f"release {release} of {app.name} is not complete", hint="deploykit up builds it")
        program = self._program(app, slot, release, record)
        known = self.supervisord.one(program.name)
        if slot_port := self._port(app, slot):
            self._refuse_taken(app, slot_port, known)
        elif known is None or not known.is_up:
            disk.remove(self.home.socket(app.name, slot.number, release))
        log = self.home.log(member_name(app.name, slot.number))
        start = journal.size(log)
        began = time.monotonic()
        before = self.supervisord.start(program)
        address = self.address(self._remember(app, slot, record), slot.number)
        try:
            self._wait(program.name, before, address, app.probe, app.protocol, start)
        except BaseException:
            self._take_back(app.name, slot.number, release, FAILED_SECONDS)
            raise
        if disk.read_link(self.home.current(app.name)) == release and app.socket == "unix":
            disk.link(self.home.slot(app.name, slot.number), f"{release}-{slot.number}.sock")
        return f"healthy after {time.monotonic() - began:.1f} s"

    def stop(self, app: str, slot: int, release: str, *, wanted: bool, patience_seconds: float) -> str:
        """It has ended, its requests finished; nothing of it is left, nor its slot's link where that isn't `wanted`."""
        name = program_name(app, slot, release)
        began = time.monotonic()
        known = self.supervisord.one(name) if self.supervisord.pid() is not None else None
        self._take_back(app, slot, release, patience_seconds)
        link = self.home.slot(app, slot)
        if not wanted and disk.read_link(link) == f"{release}-{slot}.sock":
            disk.remove(link)
        if known is None or not known.is_up:
            return "it did not run"
        return f"ended after {time.monotonic() - began:.1f} s"

    def open_connections(self, app: str, slot: int, release: str) -> Callable[[], int]:
        """Counts the connections that the processes of that instance have open now; 0 where it listens on TCP."""
        known = self.supervisord.one(program_name(app, slot, release)) if self.supervisord.pid() is not None else None
        pids = [process.pid for process in process_family(known.pid)] if known is not None and known.pid else []
        return lambda: draining.connected_here(pids, f"/{app}/{release}-{slot}.sock")

    def restart(self, app: str, slot: int, release: str) -> None:
        """It was stopped gracefully, and the same program runs again and is healthy.

        Raises:
            DeployFailed: it did not become healthy; it is left as it is, to be looked at.
        """
        name = program_name(app, slot, release)
        record = records.read_release(self.home, app, release)
        if record is None or not self.home.program(name).exists():
            raise DeployFailed(f"{member_name(app, slot)} is not there", hint="deploykit up starts it")
        start = journal.size(self.home.log(member_name(app, slot)))
        before = self.supervisord.restart(name, stop_seconds(self.home, name))
        self._wait(name, before, self.address(record, slot), record.probe, record.protocol, start)

    def _take_back(self, app: str, slot: int, release: str, patience_seconds: float) -> None:
        name = program_name(app, slot, release)
        if self.supervisord.pid() is not None:
            self.supervisord.remove(name, patience_seconds)
        self.supervisord.forget(name)
        disk.remove(self.home.socket(app, slot, release))

    # --- what it is ---

    def _program(self, app: AppPlan, slot: Slot, release: str, record: records.ReleaseRecord) -> Program:
        address = slot.address
        if app.socket == "unix":
            # Relative, so that a folder however deep leaves the path short enough for a socket.
            address = f"{UP}/run/{app.name}/{release}-{slot.number}.sock"
        python = environment_python(self.home.environments / record.environment)
        return Program(
            name=program_name(app.name, slot.number, release),
            command=(str(python), "../config/launch.py", "serve"),
            directory=f"releases/{app.name}/{release}/code",
            log=f"logs/{member_name(app.name, slot.number)}.log",
            stop_signal=app.stop_signal,
            stop_seconds=max(1, math.ceil(app.stop_grace_seconds)) + draining.END_SECONDS,
            settled_seconds=SETTLED_SECONDS,
            environment={"DEPLOYKIT_SOCKET": address, "DEPLOYKIT_SECRETS": "../secrets"},
        )

    def _remember(self, app: AppPlan, slot: Slot, record: records.ReleaseRecord) -> records.ReleaseRecord:
        """Its record, which says how it is asked now and where it listens now: that may be elsewhere than before."""
        ports = dict(record.ports)
        if port := self._port(app, slot):
            ports[str(slot.number)] = port
        now = replace(record, probe=app.probe, ports=ports)
        if now != record:
            records.write_release(self.home, now)
        return now

    def _port(self, app: AppPlan, slot: Slot) -> int | None:
        return records.port_of(slot.address) if app.socket == "tcp" else None

    def _refuse_taken(self, app: AppPlan, port: int, known: Running | None) -> None:
        if known is not None and known.is_up:
            return
        if reason := machine.why_not_listen("127.0.0.1", port):
            raise EnvironmentLacks(f"{app.name} can't listen on 127.0.0.1:{port}: {reason}")

    def address(self, record: records.ReleaseRecord, slot: int) -> str:
        """Where an instance of that release is reached from here, as `wire` wants it."""
        if record.socket == "tcp":
            return f"127.0.0.1:{record.ports.get(str(slot), 0)}"
        return f"unix:{self.home.socket(record.app, slot, record.id)}"

    # --- how it does ---

    def _wait(
        self, program: str, ended_before: float, address: str, probe: Probe, protocol: str, log_start: int
    ) -> None:
        member = program.rpartition("-")[0]
        deadline = time.monotonic() + probe.start_period_seconds
        answer: wire.Answer | None = None
        while True:
            left = max(0.2, min(probe.timeout_seconds, deadline - time.monotonic()))
            answer = more_telling(answer, wire.send(probe_request(probe, address, protocol, left)))
            known = self.supervisord.one(program)
            if known is None:
                raise DeployFailed(f"{member} was removed while it was starting")
            # supervisord starts it again at once, so an end shows in its time more surely than in the state.
            if known.ended != ended_before or known.state in ENDED:
                raise self._failed(member, probe, self._how_it_ended(known), answer, log_start)
            if not why_unhealthy(probe, answer):
                return
            if time.monotonic() >= deadline:
                raise self._failed(member, probe, "", answer, log_start)
            time.sleep(0.1)

    def _failed(self, member: str, probe: Probe, ended: str, answer: wire.Answer, log_start: int) -> DeployFailed:
        log = self.home.log(member)
        lines = journal.lines_since(log, log_start, READ_LINES)
        return DeployFailed(failure(member, probe, ended, answer, str(log), lines))

    def _how_it_ended(self, known: Running) -> str:
        if known.error and "too quickly" not in known.error:
            return f"could not be started: {known.error}"
        found = journal.ends(self.home).get(known.name, ())
        return ended_text(found[0] if found else None)


ENDED = ("BACKOFF", "EXITED", "FATAL", "STOPPED", "STOPPING")


def probe_request(probe: Probe, address: str, protocol: str, timeout_seconds: float) -> wire.Request:
    """The request that asks an instance itself whether it is healthy."""
    return wire.Request(address, target=probe.path, host=probe.host, protocol=protocol, timeout_seconds=timeout_seconds)


def stop_seconds(home: Home, name: str) -> float:
    """How long that program may take to stop, as its file says; a minute where it doesn't."""
    with contextlib.suppress(OSError, ValueError):
        for line in home.program(name).read_text().splitlines():
            if line.startswith("stopwaitsecs = "):
                return float(line.partition("=")[2])
    return UNKNOWN_GRACE_SECONDS
