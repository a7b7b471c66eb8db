"""An Engine on another machine by ssh: the user's own `ssh` with its configuration, keys and known hosts.

Each connection to the Engine is one `docker system dial-stdio` there, as the docker command makes it. No question is
asked: where ssh would ask for a password or about a host key, it fails and says so.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import shlex
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.parse
from pathlib import Path

from deploykit.errors import EnvironmentLacks, Problem, SpecError

CONNECT_SECONDS = 10
EXIT_SECONDS = 10
ALIVE_EVERY_SECONDS, ALIVE_TIMES = 15, 3
"""A machine that went away is noticed after their product."""
SHARED_SECONDS = 60
"""How long the shared connection outlives a deploykit that was killed."""


class Tunnel:
    """A socket on this machine whose every connection is one to the Engine over there, until this process ends."""

    def __init__(self, url: str) -> None:
        ssh = shutil.which("ssh")
        if ssh is None:
            raise EnvironmentLacks(f"there is no `ssh` here to reach {url}", hint="apt-get install openssh-client")
        self.url = url
        self.destination, self._remote = _parsed(url)
        self._ssh = ssh
        self._settings = self._configured()
        self._folder = Path(tempfile.mkdtemp(prefix="deploykit-ssh-"))
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._folder / "engine"))
        self._listener.listen(64)
        atexit.register(self.close)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def base_url(self) -> str:
        """As the docker library wants it."""
        return f"unix://{self._folder}/engine"

    @property
    def host(self) -> str:
        """The machine's name or address, as ssh's own configuration has it for what the URL says."""
        named = urllib.parse.urlsplit(self.url).hostname or ""
        return self._settings.get("hostname", named)

    def said(self) -> str:
        """What ssh said so far."""
        with contextlib.suppress(OSError):
            return (self._folder / "said").read_text(errors="replace").strip()
        return ""

    def close(self) -> None:
        """No connection of it is left, nor anything on disk."""
        self._listener.close()
        if (self._folder / "shared").exists():
            words = [*self._words(), "-O", "exit", *self.destination]
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=EXIT_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            with connection, contextlib.suppress(OSError), (self._folder / "said").open("ab") as said:
                subprocess.Popen(
                    [*self._words(), *self.destination, shlex.join(self._remote)],
                    stdin=connection.fileno(),
                    stdout=connection.fileno(),
                    stderr=said,
                    # Ctrl-C is for deploykit, which has something to finish.
                    start_new_session=True,
                )

    def _words(self) -> list[str]:
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": CONNECT_SECONDS,
            "ServerAliveInterval": ALIVE_EVERY_SECONDS,
            "ServerAliveCountMax": ALIVE_TIMES,
        }
        if self._settings.get("controlpath", "none") == "none":
            # One handshake for all connections; who has set that up for themselves keeps theirs.
            options |= {
                "ControlMaster": "auto",
                "ControlPath": f"{self._folder}/shared",
                "ControlPersist": SHARED_SECONDS,
            }
        return [self._ssh, "-T", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]

    def _configured(self) -> dict[str, str]:
        """What ssh would use for this destination, by its own account (`ssh -G`)."""
        words = [self._ssh, "-G", *self.destination]
        try:
            ended = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            return {}
        pairs = (line.partition(" ") for line in ended.stdout.splitlines())
        return {name: value for name, _, value in pairs}


@functools.cache
def tunnel(url: str) -> Tunnel:
    """The way to that Engine; the same one for as long as this process lives.

    Raises:
        EnvironmentLacks: there is no ssh here.
        SpecError: the URL is none that ssh could use.
    """
    return Tunnel(url)


def _parsed(url: str) -> tuple[list[str], list[str]]:
    """The words for ssh that name the destination, and the command there."""
    parts = urllib.parse.urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if not parts.hostname or port == -1 or parts.password or parts.query or parts.fragment:
        what = f"DOCKER_HOST `{urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition('@')[2]))}`"
        raise SpecError(Problem("", f"{what} can't be used", "write `ssh://USER@HOST` or `ssh://USER@HOST:PORT`"))
    words = ["-l", urllib.parse.unquote(parts.username)] if parts.username else []
    words += ["-p", str(port)] if port else []
    socket_there = ["--host", f"unix://{parts.path}"] if parts.path.strip("/") else []
    return [*words, "--", parts.hostname], ["docker", *socket_there, "system", "dial-stdio"]
