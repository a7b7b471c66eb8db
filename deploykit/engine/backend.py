"""A testinfra backend over the docker library: no docker command is needed where deploykit runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
            result = container.exec_run(["/bin/sh", "-c", words], demux=True)
            streams: Any = result.output
            return self.result(result.exit_code, self.encode(words), streams[0] or b"", streams[1] or b"")

    backend = Backend(str(container.name))
    made = Host(backend)
    backend.set_host(made)
    return made
