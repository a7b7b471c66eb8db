"""Whether nginx spreads requests over an app's members as promised, counted by the member that answered each."""

from __future__ import annotations

import math
import random
import re
from collections import Counter
from collections.abc import Sequence

from deploykit.plan import AppPlan, Check
from deploykit.proof.scene import Scene, Seen, broken, described, kept, not_run, number, text
from deploykit.wire import Answer, Request

__all__ = ["least_conn", "spread", "sticky", "weights"]

ROUNDS = 3
"""How often weights are counted before they are broken: a request of somebody else in between shifts the turns."""

LEAST_BESIDE_OTHERS = 400
"""How many requests the weights are counted with where others use the stack too."""

MOST_REQUESTS = 5000
"""Weights that take more for one round are not counted."""


def weights(scene: Scene, check: Check) -> Seen:
    """Whole rounds of sequential requests reach each member exactly as often as its weight says."""
    app = scene.plan.app(text(check, "app"))
    total = number(check, "requests")
    if total > MOST_REQUESTS:
        return not_run(f"one round of these weights takes {total} requests")
    shared = math.gcd(*(slot.weight for slot in app.slots))
    turns = sum(slot.weight for slot in app.slots) // shared
    wanted = {slot.number: slot.weight // shared * (total // turns) for slot in app.slots}
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
    total, weight = counts.total(), sum(slot.weight for slot in app.slots)
    told = f"{_split(app, counts)} of {total} beside other traffic"
    for slot in app.slots:
        share = slot.weight / weight
        if abs(counts[slot.number] - total * share) > 3.3 * math.sqrt(total * share * (1 - share)):
            return broken(told)
    return kept(told)


def _requests_so_far(scene: Scene) -> int | None:
    """How many requests nginx has taken since it started, None where this nginx does not count them."""
    answer = scene.ask(scene.telling("/counters"), vantage="nginx")[0]
    fields = re.search(r"requests\s+\d+\s+\d+\s+(\d+)", answer.body)
    return int(fields[1]) if answer.status == 200 and fields else None


def least_conn(scene: Scene, check: Check) -> Seen:
    """Requests one after the other, each finding all members idle, reach every member."""
    app = scene.plan.app(text(check, "app"))
    total = min(number(check, "requests"), MOST_REQUESTS)
    members, strange = _members(scene, app, [_request(scene, check)] * total)
    if strange:
        return broken(strange)
    counts = Counter(members)
    told = f"{_split(app, counts)} of {total} one after the other"
    return kept(told) if all(counts[slot.number] for slot in app.slots) else broken(told)


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


def _visits(addresses: list[str], times: int) -> list[str]:
    """Every client that often, in an order that is the same in every run and has no rhythm.

    In a regular order, taking turns looks sticky: of four turns, each of twenty clients always gets the same.
    """
    dice = random.Random(len(addresses))  # noqa: S311 -- an order, not a secret
    return [address for _ in range(times) for address in dice.sample(addresses, len(addresses))]


def spread(scene: Scene, check: Check) -> Seen:
    """Clients of different networks reach just the members that nginx's own formula gives them."""
    if why := _no_client_networks(scene):
        return not_run(why)
    app = scene.plan.app(text(check, "app"))
    addresses = clients(number(check, "clients"))
    members, strange = _members(scene, app, [_request(scene, check, address) for address in addresses])
    if strange:
        return broken(strange)
    shares = [slot.weight for slot in app.slots]
    wanted = [app.slots[predicted(address, shares)].number for address in addresses]
    told = f"{_split(app, Counter(members))} of {len(addresses)} clients"
    if members != wanted:
        wrong = sum(seen != slot for seen, slot in zip(members, wanted, strict=True))
        return broken(f"{told}, not {_split(app, Counter(wanted))}: {wrong} elsewhere than predicted")
    return kept(f"{told}, as predicted")


def clients(count: int) -> list[str]:
    """Addresses of loopback, each in a /24 of its own."""
    return [f"127.{1 + number * 37 % 251}.{number * 11 % 256}.{1 + number % 250}" for number in range(count)]


def predicted(address: str, shares: Sequence[int]) -> int:
    """The position of the member that nginx's `ip_hash` gives an IPv4 client, of members with these weights.

    Source: ngx_http_upstream_ip_hash_module: the first three octets, `hash = (hash * 113 + octet) % 6271`, from 89.
    """
    hashed = 89
    for octet in address.split(".")[:3]:
        hashed = (hashed * 113 + int(octet)) % 6271
    left = hashed % sum(shares)
    for position, share in enumerate(shares):
        if left < share:
            return position
        left -= share
    raise ValueError("weights should be positive")


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
