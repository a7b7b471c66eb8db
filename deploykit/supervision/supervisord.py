"""Starts supervisord and speaks to it over its unix socket, however deep the stack's folder lies."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from deploykit import disk
from deploykit.errors import DeployFailed, EnvironmentLacks, Failure
from deploykit.supervision.home import Home, clean_environment
from deploykit.supervision.programs import Program, program_text

# Faults of supervisord's RPC interface (supervisor/xmlrpc.py) that say: it is that way already.
BAD_NAME, NOT_RUNNING, ALREADY_ADDED = 10, 70, 90

TICK_SECONDS = 1.0
"""How late supervisord may notice that a program ended: it looks once a second."""


@dataclass(frozen=True)
class Running:
    """One program as supervisord sees it."""

    name: str
    state: str
    """STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL or UNKNOWN."""
    pid: int
    started: float
    """Seconds since the epoch, 0 where it never was."""
    ended: float
    """When it last ended, 0 where it never has since it was added."""
    exit_status: int
    error: str

    @property
    def is_up(self) -> bool:
        return self.state in ("RUNNING", "STARTING")


class Refused(DeployFailed):
    """supervisord answered, and it was no."""

    def __init__(self, method: str, fault: xmlrpc.client.Fault) -> None:
        super().__init__(f"supervisord refuses {method}: {fault.faultString}")
        self.code = fault.faultCode


class _Connection(http.client.HTTPConnection):
    """HTTP over the unix socket of that path."""

    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("supervisord", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        # A name in /proc of the same file is always shorter than the 107 bytes that a socket's path may have.
        handle = os.open(self.path, os.O_PATH | os.O_CLOEXEC)
        try:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(f"/proc/self/fd/{handle}")
        finally:
            os.close(handle)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__()
        self.path = path
        self.timeout = timeout

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _Connection(self.path, self.timeout)


class Supervisord:
    """The supervisord of one stack."""

    def __init__(self, home: Home, timeout_seconds: float = 30.0) -> None:
        self.home = home
        transport = _Transport(home.supervisor / "socket", timeout_seconds)
        self._rpc = xmlrpc.client.ServerProxy("http://supervisord/RPC2", transport=transport)
        # Its one connection takes one call at a time; instances are stopped side by side.
        self._one_call = threading.RLock()

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            with self._one_call:
                return getattr(self._rpc.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            raise Refused(method, fault) from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.ProtocolError) as error:
            raise DeployFailed(f"supervisord does not answer ({error})", hint="deploykit up starts it again") from error

    # --- itself ---

    def pid(self) -> int | None:
        """Its process id; None where none answers."""
        try:
            with self._one_call:
                return int(self._rpc.supervisor.getPID())  # type: ignore[arg-type]
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            return None

    def launch(self) -> int:
        """Its process id, once it runs: in a session of its own, with nothing of this process's environment.

        Raises:
            DeployFailed: it did not come up; with what it said.
            EnvironmentLacks: this user can't run the Python that deploykit runs on.
        """
        running = self.pid()
        if running is not None:
            return running
        disk.remove(self.home.supervisor / "socket")
        command = [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", "supervisor/supervisord.conf"]
        try:
            done = subprocess.run(
                command,
                cwd=self.home.root,
                env=clean_environment(self.home),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=60,
                check=False,
            )
        except OSError as error:
            raise EnvironmentLacks(
                f"can't run {sys.executable}: {error.strerror}",
                hint="install deploykit where the user of the stack can run it",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise DeployFailed("supervisord did not go to the background within 60 s") from error
        for _ in until(20.0):
            running = self.pid()
            if running is not None:
                return running
            if done.returncode != 0:
                break
        lines = tuple(done.stdout.splitlines()[-20:])
        raise DeployFailed(Failure("supervisord did not start", tried=(" ".join(command),), log_lines=lines))

    def shutdown(self, patience_seconds: float) -> None:
        """It and all its programs are gone: each stopped by its signal, killed where that takes longer."""
        import psutil

        pid = self.pid()
        if pid is None:
            return
        try:
            process = psutil.Process(pid)
        except psutil.NoSuchProcess:
            return
        with contextlib.suppress(DeployFailed):
            self._call("shutdown")
        for _ in until(patience_seconds + 2 * TICK_SECONDS):
            if not is_alive(process):
                return
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()

    # --- its programs ---

    def all(self) -> dict[str, Running]:
        """Name to each program it knows; empty where it does not run."""
        if self.pid() is None:
            return {}
        return {item["name"]: _running(item) for item in self._call("getAllProcessInfo")}

    def one(self, name: str) -> Running | None:
        """That program, None where it does not know it."""
        try:
            return _running(self._call("getProcessInfo", name))
        except Refused as refused:
            if refused.code == BAD_NAME:
                return None
            raise

    def start(self, program: Program) -> float:
        """When the program had ended last before this started it; one that runs from the same text goes on."""
        path = self.home.program(program.name)
        text = program_text(program)
        known = self.one(program.name)
        if known is not None and known.is_up and path.exists() and path.read_text() == text:
            return known.ended
        if known is not None:
            self.remove(program.name, program.stop_seconds)
        disk.write(path, text)
        self._call("reloadConfig")
        self._allowing(ALREADY_ADDED, "addProcessGroup", program.name)
        # What is wrong is in the program's state as well, which whoever waits for it reads with its log.
        with contextlib.suppress(Refused):
            self._call("startProcess", program.name, False)
        return 0.0

    def stop(self, name: str, patience_seconds: float) -> None:
        """The program has ended, and so have all processes it started: by its signal, killed after the patience."""
        import psutil

        known = self.one(name)
        if known is None:
            return
        family = process_family(known.pid) if known.pid else []
        self._allowing(NOT_RUNNING, "stopProcess", name, False)
        wake(family)
        self._await_end(name, patience_seconds + 2 * TICK_SECONDS)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                if is_alive(process):
                    process.kill()
        self._await_end(name, 5 * TICK_SECONDS)

    def _await_end(self, name: str, seconds: float) -> None:
        for _ in until(seconds):
            known = self.one(name)
            if known is None or known.state in ("STOPPED", "EXITED", "FATAL"):
                return

    def remove(self, name: str, patience_seconds: float) -> None:
        """It is stopped and forgotten, with its file."""
        self.stop(name, patience_seconds)
        if self.one(name) is not None:
            self._allowing(BAD_NAME, "removeProcessGroup", name)
        self.forget(name)

    def forget(self, name: str) -> None:
        """Its file is gone; for a program that supervisord does not know."""
        disk.remove(self.home.program(name))

    def restart(self, name: str, patience_seconds: float) -> float:
        """When the program had ended last, by its signal, before this started the same again."""
        self.stop(name, patience_seconds)
        known = self.one(name)
        with contextlib.suppress(Refused):
            self._call("startProcess", name, False)
        return known.ended if known is not None else 0.0

    def signal(self, name: str, signal: str) -> None:
        """The main process of the program gets the signal."""
        self._allowing(NOT_RUNNING, "signalProcess", name, signal)

    def _allowing(self, code: int, method: str, *arguments: Any) -> None:
        try:
            self._call(method, *arguments)
        except Refused as refused:
            if refused.code != code:
                raise


def _running(item: Mapping[str, Any]) -> Running:
    return Running(
        name=str(item["name"]),
        state=str(item["statename"]),
        pid=int(item["pid"]),
        started=float(item["start"]),
        ended=float(item["stop"]),
        exit_status=int(item["exitstatus"]),
        error=str(item["spawnerr"]),
    )


def until(seconds: float, pause_seconds: float = 0.1) -> Iterator[None]:
    """Yields at once, then every pause until the time is over."""
    end = time.monotonic() + seconds
    while True:
        yield
        if time.monotonic() >= end:
            return
        time.sleep(pause_seconds)


def process_family(pid: int) -> list[Any]:
    """The psutil process of that id and all below it; empty where it is gone."""
    import psutil

    try:
        main = psutil.Process(pid)
        return [main, *main.children(recursive=True)]
    except psutil.Error:
        return []


def wake(family: Iterable[Any]) -> None:
    """Those of the psutil processes that were stopped (SIGSTOP) go on, and read the signals that wait for them."""
    import psutil

    for process in family:
        with contextlib.suppress(psutil.Error):
            process.resume()


def is_alive(process: Any) -> bool:
    """Whether a psutil process still runs; one that only waits for its parent to notice does not."""
    import psutil

    try:
        return cast(bool, process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
