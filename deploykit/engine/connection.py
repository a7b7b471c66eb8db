"""The way to the Engine, and the one place where what it or the way to it says is told in our words."""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from deploykit.errors import DeployFailed, EnvironmentLacks, Failure, FailureError

if TYPE_CHECKING:
    from docker import DockerClient

TIMEOUT_SECONDS = 120
"""Of one answer of the Engine; building and waiting are streams or have timeouts of their own."""
QUICK_SECONDS = 5

GONE = (
    *("refused", "resolve", "RemoteDisconnected", "Connection aborted"),
    *("IncompleteRead", "InvalidChunkLength", "ConnectionReset", "BrokenPipe"),
)
"""What the ways to say that nobody answers, or does not any more, have in them."""

LEAST_API = (1, 41)


def connect(timeout_seconds: int = TIMEOUT_SECONDS) -> DockerClient:
    """A client of the Engine that DOCKER_HOST, the current docker context or the default socket names.

    Raises:
        EnvironmentLacks: no Engine answers there, or one that is too old.
    """
    import docker
    from docker.utils import kwargs_from_env

    with explained("can't reach the Docker Engine"):
        # From the environment come DOCKER_TLS_VERIFY and DOCKER_CERT_PATH; 32 connections for probes side by side.
        settings = kwargs_from_env()
        settings.setdefault("base_url", engine_address())
        client = docker.DockerClient(version="auto", timeout=timeout_seconds, max_pool_size=32, **settings)
        version = str(client.api.api_version)
    if tuple(int(part) for part in version.split(".")) < LEAST_API:
        least = ".".join(str(part) for part in LEAST_API)
        raise EnvironmentLacks(f"the Docker Engine speaks API {version}, not {least}", hint="Docker 20.10 and later do")
    return client


def engine_address() -> str:
    """Where the Engine is: a URL such as `unix:///var/run/docker.sock`."""
    if host := os.environ.get("DOCKER_HOST"):
        return host
    from docker.context import ContextAPI
    from docker.errors import DockerException

    # What `docker context use` chose; a broken file of somebody else's is no reason to fail.
    with contextlib.suppress(DockerException, OSError, ValueError, LookupError):
        context = ContextAPI.get_current_context()
        if context is not None and context.Name != "default" and context.Host:
            return str(context.Host)
    return "unix:///var/run/docker.sock"


def is_local() -> bool:
    """Whether the Engine runs on this machine, so that what it publishes on loopback is reached from here."""
    return urllib.parse.urlsplit(engine_address()).scheme in ("unix", "http+unix")


def why_no_engine() -> str | None:
    """Why no Engine can be used, in a few words; None where one answers."""
    try:
        client = connect(QUICK_SECONDS)
    except FailureError as error:
        return error.failure.what
    client.close()
    return None


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Tells whatever the docker library raises as what is missing or what failed.

    Raises:
        EnvironmentLacks: the Engine, a permission, a port, space or an image is missing.
        DeployFailed: the Engine refused `what` for another reason.
    """
    import http.client

    import docker
    import requests
    import urllib3

    try:
        yield
    except docker.errors.DockerException as error:
        raise _told(what, error) from error
    except requests.exceptions.RequestException as error:
        raise _unreachable(what, error) from error
    except (urllib3.exceptions.HTTPError, http.client.HTTPException, ConnectionError) as error:
        # An answer that ends in its middle: the docker library reads streams past its own errors.
        raise _unreachable(what, error) from error


def _told(what: str, error: Exception) -> FailureError:
    import docker

    if not isinstance(error, docker.errors.APIError):
        text = str(error)
        if "API version" in text or "Connection" in text or "connect" in text.lower() or "FileNotFound" in text:
            return _unreachable(what, error)
        return DeployFailed(Failure(what, cause=_short(text)))
    said = _short(str(error.explanation or error))
    low = said.lower()
    if "port is already allocated" in low or "address already in use" in low:
        match = re.search(r"([0-9.\[\]:a-f]*:[0-9]+)", said)
        at = f" ({match[1]})" if match else ""
        return EnvironmentLacks(
            f"{what}: the port is taken{at}", hint="stop what listens there, or choose another `listen`"
        )
    if "cannot assign requested address" in low:
        return EnvironmentLacks(f"{what}: the Engine's machine has no such address", hint="change `listen`")
    if "no space left" in low:
        return EnvironmentLacks(
            f"{what}: no space left on the Engine's disk", hint="`docker system df` shows what takes it"
        )
    if "permission denied" in low and error.status_code in (401, 403):
        return EnvironmentLacks(f"{what}: {said}")
    if isinstance(error, docker.errors.ImageNotFound):
        return EnvironmentLacks(f"{what}: {said}", hint="deploykit images build, where no registry can be reached")
    return DeployFailed(Failure(what, cause=f"the Engine said: {said}"))


def _unreachable(what: str, error: Exception) -> EnvironmentLacks:
    address = engine_address()
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    text = " ".join(f"{type(each).__name__} {each}" for each in chain)
    if "PermissionError" in text or "Permission denied" in text:
        return EnvironmentLacks(
            f"no permission to use the Engine at {address}",
            hint="run as root or as a member of the group `docker`, or set DOCKER_HOST",
        )
    if "FileNotFoundError" in text or "No such file" in text:
        return EnvironmentLacks(f"no Engine answers at {address}", hint="start Docker, or set DOCKER_HOST")
    if "timed out" in text.lower() or "Timeout" in text:
        return EnvironmentLacks(f"{what}: the Engine at {address} does not answer in time")
    if any(each in text for each in GONE):
        return EnvironmentLacks(f"no Engine answers at {address}", hint="start Docker, or set DOCKER_HOST")
    return EnvironmentLacks(f"{what}: can't speak with the Engine at {address}: {_short(str(error))}")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 400 else text[:400] + " ..."
