"""Rows and columns of the kill matrix: a command killed before its n-th effect, and the one that comes after it.

A row is one command in one state; its column is one of AFTER, in turn, so that over the effects all pairs occur. After
both, the invariants hold, and where an old release served, no request was lost until a `down` began. Knows no target.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from invariants import Invariants
from killing import Ended, Plain, counted, sampled
from load import Load

AFTER = ("up", "changed", "rollback", "down")


class Lane:
    """One stack on which kills are tried one after the other."""

    def __init__(self, target: str, folder: Path) -> None:
        self.example = Plain(target, folder)
        self._numbers = itertools.count(1)
        self.environments = folder.with_name(f"{folder.name}-venvs")
        """Kept over a `down`, because making one takes most of the time of a first `up`."""

    # --- states to begin in ---

    def change(self) -> None:
        """The spec wants another release and another configuration of nginx."""
        number = next(self._numbers)
        self.wanted = f"note-{number}"
        self.example.wants(self.wanted, f"{10 + number}m")

    def up(self) -> None:
        self.example.run("up", "--target", self.example.target)

    def served_twice(self) -> None:
        """Up, with a release before the live one."""
        if not self.known():
            self.change()
            self.restore_environments()
            self.up()
            self.keep_environments()
        if len(self.known()) < 2:
            self.change()
            self.up()

    def nothing(self) -> None:
        """Nothing of it is there."""
        self.example.remove()
        shutil.rmtree(self.example.folder / ".deploykit", ignore_errors=True)
        self.change()

    def keep_environments(self) -> None:
        venvs = self.example.home / "venvs"
        if venvs.is_dir() and not self.environments.is_dir():
            shutil.copytree(venvs, self.environments, symlinks=True, copy_function=os.link)

    def restore_environments(self) -> None:
        venvs = self.example.home / "venvs"
        if self.environments.is_dir() and not venvs.exists():
            shutil.copytree(self.environments, venvs, symlinks=True, copy_function=os.link)

    # --- seen ---

    def serves(self) -> bool:
        """Whether nginx or an instance runs."""
        return Invariants(self.example).seen().anything

    def known(self) -> dict[str, bool]:
        """Release to whether it is live, newest first."""
        observed = Invariants(self.example).seen()
        found = sorted(observed.complete.get("web", ()), key=lambda each: -each.origin.at)
        return {each.id: each.id == observed.live.get("web") for each in found}

    def older(self) -> str:
        """The newest release that is not live."""
        return next(id for id, live in self.known().items() if not live)


@contextlib.contextmanager
def loaded(lane: Lane) -> Iterator[None]:
    """A modest load that has to get every answer; idle connections that a reload of nginx closes are nginx's own."""
    load = Load(lane.example.url, app=lane.example.app, clients=4, trickle=False, slow_seconds=0.5)
    with load:
        yield
    assert load.result.failures == [], str(load.result)
    assert load.result.answers, "the load got no answer at all"


# --- one row, one column ---------------------------------------------------------------------------------------------


def prepare(lane: Lane, row: str, *, with_environments: bool = True) -> tuple[str, ...]:
    """The words of the row's command; the stack is as they need it."""
    if row == "first":
        lane.nothing()
        if with_environments:
            lane.restore_environments()
        return ("up", "--target", lane.example.target)
    lane.served_twice()
    if row == "up":
        lane.change()
        return ("up",)
    return ("rollback", lane.older()) if row == "rollback" else ("down",)


def killed_and_after(lane: Lane, row: str, number: int, after: str, *, with_environments: bool = True) -> Ended:
    """The row's command killed before that effect, then the other one; all that has to hold does.

    Raises:
        AssertionError: it does not; says of which effect.
    """
    words = prepare(lane, row, with_environments=with_environments)
    older = lane.older() if row != "first" else "0000000000"
    before = Invariants(lane.example)
    ended = None
    try:
        with loaded(lane) if row in ("up", "rollback") else contextlib.nullcontext():
            ended = counted(lane.example, *words, kill=number)
            assert ended.killed or number == 0 or len(ended.effects) < number, ended.said
            if after != "down":
                follow(lane, after, older)
        if after == "down":
            follow(lane, after, older)
        verify(lane, before, after, older, ended.said)
    except AssertionError as error:
        what = f"{row} killed before effect {number} ({ended.effects[-1] if ended else '?'}), then {after}"
        lane.nothing()  # what is broken here shall not be told of the next one as well
        raise AssertionError(f"{what}:\n{error}") from error
    return ended


def follow(lane: Lane, after: str, older: str) -> None:
    """The one call that has to be enough; it ends with the right exit code and without a traceback."""
    if after == "rollback":
        # To something that was taken down there is no way back, though its files may still be there.
        expect = 5 if not lane.serves() else 0 if older in lane.known() else 2
        said = lane.example.run("rollback", older, expect=expect)
    elif after == "down":
        said = lane.example.run("down", expect=0)
    else:
        if after == "changed":
            lane.change()
        said = lane.example.run("up", "--target", lane.example.target)
    assert "unlock" not in said.stdout + said.stderr


def verify(lane: Lane, before: Invariants, after: str, older: str, said: str) -> None:
    """All that has to hold once both are through."""
    assert "Traceback" not in said, said
    if after == "down":
        before.hold_down()
        return
    if after == "rollback" and not lane.known().get(older):
        # There was nothing to go back to, and it said so: that is for `up` to bring in order.
        lane.up()
        before.hold(again=False)
        return
    before.hold(again=False, asked=after != "rollback")
    assert lane.example.note() == lane.wanted or after == "rollback", lane.example.note()


def all_of(rounds: Iterable[tuple[Lane, Callable[[Lane], object]]]) -> None:
    """Runs the rounds of each lane one after the other, and lanes side by side; tells every failure at the end."""
    queues: dict[Lane, list[Callable[[Lane], object]]] = {}
    for lane, each in rounds:
        queues.setdefault(lane, []).append(each)
    broken: list[str] = []

    def run(lane: Lane) -> None:
        for each in queues[lane]:
            try:
                each(lane)
            except AssertionError as error:
                broken.append(str(error))

    with ThreadPoolExecutor(len(queues)) as pool:
        list(pool.map(run, queues))
    assert not broken, f"{len(broken)} did not converge:\n\n" + "\n\n".join(broken)


# --- a whole row -----------------------------------------------------------------------------------------------------

SHARE = 3
"""In the short run, every third effect of a row; which third is fixed for each row."""
LANES = 2
"""Stacks side by side: most of the time is waiting for servers to start and to end."""


def whole_row(
    target: str, folder: Path, row: str, third: int, *, with_environments: bool = True, only: str = ""
) -> None:
    """Counts the effects of the row's command in an undisturbed run, then kills it at each of them, or each third.

    `only` is a pattern: other effects are passed over.
    """
    lanes = [Lane(target, folder / f"{row}-{number}") for number in range(LANES)]
    try:
        for lane in lanes if with_environments else ():
            lane.served_twice()  # an environment can't be moved, so each has its own
        first = lanes[0]
        effects = counted(first.example, *prepare(first, row, with_environments=with_environments)).effects
        assert len(effects) > 10, effects
        numbers = [n for n in sampled(len(effects), SHARE, third) if re.search(only, effects[n - 1])]
        rounds = [(lanes[i % LANES], n) for i, n in enumerate(numbers)]
        kill = partial(killed_and_after, row=row, with_environments=with_environments)
        all_of((lane, partial(kill, number=n, after=AFTER[n % 4])) for lane, n in rounds)
    finally:
        for lane in lanes:
            lane.example.remove()
