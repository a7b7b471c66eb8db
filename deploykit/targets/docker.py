"""The docker target: nginx and each instance in a container of its own, with sockets and files in volumes."""

from __future__ import annotations

from deploykit.errors import Problem
from deploykit.plan import AppPlan, Facts, FilePlan, Layout
from deploykit.spec.model import Spec
from deploykit.targets import Target

LISTEN = "8080"
"""What nginx listens on in its container; no privilege is needed above 1023."""
USER = "10001:10001"


class Docker:
    """Answers where things lie in the containers; only nginx's port is published, on `listen`."""

    def check(self, spec: Spec) -> list[Problem]:
        problems = []
        for name, app in spec.apps.items():
            if app.app_server.socket == "tcp":
                problems.append(
                    Problem(
                        f"apps.{name}.app_server.socket",
                        "the docker target has unix sockets only, in a volume that nginx and the app share",
                        "remove `socket: tcp`, or use `target: process`",
                    )
                )
        return problems

    def layout(self, spec: Spec) -> Layout:
        return Layout(prefix="/srv/deploykit", code="/srv/app/code", config="../config", listen=LISTEN)

    def files(self, spec: Spec, facts: Facts, apps: tuple[AppPlan, ...]) -> tuple[FilePlan, ...]:
        return tuple(
            FilePlan(
                f"apps/{app.name}/Dockerfile",
                "docker/promoted.Dockerfile.j2" if app.name in facts.builds else "docker/Dockerfile.j2",
                {"name": app.name, "image": facts.images[app.name], "user": USER},
                "each release is an image",
                ("apps", app.name),
            )
            for app in apps
        )


DRIVER: Target = Docker()
