"""From a running stack to files that work without deploykit: only where what runs is what the spec says."""

from __future__ import annotations

from pathlib import Path

from deploykit.converge.session import Session
from deploykit.ejection import Ejected, eject
from deploykit.errors import PromiseBroken


def leave(session: Session, into: Path, *, with_secrets: bool) -> Ejected:
    """What runs, in a new folder; the stack goes on running.

    Raises:
        EnvironmentLacks: nothing runs.
        PromiseBroken: what runs is not what the spec says, so neither alone could be written down.
        SpecError: something lies in that folder.
    """
    session.must_run()
    changes, desired, _observed = session.changes(probes=False)
    if changes.steps:
        option = session.stack.option
        raise PromiseBroken(
            f"what runs of `{session.stack.full_name}` is not what the spec says",
            hint=f"deploykit plan{option} shows what differs; deploykit up{option} makes it so",
        )
    values = session.secret_values(desired.plan) if with_secrets else None
    return eject(session.stack, desired, into, session.runtime.export, values)
