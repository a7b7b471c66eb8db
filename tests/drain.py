"""What is open when a release is switched goes on with the old one, until it ends or the grace is over."""

from __future__ import annotations

import re
from collections.abc import Callable

from invariants import Invariants
from streams import GRACE_SECONDS, Again, Chat, Command, Held, Lateness, Streams, say, websocket

OLD, NEW = "logo.0123456789ab.svg", "logo.ba9876543210.svg"

check: list[Callable[[Streams], None]] = []
"""The promises, in this order, on one stack that is up."""


@check.append
def only_a_websocket_is_passed_through(stack: Streams) -> None:
    head = "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings, close\r\n"
    other = Held(stack, "/socket", head)
    assert other.until(b"first")
    assert b" 200 OK" in other.data, "it was passed on as another protocol than HTTP"
    other.close()
    held = websocket(stack)
    assert say(held, "hello", "first hello")
    held.close()


@check.append
def what_is_open_lives_on_until_its_grace_is_over(stack: Streams) -> None:
    invariants = Invariants(stack)
    stack.note("second")
    events, short, endless = Held(stack, "/events"), websocket(stack), websocket(stack)
    chats = [Chat(short), Chat(endless)]
    assert events.until(b"first")
    others = [Again(stack, "/slow", b"slept") for _ in range(30)]
    others.append(Again(stack, "/poll", b"first", b"second"))
    others.append(Again(stack, "/upload", b"1048576", body=bytes(1 << 20), over_seconds=5.0))
    up, late = Command(stack, "up"), Lateness()
    try:
        _watched(stack, up, late, events, short, endless, chats)
    finally:
        for each in others:
            each.stop()
    for each in others:
        each.join(40)
    assert [each.wrong for each in others if each.wrong] == [], up.text
    assert all(each.answered >= 1 for each in others)
    said = up.said("while it switched: ")[1]
    assert ", 0 failed, " in said, said
    assert int(re.findall(r"([\d,]+) requests", said)[0].replace(",", "")) >= 30, said
    invariants.hold(again=False)


def _watched(
    stack: Streams, up: Command, late: Lateness, events: Held, short: Held, endless: Held, chats: list[Chat]
) -> None:
    told, line = up.said("still open, for ")
    left = float(re.findall(r"for ([\d.]+) s", line)[0])
    assert 0 < left < GRACE_SECONDS
    for chat in chats:
        chat.stop()
    # The old release still serves what it has, and the new one all that is new.
    assert stack.browser.get("/note").text == "second"
    assert say(short, "hello", "first hello") and say(endless, "hello", "first hello")
    assert stack.browser.get("/over").text == "second"
    assert say(short, "bye", "first bye")
    for held in (events, short):
        held.join(20)
    assert events.data.endswith(b"data: over\n\n\r\n0\r\n\r\n") or events.is_whole, events.data[-200:]
    assert endless.closed_at == 0.0 and say(endless, "still", "first still"), "it was cut with the others"
    endless.join(30)
    lateness = late.stop()
    cut_after = endless.closed_at - told
    assert left - 1 - lateness <= cut_after <= left + 1 + lateness, (left, cut_after, lateness, up.text)
    assert up.ended() == 0, up.text


@check.append
def what_failed_meanwhile_is_told(stack: Streams) -> None:
    stack.files(static={OLD: "old", "style.css": "old"}, kept={"a.svg": "old"}, plain={OLD: "old"})
    broken = Again(stack, "/fail", b"")
    try:
        traffic = stack.up()["traffic"]
    finally:
        broken.stop()
        broken.join(30)
    assert traffic["failed"] == traffic["errors"]["500"] > 0, traffic
    assert traffic["requests"] >= traffic["failed"]


def answer(stack: Streams, path: str) -> tuple[int, str, str]:
    """Status, type and caching."""
    got = stack.browser.get(path)
    return got.status, got.headers.get("content-type", ""), got.headers.get("cache-control", "")


SVG = (200, "image/svg+xml", "public, max-age=31536000, immutable")
GONE = (404, "text/html", "")
APP = (200, "", "")


@check.append
def files_of_the_release_before_are_answered_for_one_release_longer(stack: Streams) -> None:
    assert [answer(stack, f"/{place}") for place in (f"hashed/{OLD}", "kept/a.svg")] == [SVG, SVG]
    stack.files(static={NEW: "new"}, kept={"b.svg": "new"}, plain={})
    outcome = stack.up()
    assert "1 of the release before" in str(outcome["checks"])
    assert outcome["traffic"]["requests"] == 0, "the checks' own requests were taken for somebody's"
    expected = {
        f"hashed/{OLD}": SVG,
        f"hashed/{NEW}": SVG,
        "kept/a.svg": SVG,
        "kept/b.svg": SVG,
        "hashed/style.css": GONE,  # no name to keep for a year: it is what the release that serves says
        f"plain/{OLD}": GONE,
        f"previous//hashed/{OLD}": APP,  # from outside there is no such place, so it is the app's
    }
    assert {path: answer(stack, f"/{path}") for path in expected} == expected


@check.append
def what_is_cut_off_is_counted_and_a_rollback_keeps_files_too(stack: Streams) -> None:
    with_old_files = stack.json("releases")["releases"][1]["id"]
    stack.edit("streams.py", "while not is_over():\n            yield", "while True:\n            yield")
    stack.up()
    assert [answer(stack, f"/hashed/{name}") for name in (OLD, NEW)] == [GONE, SVG]
    events = Held(stack, "/events")
    assert events.until(b"second")
    traffic = stack.json("rollback", with_old_files)["traffic"]
    events.join(20)
    assert not events.is_whole, "it was not cut"
    assert (traffic["failed"], traffic["cut_off"]) == (1, 1), traffic
    assert [answer(stack, f"/hashed/{name}") for name in (OLD, NEW)] == [SVG, SVG]
    Invariants(stack).hold(asked=False)
