"""The end of what no longer serves: all instances at once, so that none is granted more than its own grace."""

from __future__ import annotations

import threading
from collections.abc import Callable

from deploykit.converge.outcome import Progress
from deploykit.errors import DeploykitError
from deploykit.plan import Step, StopMember


def retire(steps: tuple[Step, ...], apply: Callable[[Step], str], progress: Progress) -> None:
    """All steps are taken: instances are stopped side by side, each other step follows in its turn.

    Raises:
        DeploykitError: what a step raises; instances that were told to stop are stopped all the same.
    """
    stopping = {step: _Stopping(step, apply) for step in steps if isinstance(step, StopMember)}
    for step in steps:
        with progress.step(step) as result:
            result(stopping[step].result() if isinstance(step, StopMember) else apply(step))


class _Stopping(threading.Thread):
    """One instance that was told to stop. Whoever interrupts deploykit does not wait for what is open there."""

    def __init__(self, step: StopMember, apply: Callable[[Step], str]) -> None:
        super().__init__(daemon=True)
        self._step, self._apply = step, apply
        self._said = ""
        self._error: DeploykitError | None = None
        self.start()

    def run(self) -> None:
        try:
            self._said = self._apply(self._step)
        except DeploykitError as error:
            self._error = error

    def result(self) -> str:
        """What came of it, once it is over."""
        self.join()
        if self._error is not None:
            raise self._error
        return self._said
