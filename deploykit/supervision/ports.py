"""TCP ports of instances: the same as long as a release serves, others for the next one, so that both can run at once.

Each slot has two ports, side A and side B. A release that serves keeps the side it is on (its record says which port);
the next one takes the other. Side A counts up from the stack's own port plus OFFSET, side B from there plus SPAN; where
one is taken by something else, the next free one is used.
"""

from __future__ import annotations

from collections.abc import Mapping

from deploykit import machine
from deploykit.spec.model import Spec
from deploykit.supervision import records
from deploykit.supervision.home import Home

OFFSET = 100
SPAN = 500
"""Between the sides; more than the slots that a stack has in practice."""
HIGHEST = 65535
LOWEST = 1024


def choose(home: Home, spec: Spec, renewed: frozenset[str]) -> Mapping[str, tuple[int, ...]]:
    """App name to one port per slot, for the apps that listen on TCP; apps in `renewed` get other ports than now."""
    chosen: dict[str, tuple[int, ...]] = {}
    used: set[int] = {spec.listen.port}
    ours = _recorded(home)
    for name in spec.apps:
        used |= set(_live(home, name).values())
    index = 0
    for name, app in spec.apps.items():
        if app.app_server.socket != "tcp":
            continue
        live = _live(home, name)
        found = []
        for slot in range(1, len(app.instances) + 1):
            kept = live.get(slot)
            side = _side(spec.listen.port, index)
            if kept is not None and name not in renewed:
                found.append(kept)
            else:
                # The side that the slot is not on now.
                first, second = side if kept is None or kept == side[1] else (side[1], side[0])
                port = next(
                    port for port in _from(first, second) if port not in used and (port in ours or _is_free(port))
                )
                used.add(port)
                found.append(port)
            index += 1
        chosen[name] = tuple(found)
    return chosen


def _side(listen: int, index: int) -> tuple[int, int]:
    base = listen + OFFSET if listen + OFFSET + 2 * SPAN < HIGHEST else LOWEST + OFFSET
    return base + index, base + SPAN + index


def _from(first: int, second: int) -> list[int]:
    return [first, *range(first + 1, HIGHEST), *range(LOWEST, first), second]


def _live(home: Home, app: str) -> dict[int, int]:
    release = records.live_release(home, app)
    record = records.read_release(home, app, release) if release else None
    return {int(slot): port for slot, port in record.ports.items()} if record is not None else {}


def _recorded(home: Home) -> set[int]:
    """Every port that a release of this stack has, also one that is being started: its being taken is our doing."""
    found: set[int] = set()
    for app in records.apps_with_releases(home):
        for _, record in records.releases_of(home, app):
            if record is not None:
                found |= set(record.ports.values())
    return found


def _is_free(port: int) -> bool:
    return not machine.why_not_listen("127.0.0.1", port)
