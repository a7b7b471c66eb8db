"""What a check may look at: what is desired, the running stack, the requests that ask it. Decides no check."""

from __future__ import annotations

import os
import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from deploykit.plan import AppPlan, Check, Desired, Plan
from deploykit.runtimes import Runtime, Vantage
from deploykit.wire import Answer, Request

ANY_ADDRESS = {"": "127.0.0.1", "*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 -- read, not bound
"""What is asked where nginx listens on every address."""


@dataclass(frozen=True)
class Seen:
    """What one check saw."""

    verdict: Literal["kept", "broken", "not run"]
    measured: str


Measure = Callable[["Scene", Check], Seen]


def kept(measured: str) -> Seen:
    """The promise held, and this was seen."""
    return Seen("kept", measured)


def broken(measured: str) -> Seen:
    """This was seen instead."""
    return Seen("broken", measured)


def not_run(why: str) -> Seen:
    """Nothing was measured."""
    return Seen("not run", why)


def printable(text: str) -> str:
    """The text on one line, with what a terminal would obey written out: parts of it come from whoever answered."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def described(answer: Answer) -> str:
    """The status, or why there was none."""
    return str(answer.status) if answer.status else answer.error


def refused(answer: Answer) -> bool:
    """Whether the connection was taken and closed without a word."""
    return answer.status == 0 and answer.error.startswith(("closed", "reset"))


def counted(answers: Iterable[Answer]) -> str:
    """How often each status came, such as `11 x 404, 1 x 400`."""
    counts = Counter("closed" if refused(answer) else described(answer) for answer in answers)
    return ", ".join(f"{count} x {what}" for what, count in counts.most_common())


class Scene:
    """A running stack, as a check sees it."""

    def __init__(self, desired: Desired, runtime: Runtime) -> None:
        self.desired = desired
        self.runtime = runtime

    @property
    def plan(self) -> Plan:
        return self.desired.plan

    # --- requests to nginx ---

    def address(self, vantage: Vantage) -> str:
        """Where nginx is asked from there, `host:port`."""
        host, port = self.plan.listen_host, str(self.plan.listen_port)
        if vantage == "nginx":
            host, _, port = self.plan.layout.listen.rpartition(":")
            host = host.strip("[]")
        host = ANY_ADDRESS.get(host, host)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def loopback(self) -> str:
        """The address that requests from nginx's own loopback come from; empty where it is nginx's only choice."""
        return "" if self.address("nginx").startswith("[") else "127.0.0.1"

    def host_header(self, host: str) -> str:
        """The Host header as a browser sends it."""
        port = self.plan.listen_port
        return host if not host or port == 80 else f"{host}:{port}"

    def request(
        self,
        host: str,
        target: str,
        *,
        vantage: Vantage = "outside",
        method: str = "GET",
        source: str = "",
        timeout_seconds: float = 5.0,
        expect_length: int = -1,
        most_bytes: int = 262144,
    ) -> Request:
        """A request to nginx whose answer tells the member that gave it."""
        return Request(
            self.address(vantage),
            target=target,
            method=method,
            host=self.host_header(host),
            headers=(("X-Deploykit-Probe", self.desired.generation),),
            source=source,
            timeout_seconds=timeout_seconds,
            expect_length=expect_length,
            most_bytes=most_bytes,
        )

    def telling(self, target: str, host: str = "deploykit.invalid") -> Request:
        """A request to what the stack's nginx tells of itself, to its own loopback only."""
        return self.request(host, target, vantage="nginx", source=self.loopback())

    def ask(self, *requests: Request, vantage: Vantage = "outside") -> Sequence[Answer]:
        """The answers, one after the other."""
        return self.runtime.exchange(vantage, requests)

    # --- members ---

    def slots(self, app: AppPlan) -> Mapping[str, int]:
        """What nginx calls each member, to the number of its slot."""
        return {slot.address: slot.number for slot in app.slots}

    # --- files on the target ---

    @cached_property
    def hosts(self) -> Mapping[str, Any]:
        """`nginx` and each member to its testinfra Host."""
        return self.runtime.hosts()

    @cached_property
    def prefix(self) -> str:
        """nginx's working folder as its own host sees it, absolute; empty where it can't be found out."""
        prefix = self.plan.layout.prefix
        if prefix.startswith("/"):
            return prefix
        for pid in self.runtime.process_ids().get("nginx", ())[:1]:
            try:
                return posixpath.normpath(posixpath.join(os.readlink(f"/proc/{pid}/cwd"), prefix))  # noqa: PTH115
            except OSError:
                return ""
        return ""

    def run(self, name: str, command: str, *words: str) -> str | None:
        """What the command says in the host of `nginx` or a member; None where there is no host or it fails."""
        host = self.hosts.get(name)
        if host is None:
            return None
        result = host.run(command, *words)
        # Names of files are bytes; testinfra's own reading ends where they are no UTF-8.
        return bytes(result.stdout_bytes).decode("utf-8", "surrogateescape") if result.rc == 0 else None

    def found(self, folder: str, *test: str) -> list[str] | None:
        """What `find` finds below a folder of nginx, relative to it and sorted; None where it can't be looked at."""
        if not self.prefix:
            return None
        top = posixpath.join(self.prefix, folder).rstrip("/") + "/"
        marks = " ".join("%s" for _ in test)
        output = self.run("nginx", f"find %s {marks} -print0", top, *test)
        if output is None:
            return None
        return sorted(path.removeprefix(top).lstrip("/") for path in output.split("\0") if path)


# --- values of checks, by type ---------------------------------------------------------------------------------------


def text(check: Check, name: str) -> str:
    """A value that is a text."""
    value = check.values[name]
    if not isinstance(value, str):
        raise TypeError(f"{check.kind}: {name} should be a text, not {value!r}")
    return value


def number(check: Check, name: str) -> int:
    """A value that is a whole number."""
    value = check.values[name]
    if not isinstance(value, int):
        raise TypeError(f"{check.kind}: {name} should be a number, not {value!r}")
    return value


def seconds(check: Check, name: str) -> float:
    """A value that is a duration."""
    value = check.values[name]
    if not isinstance(value, int | float):
        raise TypeError(f"{check.kind}: {name} should be seconds, not {value!r}")
    return float(value)


def texts(check: Check, name: str) -> list[str]:
    """A value that is a list of texts."""
    value = check.values[name]
    if not isinstance(value, list | tuple):
        raise TypeError(f"{check.kind}: {name} should be a list, not {value!r}")
    return [str(item) for item in value]
