"""Images to and from registries, by the Engine and with the user's own `docker login`; what goes wrong in our words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from deploykit.errors import EnvironmentLacks, FailureError

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.images import Image

SAID: Sequence[tuple[str, str, str]] = (
    (
        r"unauthorized|no basic auth credentials|authentication required|denied|incorrect username or password",
        "the registry does not let this user in, or not for this",
        "docker login {registry}",
    ),
    (
        r"manifest unknown|not found|repository does not exist|name unknown",
        "the registry has no such image",
        "look at its name and tag",
    ),
    (
        r"connection refused|no such host|i/o timeout|no route to host|network is unreachable|Client\.Timeout|EOF"
        r"|server misbehaving|TLS handshake timeout|context deadline exceeded",
        "the registry can't be reached from the Engine's machine",
        "look at its name and port, and whether it runs",
    ),
    (
        r"server gave HTTP response to HTTPS client",
        "the registry speaks no TLS, which an Engine accepts of its own machine only",
        "give it a certificate, or name it in the Engine's `insecure-registries`",
    ),
    (
        r"x509|certificate",
        "the Engine does not trust the certificate of the registry",
        "put its authority into /etc/docker/certs.d/{registry}/ca.crt on the Engine's machine",
    ),
    (r"[Cc]redentials store|docker-credential", "the credential helper of docker failed", "docker login {registry}"),
    (r"no space left", "no space is left on the Engine's disk", "`docker system df` shows what takes it"),
)
"""What an Engine says of a registry (a regular expression), the cause, and what to do; the first that is found."""


def pull(client: DockerClient, name: str, tell: Callable[[str], None]) -> Image:
    """The image of that name, got from its registry.

    Raises:
        EnvironmentLacks: it could not be got; with the likely cause.
    """
    tell(f"pulling {name}")
    repository, tag = split(name)
    with _asked(name, "pulled"):
        _heard(client.api.pull(repository, tag=tag, stream=True, decode=True), name, "pulled")
        return client.images.get(name)


def push(client: DockerClient, name: str, tell: Callable[[str], None]) -> str:
    """The digest under which the registry has that image now.

    Raises:
        EnvironmentLacks: it could not be put there; with the likely cause.
    """
    tell(f"pushing {name}")
    repository, tag = split(name)
    with _asked(name, "pushed"):
        digest = _heard(client.api.push(repository, tag=tag, stream=True, decode=True), name, "pushed")
        if not digest:
            client.images.get(name).reload()
            digest = digest_of(name, client.images.get(name))
    return digest


def split(name: str) -> tuple[str, str]:
    """The repository, and the tag or digest."""
    if "@" in name:
        repository, _, digest = name.partition("@")
        head, colon, tag = repository.rpartition(":")
        return (head if colon and "/" not in tag else repository), digest
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, "latest")


def digest_of(name: str, image: Image) -> str:
    """The digest under which the registry of that name has the image; empty where it never was there."""
    repository, _ = split(name)
    known = image.attrs.get("RepoDigests") or ()
    return next((each.partition("@")[2] for each in known if each.startswith(f"{repository}@")), "")


def _heard(stream: Iterator[Any], name: str, done: str) -> str:
    """The digest that the Engine tells at the end; an error in what it tells is raised."""
    digest = ""
    for event in stream:
        if error := event.get("error"):
            raise refused(name, done, str(error))
        digest = (event.get("aux") or {}).get("Digest") or digest
    return digest


class _asked:
    """Whatever the library raises meanwhile is told as what the registry said."""

    def __init__(self, name: str, done: str) -> None:
        self.name, self.done = name, done

    def __enter__(self) -> None:
        """Nothing to do before."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        import docker

        if isinstance(error, docker.errors.APIError):
            raise refused(self.name, self.done, str(error.explanation or error)) from error
        if isinstance(error, docker.errors.DockerException):
            # Of the credential helper, for one; what it printed is not repeated.
            raise refused(self.name, self.done, str(error)) from error


def refused(name: str, done: str, said: str) -> FailureError:
    """Why an image could not be pulled or pushed."""
    registry = registry_of(name)
    for pattern, cause, hint in SAID:
        if re.search(pattern, said):
            told = " ".join(said.split())[:300]
            hint = hint.format(registry=registry).strip()
            return EnvironmentLacks(f"{name} can't be {done}: {told}", cause=cause, hint=hint)
    return EnvironmentLacks(f"{name} can't be {done}", cause=" ".join(said.split())[:300])


def registry_of(name: str) -> str:
    """The registry in the name of an image, as `docker login` wants it; empty for Docker Hub."""
    first, slash, _ = name.partition("/")
    return first if slash and ("." in first or ":" in first or first == "localhost") else ""
