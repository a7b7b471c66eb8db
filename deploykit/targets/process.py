"""The process target: nginx and app servers as this user's processes, below `.deploykit/NAME/` beside the spec."""

from __future__ import annotations

from deploykit.errors import Problem
from deploykit.plan import AppPlan, Facts, FilePlan, Layout
from deploykit.spec.model import Spec
from deploykit.targets import Target


class Process:
    """Answers where things lie; nothing is published but `listen`."""

    def check(self, spec: Spec) -> list[Problem]:
        return []

    def layout(self, spec: Spec) -> Layout:
        return Layout(
            prefix=".",
            code="releases/APP/RELEASE/code",
            config="../config",
            listen=str(spec.listen),
        )

    def files(self, spec: Spec, facts: Facts, apps: tuple[AppPlan, ...]) -> tuple[FilePlan, ...]:
        return (
            FilePlan(
                "supervisor/supervisord.conf",
                "supervisor/supervisord.conf.j2",
                {},
                "supervisord keeps nginx and the app servers running",
            ),
        )


DRIVER: Target = Process()
