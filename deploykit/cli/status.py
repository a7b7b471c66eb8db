"""`deploykit status`: what runs, how it does, and the newest errors in its logs."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from deploykit.cli import reach
from deploykit.cli.complaints import Complaint, complaints
from deploykit.cli.console import printable
from deploykit.cli.options import Json, Options, StackName
from deploykit.cli.tables import Cell, Row, table
from deploykit.cli.words import bytes_text, plain, seconds_text

if TYPE_CHECKING:
    from deploykit.plan import Member, Observed
    from deploykit.runtimes import LogLine

ERROR_LINE = re.compile(r"\[(?:error|crit|alert|emerg)\]|\b(?:ERROR|CRITICAL|FATAL)\b|^\w*(?:Error|Exception)\b")
CLIENTS_FAULT = re.compile(r"failed \((?:2|20|36): [^)]*\), client: |client intended to send too large body")
"""What nginx calls an error and is a client's: a 404 of a static file, a 413."""
LINES_READ = 300
NGINX_LINES_READ = 5000
"""Most of them tell of requests."""
ERRORS_SHOWN = 5
STATES = {"running": "green", "starting": "yellow", "stopped": "yellow", "failed": "red", "absent": "dim"}


def status(options: Options, name: StackName = None, json: Json = False) -> int:
    """Show what runs, how it does, and the newest errors."""
    console = options.console
    stack, runtime = reach.running(options, name)
    observed = runtime.observe()
    lines = list(runtime.logs((), lines=LINES_READ, follow=False))
    errors = [line for line in lines if _is_error(line)][-ERRORS_SHOWN:]
    said = complaints(runtime.logs(("nginx",), lines=NGINX_LINES_READ, follow=False), observed)
    if json:
        console.answer_json(
            {
                "name": stack.name,
                "environment": stack.environment,
                "members": plain(observed.members),
                "nginx": plain(observed.nginx),
                "live": plain(observed.live),
                "orphans": list(observed.orphans),
                "errors": plain(errors),
                "complaints": plain(list(said.values())),
            }
        )
        return 0
    header = ("name", "state", "health", "release", "since", "restarts", "memory")
    now = time.time()
    rows = [_member(member, observed, now) for member in observed.members] + [_nginx(observed, now)]
    console.answer(table(rows, header=header, width=console.width))
    for member in observed.members:
        if member.seen:
            console.answer(f" {_unwell(member, said.get(f'{member.app}-{member.slot}'))}", "yellow")
    for orphan in observed.orphans:
        console.answer(f" left behind: {orphan}; the next `deploykit up` or `down` ends it", "yellow")
    if errors:
        console.answer()
        console.answer(" newest errors", "dim")
        console.answer(
            table([[line.name, printable(line.text, colours=False)] for line in errors], width=console.width)
        )
    return 0


def _member(member: Member, observed: Observed, now: float) -> Row:
    live = observed.live.get(member.app) == member.release
    return [
        f"{member.app}-{member.slot}",
        Cell(member.state, STATES[member.state]),
        _health(member.healthy),
        member.release if live else f"{member.release} (not serving)",
        _age(member.since, now),
        str(member.restarts),
        bytes_text(member.memory_bytes),
    ]


def _health(healthy: bool | None) -> Cell:
    if healthy is None:
        return Cell("-", "dim")
    return Cell("healthy", "green") if healthy else Cell("unhealthy", "red")


def _nginx(observed: Observed, now: float) -> Row:
    nginx = observed.nginx
    health = _health(nginx.live == nginx.on_disk if nginx.state == "running" and nginx.live else None)
    generation = nginx.live or nginx.on_disk
    return [
        "nginx",
        Cell(nginx.state, STATES[nginx.state]),
        health,
        generation if nginx.live == nginx.on_disk else f"{generation} (on disk: {nginx.on_disk})",
        _age(nginx.since, now),
        str(nginx.restarts),
        bytes_text(nginx.memory_bytes),
    ]


def _age(since: float | None, now: float) -> str:
    return "-" if since is None else seconds_text(max(0.0, now - since))


def _unwell(member: Member, complaint: Complaint | None) -> str:
    text = f"{member.app}-{member.slot} {member.seen}"
    if member.unwell_since is not None:
        text += f", since {_clock(member.unwell_since)}"
    if complaint is not None:
        times = "once" if complaint.times == 1 else f"{complaint.times} times"
        text += f"; nginx complained {times} since {_clock(complaint.first)}: {complaint.what}"
    return printable(text, colours=False)


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S" if time.time() - at < 86400 else "%Y-%m-%d %H:%M:%S", time.localtime(at))


def _is_error(line: LogLine) -> bool:
    return bool(ERROR_LINE.search(line.text)) and not CLIENTS_FAULT.search(line.text)
