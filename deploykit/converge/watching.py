"""What nginx's own log says of the requests that came while releases or configurations were switched."""

from __future__ import annotations

from deploykit.errors import DeploykitError
from deploykit.nginx.access_log import Traffic, traffic
from deploykit.plan import RunNginx, Step, SwitchRelease
from deploykit.runtimes import Runtime


class Watch:
    """Looks from the first step that moves requests on; nothing is told that was not in the log."""

    def __init__(self, *, serves: bool) -> None:
        self._serves = serves
        """Whether nginx runs already, so that there may be requests to lose."""
        self._runtime: Runtime | None = None
        self._mark = ""

    def before(self, step: Step, runtime: Runtime) -> None:
        """That step is about to be taken."""
        if self._serves and not self._mark and isinstance(step, SwitchRelease | RunNginx):
            try:
                self._mark, self._runtime = runtime.log_mark(), runtime
            except DeploykitError:
                self._serves = False

    def seen(self) -> Traffic | None:
        """The requests that have ended since; None where nothing was switched, or the log is not there any more."""
        if self._runtime is None or not self._mark:
            return None
        try:
            lines = self._runtime.log_since(self._mark)
        except DeploykitError:
            return None
        return None if lines is None else traffic(lines)
