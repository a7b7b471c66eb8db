"""Whether nginx spreads requests over an app's members as promised, counted by the member that answered each."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TypeVar

from deploykit.plan import AppPlan, Check
from deploykit.promises import MADE_UP
from deploykit.proof.scene import Scene, Seen, broken, described, kept, not_run, number, text
from deploykit.wire import Answer, Request

__all__ = ["hashed", "reached", "spread", "sticky", "weights"]

ROUNDS = 3
"""How often weights are counted before they are broken: a request of somebody else in between shifts the turns."""

LEAST_BESIDE_OTHERS = 400
"""How many requests the weights are counted with where others use the stack too."""

Client = TypeVar("Client")

MOST_REQUESTS = 5000
"""Weights that take more for one round are not counted."""


def weights(scene: Scene, check: Check) -> Seen:
    """Whole rounds of sequential requests reach each member exactly as often as its weight says."""
    app = scene.plan.app(text(check, "app"))
    total = number(check, "requests")
    if total > MOST_REQUESTS:
        return not_run(f"one round of these weights takes {total} requests")
    shares = _shares(app)
    shared = math.gcd(*shares.values())
    turns = sum(shares.values()) // shared
    wanted = {number: share // shared * (total // turns) for number, share in shares.items()}
    counts: Counter[int] = Counter()
    everything: Counter[int] = Counter()
    alone = True
    for attempt in range(1, ROUNDS + 1):
        before = _requests_so_far(scene)
        members, strange = _members(scene, app, [_request(scene, check)] * total)
        if strange:
            return broken(strange)
        counts = Counter(members)
        # Each turn by itself: over all requests together, 10:1 may look like 9:1.
        each = {slot: count * turns // total for slot, count in wanted.items()}
        if all(Counter(members[at : at + turns]) == Counter(each) for at in range(0, total, turns)):
            again = f" at try {attempt}" if attempt > 1 else ""
            return kept(f"{_split(app, counts)} of {total}{again}")
        everything += counts
        after = _requests_so_far(scene)
        # The question itself is one more request.
        alone = alone and (before is None or after is None or after - before == total + 1)
    told = f"{_split(app, counts)} of {total}, not {_split(app, Counter(wanted))} ({ROUNDS} tries)"
    return broken(told) if alone else _beside_others(scene, check, app, everything)


def _beside_others(scene: Scene, check: Check, app: AppPlan, counts: Counter[int]) -> Seen:
    """Where others use the stack, turns are shared with them, so what is counted is only near the weights.

    Near means: within what independent draws would give 999 times of 1,000; real turns stay closer.
    """
    more = max(0, LEAST_BESIDE_OTHERS - counts.total())
    members, strange = _members(scene, app, [_request(scene, check)] * more)
    if strange:
        return broken(strange)
    counts = counts + Counter(members)
    shares = _shares(app)
    total, weight = counts.total(), sum(shares.values())
    told = f"{_split(app, counts)} of {total} beside other traffic"
    for slot, weight_of_slot in shares.items():
        share = weight_of_slot / weight
        if abs(counts[slot] - total * share) > 3.3 * math.sqrt(total * share * (1 - share)):
            return broken(told)
    return kept(told)


def _requests_so_far(scene: Scene) -> int | None:
    """How many requests nginx has taken since it started, None where this nginx does not count them."""
    answer = scene.ask(scene.telling("/counters"), vantage="nginx")[0]
    fields = re.search(r"requests\s+\d+\s+\d+\s+(\d+)", answer.body)
    return int(fields[1]) if answer.status == 200 and fields else None


def reached(scene: Scene, check: Check) -> Seen:
    """Requests one after the other, each finding all members idle, reach every member, and no backup."""
    app = scene.plan.app(text(check, "app"))
    total = number(check, "requests")
    if total > MOST_REQUESTS:
        return not_run(f"it takes {total} requests to reach the member with the smallest weight for certain")
    members, strange = _members(scene, app, [_request(scene, check)] * total)
    if strange:
        return broken(strange)
    counts = Counter(members)
    told = f"{_split(app, counts)} of {total} one after the other"
    return kept(told) if _all_reached(app, counts) else broken(told)


def _all_reached(app: AppPlan, counts: Counter[int]) -> bool:
    return all(bool(counts[slot]) == bool(share) for slot, share in _shares(app).items())


def _shares(app: AppPlan) -> dict[int, int]:
    """Slot to its weight among those that take turns: none for a backup."""
    return {slot.number: 0 if slot.backup else slot.weight for slot in app.slots}


def hashed(scene: Scene, check: Check) -> Seen:
    """Requests of one key reach one member, however often they come; many keys reach every member."""
    app, key = scene.plan.app(text(check, "app")), text(check, "key")
    keys, times = number(check, "keys"), number(check, "times")
    if keys * times > MOST_REQUESTS:
        return not_run(f"it takes {keys * times} requests to reach the member with the smallest weight for certain")
    if "$remote_addr" in key and (why := _no_client_networks(scene)):
        return not_run(why)
    one = _request(scene, check)
    made = [of_key(one, key, value) for value in range(keys)]
    if made[0] == one:
        return not_run(f"requests with another {key} can't be made up")
    visits = _visits(range(keys), times)
    members, strange = _members(scene, app, [made[value] for value in visits])
    if strange:
        return broken(strange)
    homes: dict[int, set[int]] = {value: set() for value in visits}
    for value, member in zip(visits, members, strict=True):
        homes[value].add(member)
    staying = sum(len(slots) == 1 for slots in homes.values())
    told = f"{staying} of {keys} keys stay, {times} requests each; {_split(app, Counter(members))} of {keys * times}"
    return kept(told) if staying == keys and _all_reached(app, Counter(members)) else broken(told)


def of_key(request: Request, key: str, value: int) -> Request:
    """The request with another value of the first variable in the key that a client decides; the same without one."""
    path, _, query = request.target.partition("?")
    for name in re.findall(r"\$(\w+)", key):
        kind, _, rest = name.partition("_")
        if name in ("request_uri", "args") or kind == "arg":
            word = rest if kind == "arg" else MADE_UP
            return replace(request, target=f"{path}?{query}{'&' if query else ''}{word}={value}")
        if name == "uri":
            return replace(request, target=f"{path.rstrip('/')}/{MADE_UP}-{value}{'?' if query else ''}{query}")
        if name in ("remote_addr", "binary_remote_addr"):
            return replace(request, source=clients(value + 1)[-1])
        if kind in ("cookie", "http"):
            header = ("Cookie", f"{rest}={value}") if kind == "cookie" else (rest.replace("_", "-"), str(value))
            return replace(request, headers=(*request.headers, header))
    return request


def sticky(scene: Scene, check: Check) -> Seen:
    """Each of many clients reaches one member, however often it comes."""
    if why := _no_client_networks(scene):
        return not_run(why)
    app = scene.plan.app(text(check, "app"))
    addresses, times = clients(number(check, "clients")), number(check, "times")
    visits = _visits(addresses, times)
    members, strange = _members(scene, app, [_request(scene, check, address) for address in visits])
    if strange:
        return broken(strange)
    reached: dict[str, set[int]] = {address: set() for address in addresses}
    for address, member in zip(visits, members, strict=True):
        reached[address].add(member)
    staying = sum(len(slots) == 1 for slots in reached.values())
    told = f"{staying} of {len(addresses)} clients stay, {times} requests each"
    return kept(told) if staying == len(addresses) else broken(told)


def _visits(clients: Sequence[Client], times: int) -> list[Client]:
    """Every client that often, in an order that is the same in every run and has no rhythm.

    In a regular order, taking turns looks sticky: of four turns, each of twenty clients always gets the same.
    """
    dice = random.Random(len(clients))  # noqa: S311 -- an order, not a secret
    return [client for _ in range(times) for client in dice.sample(clients, len(clients))]


def spread(scene: Scene, check: Check) -> Seen:
    """Clients of different networks reach just the members that nginx's own formula gives them."""
    if why := _no_client_networks(scene):
        return not_run(why)
    app = scene.plan.app(text(check, "app"))
    addresses = clients(number(check, "clients"))
    members, strange = _members(scene, app, [_request(scene, check, address) for address in addresses])
    if strange:
        return broken(strange)
    shares = [slot.weight for slot in app.upstream]
    vacant = {position for position, slot in enumerate(app.upstream) if slot in app.vacant}
    wanted = [app.upstream[predicted(address, shares, vacant)].number for address in addresses]
    told = f"{_split(app, Counter(members))} of {len(addresses)} clients"
    if members != wanted:
        wrong = sum(seen != slot for seen, slot in zip(members, wanted, strict=True))
        return broken(f"{told}, not {_split(app, Counter(wanted))}: {wrong} elsewhere than predicted")
    return kept(f"{told}, as predicted")


def clients(count: int) -> list[str]:
    """Addresses of loopback, each in a /24 of its own."""
    return [f"127.{1 + number * 37 % 251}.{number * 11 % 256}.{1 + number % 250}" for number in range(count)]


def predicted(address: str, shares: Sequence[int], vacant: Collection[int] = ()) -> int:
    """The position of the member that nginx's `ip_hash` gives an IPv4 client, of members with these weights.

    Source: ngx_http_upstream_ip_hash_module: the first three octets, `hash = (hash * 113 + octet) % 6271`, from 89,
    and on from there where that member is down; after 20 tries it takes turns, which nobody predicts: -1.
    """
    value = 89
    for _ in range(20):
        for octet in address.split(".")[:3]:
            value = (value * 113 + int(octet)) % 6271
        left = value % sum(shares)
        for position, share in enumerate(shares):
            if left < share:
                if position not in vacant:
                    return position
                break
            left -= share
    return -1


def _no_client_networks(scene: Scene) -> str:
    if scene.address("nginx").startswith("["):
        return "nginx listens on IPv6 alone, whose loopback has one address"
    return ""


def _request(scene: Scene, check: Check, source: str = "") -> Request:
    source = source or scene.loopback()
    return scene.request(text(check, "host"), text(check, "target"), vantage="nginx", source=source, most_bytes=0)


def _members(scene: Scene, app: AppPlan, requests: Sequence[Request]) -> tuple[list[int], str]:
    """The slot that answered each request; or what answered instead."""
    slots = scene.slots(app)
    answers = scene.ask(*requests, vantage="nginx")
    members = [slots.get(answer.header("x-deploykit-member"), 0) for answer in answers]
    others = [answer for answer, member in zip(answers, members, strict=True) if not member]
    if others:
        return [], f"{len(others)} of {len(answers)} not answered by one member at once, the first: {_how(others[0])}"
    return members, ""


def _how(answer: Answer) -> str:
    member = answer.header("x-deploykit-member")
    return f"{described(answer)} from {member}" if member else described(answer)


def _split(app: AppPlan, counts: Counter[int]) -> str:
    return "/".join(str(counts[slot.number]) for slot in app.slots)
