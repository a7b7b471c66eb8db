"""A testinfra backend over the docker library: no docker command is needed where deploykit runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploykit.engine import containers

if TYPE_CHECKING:
    from docker.models.containers import Container


def host(container: Container) -> Any:
    """A testinfra Host in a running container."""
    from testinfra.backend.base import BaseBackend, CommandResult
    from testinfra.host import Host

    class Backend(BaseBackend):  # type: ignore[misc]
        """Runs each command by the Engine's exec."""

        NAME = "deploykit"

        def run(self, command: str, *args: str, **kwargs: Any) -> CommandResult:
            words = self.get_command(command, *args)
            code, output, complaints = containers.ran(container, ["/bin/sh", "-c", words])
            return self.result(code, self.encode(words), output, complaints)

    backend = Backend(str(container.name))
    made = Host(backend)
    backend.set_host(made)
    return made
