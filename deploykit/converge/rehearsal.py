"""A stack that is there only to be measured: what a rehearsal brought up it takes down, what was there it leaves."""

from __future__ import annotations

from deploykit.converge.outcome import Outcome, Progress
from deploykit.converge.record import Record
from deploykit.converge.session import Session
from deploykit.errors import EnvironmentLacks
from deploykit.plan import Effect, Report, Step


class Rehearsal:
    """One stack, brought up, measured and taken down. `end` is to be called however it went."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._began = False
        self._had_data = False

    def up(self, progress: Progress) -> Outcome:
        """The stack runs as the spec says; nothing is measured yet.

        Raises:
            EnvironmentLacks: it was up before, and goes on as it was.
            DeployFailed: a step failed.
        """
        self._refuse_what_is_up()
        outcome = self._session.up(progress, frozenset(), self._agree)
        if not self._began:
            raise self._is_up()
        return outcome

    def _agree(self, _steps: tuple[Step, ...]) -> None:
        # Now the lock is held: nobody else brings it up from here on.
        self._refuse_what_is_up()
        self._had_data = bool(self._session.runtime.volumes_kept())
        self._began = True

    def _refuse_what_is_up(self) -> None:
        if Record.read(self._session.stack.home) is not None or self._session.runtime.observe(False).anything:
            raise self._is_up()

    def _is_up(self) -> EnvironmentLacks:
        stack = self._session.stack
        return EnvironmentLacks(
            f"`{stack.full_name}` is up here already, and a rehearsal would take it down at its end",
            hint=f"deploykit test{stack.option} measures what is up; deploykit down{stack.option} removes it",
        )

    def test(self, progress: Progress, allow: frozenset[Effect] | None) -> Report:
        """The checks of the spec, measured on what was brought up."""
        return self._session.test(progress, allow)

    @property
    def has_something_to_end(self) -> bool:
        """Whether anything was made."""
        return self._began

    def end(self) -> tuple[str, ...]:
        """Nothing of what was brought up is there, its data included; data that was there before is kept, and told."""
        if not self._began:
            return ()
        kept = self._session.down(not self._had_data)
        self._began = False
        return kept
