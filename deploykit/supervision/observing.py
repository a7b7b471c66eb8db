"""One snapshot of a stack on this machine, from supervisord, the disk and the processes. Changes nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Literal

from deploykit import disk, wire
from deploykit.health import End, told, why_unhealthy
from deploykit.plan import Member, NginxSeen, Observed, Release
from deploykit.supervision import journal, records
from deploykit.supervision.gateway import NAME, Gateway
from deploykit.supervision.home import Home, program_name, program_parts
from deploykit.supervision.leftovers import leftovers
from deploykit.supervision.members import Members, probe_request
from deploykit.supervision.processes import strays
from deploykit.supervision.supervisord import Running, Supervisord, is_alive, process_family

State = Literal["starting", "running", "stopped", "failed"]

STATES: Mapping[str, State] = {
    "STARTING": "starting",
    "RUNNING": "running",
    "STOPPING": "stopped",
    "STOPPED": "stopped",
    "BACKOFF": "failed",
    "EXITED": "failed",
    "FATAL": "failed",
    "UNKNOWN": "failed",
}


def observe(home: Home, supervisord: Supervisord, probes: bool) -> Observed:
    """What is there now; each instance's health is asked where `probes` says so."""
    pid = supervisord.pid()
    known = supervisord.all() if pid is not None else {}
    ends = journal.ends(home)
    members = _members(home, supervisord, known, ends)
    if probes:
        members = _asked(home, Members(home, supervisord), members, ends)
    complete: dict[str, tuple[Release, ...]] = {}
    incomplete: list[tuple[str, str]] = []
    live: dict[str, str] = {}
    previous: dict[str, str] = {}
    apps = dict.fromkeys(records.apps_with_releases(home))
    for app in apps:
        found = list(records.releases_of(home, app))
        whole = sorted((record for _, record in found if record), key=lambda record: -record.completed)
        if whole:
            complete[app] = tuple(record.release for record in whole)
        incomplete += [(app, name) for name, record in found if record is None]
        if serving := records.live_release(home, app):
            live[app] = serving
        if earlier := disk.read_link(home.previous(app)):
            previous[app] = earlier
    apps.update(dict.fromkeys(member.app for member in members))
    lost = tuple(stray.name for stray in strays(home, pid))
    # While workers of a killed nginx hold the port, the one that supervisord started in its place can't listen.
    gateway = None if any(name.startswith(NAME) for name in lost) else known.get(NAME)
    return Observed(
        members=members,
        complete=complete,
        incomplete=tuple(incomplete),
        live=live,
        previous=previous,
        nginx=_nginx(home, supervisord, gateway, len(ends.get(NAME, ()))),
        orphans=lost,
        leftovers=tuple(path.relative_to(home.root).as_posix() for path in leftovers(home)),
        base_ready=pid is not None,
        apps_known=tuple(sorted(apps)),
    )


def _members(
    home: Home, supervisord: Supervisord, known: Mapping[str, Running], ends: Mapping[str, Sequence[End]]
) -> tuple[Member, ...]:
    names = set(known)
    if home.programs.is_dir():
        names |= {path.stem for path in home.programs.iterdir() if path.suffix == ".conf"}
    found = []
    for name in names:
        parts = program_parts(name)
        if parts is None:
            continue
        program = known.get(name)
        up = program is not None and program.is_up
        found.append(
            Member(
                app=parts[0],
                slot=parts[1],
                release=parts[2],
                state=STATES.get(program.state, "failed") if program is not None else "stopped",
                since=program.started if program is not None and up else None,
                restarts=len(ends.get(name, ())),
                memory_bytes=memory_bytes(program.pid) if program is not None and up else None,
                address=_address(home, *parts),
            )
        )
    return tuple(sorted(found, key=lambda member: (member.app, member.slot, member.release)))


def _address(home: Home, app: str, slot: int, release: str) -> str:
    record = records.read_release(home, app, release)
    if record is not None and record.socket == "tcp":
        return f"127.0.0.1:{record.ports.get(str(slot), 0)}"
    return f"unix:{home.slot(app, slot).relative_to(home.root)}"


def _asked(
    home: Home, instances: Members, members: Sequence[Member], ends: Mapping[str, Sequence[End]]
) -> tuple[Member, ...]:
    """The same with how each does; all are asked side by side, so that many that hang cost the time of one."""

    def ask(member: Member) -> Member:
        record = records.read_release(home, member.app, member.release)
        up = member.state in ("running", "starting") and record is not None
        why = ""
        if up and record is not None:
            address = instances.address(record, member.slot)
            answer = wire.send(probe_request(record.probe, address, record.protocol, record.probe.timeout_seconds))
            why = why_unhealthy(record.probe, answer)
        seen, since = told(ends.get(program_name(member.app, member.slot, member.release), ()), time.time(), why)
        # It counts as started only after a while; one that answers already serves.
        state: State = "running" if up and not why else member.state
        return replace(member, state=state, healthy=not why if up else None, seen=seen, unwell_since=since)

    with ThreadPoolExecutor(16) as pool:
        return tuple(pool.map(ask, members))


def _nginx(home: Home, supervisord: Supervisord, program: Running | None, restarts: int) -> NginxSeen:
    gateway = Gateway(home, supervisord)
    record = records.read_nginx(home)
    up = program is not None and program.is_up
    there = program is not None or bool(disk.read_link(home.nginx / "current"))
    return NginxSeen(
        state="running" if up else "stopped" if there else "absent",
        on_disk=gateway.on_disk(),
        live=gateway.told(record) if up else "",
        shape=record.shape if record is not None else "",
        since=program.started if program is not None and up else None,
        restarts=restarts,
        memory_bytes=memory_bytes(program.pid) if program is not None and up else None,
    )


def memory_bytes(pid: int) -> int | None:
    """What a process and all below it take, shared pages counted once; None where it is gone."""
    import psutil

    total = 0
    for process in process_family(pid):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            if is_alive(process):
                return None
    return total or None
