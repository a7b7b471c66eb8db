"""Releases and rollbacks in turns under load: no request is lost, none is answered twice, none by the wrong release."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from typing import Any

from invariants import Invariants
from load import Load, Result, p99
from stacks import ARTIFACTS, Example

SWITCHES = 75 if os.environ.get("DEPLOYKIT_LONG") else 5
"""Of each example on each target: twenty in all, three hundred in the long run."""

ANSWERS = 150
"""How many answers are waited for before each switch and after it."""

EACH_LOAD = 3
"""Switches in one load, which is bounded."""

POLL_SECONDS = 3.0

COUNTING = {
    "flask": (
        "app.py",
        "def echo():\n",
        "def echo():\n"
        "    with open('data/posts', 'a') as posts:\n"
        "        posts.write(request.get_data()[:32].decode() + '\\n')\n",
    ),
    "django": (
        "orders/views.py",
        "def echo(request):\n",
        "def echo(request):\n"
        "    with open('data/posts', 'a') as posts:\n"
        "        posts.write(request.body[:32].decode() + '\\n')\n",
    ),
}
"""Each POST is written down where it is carried out, in the data that outlives releases."""

TELL_COUNTS = "lines = open('data/posts').read().split(); print(len(lines), len(set(lines)))"


@dataclass
class Seen:
    """What came of all switches of one stack."""

    switches: int = 0
    requests: int = 0
    failed: int = 0
    stale_close: int = 0
    twice: int = 0
    """POSTs that were carried out more than once."""
    steady: list[float] = field(default_factory=list)
    during: list[float] = field(default_factory=list)
    slowest_seconds: float = 0.0
    posted: int = 0
    took: dict[str, list[float]] = field(default_factory=lambda: {"up": [], "rollback": []})

    def __str__(self) -> str:
        took = ", ".join(f"{name} {max(seconds):.1f} s at most" for name, seconds in self.took.items() if seconds)
        return (
            f"{self.switches} switches, {self.requests} requests, p99 of GET {p99(self.steady) * 1000:.0f} ms before "
            f"and {p99(self.during) * 1000:.0f} ms during, slowest {self.slowest_seconds:.2f} s; {took}"
        )


class Releases:
    """The releases of one example, made and gone back to under load."""

    def __init__(self, example: Example) -> None:
        self.example = example
        self.seen = Seen()
        self._ids = {"first": self._live()}
        self._note = "first"
        self._made = 0
        self._since = 0.0

    def _live(self) -> str:
        return next(str(each["id"]) for each in self.example.json("releases")["releases"] if each["live"])

    def run(self, switches: int) -> None:
        """That many switches: a new release, then back to one that is still there, and so on."""
        for first in range(0, switches, EACH_LOAD):
            load = Load(self.example.url, app=self.example.app, poll_seconds=POLL_SECONDS)
            self._since = time.monotonic()
            try:
                with load:
                    assert load.until(lambda seen: len(seen.answers) >= ANSWERS, 60), load.result
                    for number in range(first, min(first + EACH_LOAD, switches)):
                        self.switch(load, *self._next(number))
            finally:
                self._keep(str(load.result))
                self._add(load.result)
            assert (load.result.failures, load.result.stale_close) == ([], 0), load.result

    def _next(self, number: int) -> tuple[str, bool]:
        """The note of the release to be switched to, and whether it is a new one."""
        if number % 2 == 0:
            self._made += 1
            return f"{self.example.app}-{self._made}", True
        older = [note for note in self._still_there() if note != self._note]
        return older[number % len(older)], False

    def _still_there(self) -> list[str]:
        there = {str(each["id"]) for each in self.example.json("releases")["releases"]}
        return [note for note, release in self._ids.items() if release in there]

    def switch(self, load: Load, note: str, new: bool) -> None:
        """One switch to the release of that note, under load from before it until after it."""
        invariants, old = Invariants(self.example), self._note
        if new:
            path = self.example.folder / "deploykit.yaml"
            last = list(self._ids)[-1]
            assert path.read_text().count(f"RELEASE_NOTE: {last} ") == 1
            path.write_text(path.read_text().replace(f"RELEASE_NOTE: {last} ", f"RELEASE_NOTE: {note} "))
        began = time.monotonic()
        outcome = self._take(note, new)
        is_in = time.monotonic()
        goes_on = load.until(lambda seen: seen.releases(since=is_in).total() >= ANSWERS, 60)
        self._keep(f"{old} to {note}: {outcome['traffic']}")
        assert goes_on, load.result
        self._judge(load.result, outcome, {old, note}, is_in)
        self.seen.switches += 1
        self.seen.steady += load.result.seconds(since=self._since, before=began)
        self.seen.during += load.result.seconds(since=began, before=is_in)
        self._note, self._since = note, is_in
        self._ids.setdefault(note, self._live())
        # After a rollback the next `up` goes forward again, and under load the app writes.
        invariants.hold(asked=False)

    def _take(self, note: str, new: bool) -> Any:
        began = time.monotonic()
        outcome = self.example.up() if new else self.example.json("rollback", self._ids[note])
        self.seen.took["up" if new else "rollback"].append(time.monotonic() - began)
        return outcome

    def _judge(self, seen: Result, outcome: Any, notes: set[str], is_in: float) -> None:
        steps = {step["step"] for step in outcome["steps"]}
        assert "SwitchRelease" in steps and "RunNginx" not in steps, outcome["steps"]
        assert (seen.failures, seen.stale_close) == ([], 0), seen
        assert set(seen.releases(since=self._since)) == notes, seen
        assert len(seen.releases(since=is_in)) == 1, "the release before answers although it was switched"
        # nginx has seen the same.
        assert outcome["traffic"]["failed"] == 0 < outcome["traffic"]["requests"], outcome["traffic"]

    def _add(self, seen: Result) -> None:
        self.seen.requests += seen.requests
        self.seen.failed += len(seen.failures)
        self.seen.stale_close += seen.stale_close
        self.seen.slowest_seconds = max(self.seen.slowest_seconds, seen.slowest_seconds.get("get", 0.0))
        self.seen.posted += len(seen.posted)

    def _keep(self, what: str) -> None:
        ARTIFACTS.mkdir(exist_ok=True)
        with (ARTIFACTS / "load.txt").open("a") as file:
            file.write(f"{self.example.kind} on {self.example.target}, {what}\n")

    def finish(self) -> None:
        """No POST was carried out twice, and what holds of any stack after an `up` holds of this one."""
        said = self.example.run("run", "web", "--", "python", "-c", TELL_COUNTS).stdout.split()
        carried_out, different = int(said[-2]), int(said[-1])
        self.seen.twice = carried_out - different
        assert self.seen.twice == 0 and different >= self.seen.posted > 0, (carried_out, self.seen)
        self._keep(str(self.seen))
        Invariants(self.example).hold()


def lose_nothing(example: Example, switches: int = SWITCHES) -> Seen:
    """Asserts it of that many switches; what was measured."""
    example.edit(*COUNTING[example.kind])
    example.up()
    releases = Releases(example)
    releases.run(switches)
    releases.finish()
    return releases.seen
