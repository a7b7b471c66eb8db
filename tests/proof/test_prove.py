"""What `prove` does around the checks: order, progress, faults, and what may be printed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rig import Stand

from deploykit.errors import EnvironmentLacks
from deploykit.plan import Check, Verdict
from deploykit.proof import checks, prove
from deploykit.proof.scene import printable
from deploykit.wire import Answer, Request, send


class Unreachable:
    """A runtime whose Engine went away, or whose disk did."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str) -> object:
        raise self.error


def verdicts(stand: Stand, runtime: object, seen: list[Check]) -> tuple[Verdict, ...]:
    everything = frozenset({"read", "load", "disruptive"})
    report = prove(stand.desired(), runtime, allow=everything, progress=seen.append)  # type: ignore[arg-type]
    return report.verdicts


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path, tmp_path, 1)


@pytest.mark.parametrize("error", [EnvironmentLacks("the Engine is gone"), OSError("the disk is gone")])
def test_a_runtime_that_is_gone_breaks_every_promise_with_the_reason(stand: Stand, error: Exception) -> None:
    seen: list[Check] = []
    told = verdicts(stand, Unreachable(error), seen)
    assert {v.verdict for v in told} == {"broken"}
    assert all(v.measured.endswith("is gone") for v in told)
    assert tuple(seen) == stand.desired().plan.checks == tuple(v.check for v in told)


def test_a_bug_is_not_a_broken_promise(stand: Stand) -> None:
    with pytest.raises(ZeroDivisionError):
        verdicts(stand, Unreachable(ZeroDivisionError()), [])


def test_a_kind_that_is_not_there_is_a_bug() -> None:
    with pytest.raises(LookupError, match="no check is called nonsense"):
        checks.find("nonsense")


def test_every_kind_is_documented_and_found_by_its_name() -> None:
    for kind in checks.kinds():
        assert checks.find(kind).__name__ == kind
        assert checks.find(kind).__doc__


def test_what_an_answer_says_can_not_drive_the_terminal() -> None:
    assert printable("a\x1b[2Jb\n\u202ec\udcff ü") == "a\\x1b[2Jb\\n\\u202ec\\udcff ü"


def test_an_answer_that_is_no_text_is_told_in_words(stand: Stand) -> None:
    class Strange(Unreachable):
        def exchange(self, vantage: str, requests: tuple[Request, ...]) -> tuple[Answer, ...]:
            return tuple(send(replace(request, address="nonsense\x1b")) for request in requests)

    told = {v.check.kind: v for v in verdicts(stand, Strange(OSError("gone")), [])}
    assert told["site_answers"].measured == "shop.test: not an address: nonsense\\x1b"
