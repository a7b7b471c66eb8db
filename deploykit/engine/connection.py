"""The way to the Engine, and the one place where what it or the way to it says is told in our words."""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from deploykit.engine import ssh, unreachable
from deploykit.errors import DeployFailed, EnvironmentLacks, Failure, FailureError

if TYPE_CHECKING:
    from docker import DockerClient

TIMEOUT_SECONDS = 120
"""Of one answer of the Engine; building and waiting are streams or have timeouts of their own."""
FIRST_SECONDS = 20
"""Of the first answer: who is not there is not waited for any longer."""
QUICK_SECONDS = 5
DEFAULT = "unix:///var/run/docker.sock"

LEAST_API = (1, 41)


def connect(timeout_seconds: int = TIMEOUT_SECONDS) -> DockerClient:
    """A client of the Engine that DOCKER_HOST, the chosen docker context or the default socket names.

    Raises:
        EnvironmentLacks: no Engine answers there in time, or one that is too old.
        SpecError: DOCKER_HOST can't be read.
    """
    import docker

    way = _way()
    with explained("can't reach the Docker Engine"):
        first = min(timeout_seconds, FIRST_SECONDS)
        if way.address.startswith("ssh://"):
            way = replace(way, base_url=ssh.tunnel(way.address).base_url)
        settings = {"tls": _apart(way)} if way.tls is not None else {}
        # 32 connections for probes side by side.
        client = docker.DockerClient(way.base_url, version="auto", timeout=first, max_pool_size=32, **settings)
        client.api.timeout = timeout_seconds
        if way.address.startswith("ssh://"):
            _one_pool(client)
        version = str(client.api.api_version)
    if tuple(int(part) for part in version.split(".")) < LEAST_API:
        least = ".".join(str(part) for part in LEAST_API)
        raise EnvironmentLacks(
            f"the Docker Engine at {way.address} speaks API {version}, not {least}", hint="Docker 20.10 and later do"
        )
    return client


def _one_pool(client: DockerClient) -> None:
    """All requests share their connections, each of which costs a program here and there; the library's don't."""
    adapter: Any = client.api.get_adapter(client.api.base_url)
    one_for = adapter.get_connection
    adapter.get_connection = lambda url, proxies=None: one_for(client.api.base_url, proxies)


@dataclass(frozen=True)
class Way:
    """How the Engine is reached."""

    address: str
    """As whoever chose it wrote it."""
    base_url: str
    tls: Any = None
    chosen: bool = True
    """Whether somebody did choose it."""


def _way() -> Way:
    """As the docker command decides: DOCKER_HOST, else DOCKER_CONTEXT, else what `docker context use` chose."""
    from docker.context import ContextAPI
    from docker.context.config import get_current_context_name
    from docker.errors import DockerException

    if host := os.environ.get("DOCKER_HOST"):
        return Way(host, host, _tls_from_environment(host))
    name = os.environ.get("DOCKER_CONTEXT") or get_current_context_name()
    if name and name != "default":
        hint = "`docker context ls` shows what there is; `docker context use default` goes back"
        try:
            context = ContextAPI.get_context(name)
        except (DockerException, OSError, ValueError, LookupError) as error:
            raise EnvironmentLacks(f"the docker context `{name}` can't be read: {error}", hint=hint) from error
        except Exception as error:  # what the library raises for a file that is no JSON
            raise EnvironmentLacks(f"the docker context `{name}` can't be read: {error}", hint=hint) from error
        if context is None or not context.Host:
            raise EnvironmentLacks(f"there is no docker context `{name}`", hint=hint)
        return Way(str(context.Host), str(context.Host), context.TLSConfig)
    return Way(DEFAULT, DEFAULT, chosen=False)


def _tls_from_environment(host: str) -> Any:
    """What DOCKER_TLS_VERIFY and DOCKER_CERT_PATH say; None where they ask for no TLS."""
    from docker.errors import TLSParameterError
    from docker.utils import kwargs_from_env

    try:
        return None if host.startswith(("unix:", "ssh:")) else kwargs_from_env().get("tls")
    except TLSParameterError as error:
        folder = os.environ.get("DOCKER_CERT_PATH") or "~/.docker"
        raise EnvironmentLacks(
            f"the certificates for the Docker Engine at {host} are not in {folder}",
            hint="DOCKER_CERT_PATH names a folder with ca.pem, cert.pem and key.pem",
        ) from error


def _apart(way: Way) -> Any:
    """The same TLS, and no other authority: REQUESTS_CA_BUNDLE, for web sites, would replace the Engine's own."""
    import requests
    from docker.tls import TLSConfig

    class Apart(TLSConfig):
        def configure_client(self, client: Any) -> None:
            super().configure_client(client)
            client.proxies = requests.utils.get_environ_proxies(way.base_url.replace("tcp:", "https:", 1))
            client.trust_env = False

    return Apart(client_cert=way.tls.cert, ca_cert=way.tls.ca_cert, verify=way.tls.verify)


def engine_address() -> str:
    """Where the Engine is, as whoever chose it wrote it: a URL such as `unix:///var/run/docker.sock`."""
    return _way().address


def chosen_address() -> str:
    """The same where DOCKER_HOST or a docker context says it; empty where it is this machine's own by default."""
    way = _way()
    return way.address if way.chosen and way.address != DEFAULT else ""


def is_local() -> bool:
    """Whether the Engine runs on this machine, so that what it publishes on loopback is reached from here."""
    return urllib.parse.urlsplit(engine_address()).scheme in ("unix", "http+unix")


def engine_host() -> str:
    """The name or address by which the Engine's machine is reached from here; empty where it is this one."""
    address = engine_address()
    if address.startswith("ssh://"):
        name = ssh.tunnel(address).host
    elif is_local():
        return ""
    else:
        name = urllib.parse.urlsplit(address if "://" in address else f"tcp://{address}").hostname or ""
    return "" if name == "localhost" or name.startswith("127.") or name == "::1" else name.lower()


def why_no_engine() -> str | None:
    """Why no Engine can be used, in a few words; None where one answers.

    Raises:
        EnvironmentLacks: somebody chose the Engine, and it does not answer.
    """
    way = _way()
    try:
        client = connect(QUICK_SECONDS if not way.chosen else FIRST_SECONDS)
    except FailureError as error:
        if way.chosen:
            raise
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
        if "API version" in text or "connect" in text.lower() or "FileNotFound" in text:
            return _unreachable(what, error)
        return DeployFailed(Failure(what, cause=_short(text)))
    said = _short(str(error.explanation or error))
    if "HTTP request to an HTTPS server" in str(error.response.text if error.response is not None else said):
        return _unreachable(what, error)
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
    told = None
    if address.startswith("ssh://"):
        told = unreachable.by_ssh(address, ssh.tunnel(address).said())
    elif not is_local():
        told = unreachable.by_tls(address, text)
    told = told or unreachable.by_network(what, address, text)
    return told or EnvironmentLacks(f"{what}: can't speak with the Engine at {address}: {_short(str(error))}")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 400 else text[:400] + " ..."
