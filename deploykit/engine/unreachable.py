"""Why an Engine or a registry can't be reached, from what the network, TLS or ssh said: in our words, with a cause."""

from __future__ import annotations

import re
from collections.abc import Sequence

from deploykit.errors import EnvironmentLacks, Failure

SSH: Sequence[tuple[str, str, str]] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the host key of its machine is another one than ssh knows",
        "ask who runs it whether it was set up anew; only then: ssh-keygen -R HOST",
    ),
    (
        r"Host key verification failed",
        "ssh does not know its machine yet",
        "connect once by hand and compare the host key: ssh HOST",
    ),
    (
        r"Permission denied",
        "ssh was not let in with the keys that it has",
        "`ssh HOST docker version` has to work without a question: add the key there, or to your ssh-agent",
    ),
    (r"Could not resolve hostname", "no machine of that name is known", "look at DOCKER_HOST"),
    (
        r"(docker: (command )?not found|dial-stdio.*not a docker command)",
        "there is no docker command on its machine, by which ssh reaches the Engine",
        "install Docker there",
    ),
    (
        r"permission denied while trying to connect|dial unix .*permission denied",
        "the user there may not use Docker",
        "on that machine, add the user to the group `docker`",
    ),
    (r"Cannot connect to the Docker daemon|dial unix", "Docker does not run on its machine", "start it there"),
    (r"Connection refused", "nothing listens for ssh there", "look at DOCKER_HOST, and at the port"),
    (
        r"timed out|No route to host|Network is unreachable",
        "its machine can't be reached by ssh",
        "look at DOCKER_HOST, at the network and its firewall",
    ),
)
"""What ssh says (a regular expression), the cause, and what to do; the first that is found."""

TLS: Sequence[tuple[str, str, str]] = (
    (
        r"certificate has expired",
        "the certificate of the Engine has expired",
        "have it renewed there; look at the clock of this machine too",
    ),
    (
        r"certificate is not yet valid",
        "the certificate of the Engine is not valid yet",
        "look at the clock of this machine",
    ),
    (
        r"(IP address|[Hh]ostname) mismatch|doesn't match",
        "the certificate of the Engine is for another name or address",
        "use the name that it was made for in DOCKER_HOST",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|self.signed certificate|unable to get local issuer",
        "the certificate of the Engine was signed by somebody else than DOCKER_CERT_PATH/ca.pem",
        "get the ca.pem that belongs to it",
    ),
    (
        r"alert (bad certificate|unknown ca|certificate required|certificate expired|certificate unknown)"
        r"|ALERT_(BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_REQUIRED|CERTIFICATE_EXPIRED)",
        "the Engine refuses the certificate in DOCKER_CERT_PATH: it has expired, or another authority signed it",
        "openssl x509 -noout -dates -issuer -in cert.pem",
    ),
    (
        r"WRONG_VERSION_NUMBER|wrong version number|record layer failure|UNEXPECTED_EOF_WHILE_READING",
        "it does not speak TLS there",
        "look at the port, or unset DOCKER_TLS_VERIFY and DOCKER_CERT_PATH",
    ),
    (
        r"HTTP request to an HTTPS server",
        "it speaks TLS only",
        "set DOCKER_TLS_VERIFY=1, and DOCKER_CERT_PATH to the folder with ca.pem, cert.pem and key.pem",
    ),
)


def by_ssh(address: str, said: str) -> EnvironmentLacks | None:
    """Why ssh did not get to the Engine; None where it said nothing that tells."""
    return _of(SSH, address, said, last=True)


def by_tls(address: str, said: str) -> EnvironmentLacks | None:
    """Why no TLS connection came about; None where that is not it."""
    return _of(TLS, address, said, last=False)


def _of(table: Sequence[tuple[str, str, str]], address: str, said: str, *, last: bool) -> EnvironmentLacks | None:
    for pattern, cause, hint in table:
        if re.search(pattern, said):
            lines = tuple(line for line in said.splitlines() if line.strip())[-3:] if last else ()
            what = f"can't reach the Docker Engine at {address}"
            name = "ssh" if lines else ""
            return EnvironmentLacks(Failure(what, cause=cause, hint=hint, log_name=name, log_lines=lines))
    return None


GONE = (
    *("refused", "RemoteDisconnected", "Connection aborted"),
    *("IncompleteRead", "InvalidChunkLength", "ConnectionReset", "BrokenPipe"),
)
"""What the ways to say that nobody answers, or does not any more, have in them."""


def by_network(what: str, address: str, said: str) -> EnvironmentLacks | None:
    """Why no connection came about; None where something else is the matter."""
    if "PermissionError" in said or "Permission denied" in said:
        return EnvironmentLacks(
            f"no permission to use the Engine at {address}",
            hint="run as root or as a member of the group `docker`, or set DOCKER_HOST",
        )
    if "FileNotFoundError" in said or "No such file" in said:
        return EnvironmentLacks(f"no Engine answers at {address}", hint="start Docker, or set DOCKER_HOST")
    if "Name or service not known" in said or "resolve" in said.lower():
        return EnvironmentLacks(
            f"no Engine answers at {address}", cause="no machine of that name is known", hint="look at DOCKER_HOST"
        )
    if "No route to host" in said or "unreachable" in said.lower():
        return EnvironmentLacks(
            f"no Engine answers at {address}",
            cause="there is no way to that machine",
            hint="look at DOCKER_HOST, at the network and its firewall",
        )
    if "timed out" in said.lower() or "Timeout" in said:
        return EnvironmentLacks(
            f"{what}: the Engine at {address} does not answer in time",
            cause=""
            if address.startswith("unix:")
            else "its machine is down, a firewall drops it, or it is overloaded",
        )
    if any(each in said for each in GONE):
        return EnvironmentLacks(f"no Engine answers at {address}", hint="start Docker, or set DOCKER_HOST")
    return None
