"""Runs the commands that print secrets, each once; what they print goes to `secrets` and nowhere else."""

from __future__ import annotations

import contextlib
import os
import selectors
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from deploykit.errors import EnvironmentLacks, Failure
from deploykit.plan import AppPlan, SecretRef
from deploykit.secrets import LONGEST_VARIABLE, Redactor

PATIENCE_SECONDS = 60.0
"""How long a command may take where nobody is there to be asked for a passphrase."""
PATIENCE_OF_A_PERSON_SECONDS = 300.0
LOOK_SECONDS = 0.1
MOST_SAID = 64 << 10
"""Bytes of what it complains that are kept, for the last lines."""


class Commands:
    """The commands of one command of deploykit: the same words are run once, however many apps have them.

    At a terminal a command shares it, so that it can ask for a passphrase; elsewhere it has no input, and the last
    lines of what it complains are told where it fails, without anything in them that is known to be secret.
    """

    def __init__(self, folder: Path, where: Callable[[AppPlan, SecretRef], str], redact: Redactor) -> None:
        self._folder = folder
        self._where = where
        self._redact = redact
        self._printed: dict[tuple[str, ...], bytes] = {}
        self.paused: Callable[[], AbstractContextManager[None]] = nullcontext
        """Entered while a command has the terminal."""

    def __call__(self, app: AppPlan, ref: SecretRef) -> bytes:
        """What the command of that secret prints.

        Raises:
            EnvironmentLacks: it can't be started, fails, prints nothing or too much, or takes too long.
        """
        if ref.command not in self._printed:
            with self.paused() if _somebody_is_there() else nullcontext():
                self._printed[ref.command] = self._run(app, ref)
        return self._printed[ref.command]

    def _run(self, app: AppPlan, ref: SecretRef) -> bytes:
        shared = _somebody_is_there()
        patience = PATIENCE_OF_A_PERSON_SECONDS if shared else PATIENCE_SECONDS
        try:
            process = subprocess.Popen(
                ref.command,
                cwd=self._folder,
                stdin=None if shared else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=None if shared else subprocess.PIPE,
                # What it starts ends with it; at a terminal it has to stay among those who may read from there.
                start_new_session=not shared,
            )
        except OSError as error:
            problem = f"`{ref.command[0]}` can't be started: {(error.strerror or str(error)).lower()}"
            raise self._failure(app, ref, problem) from error
        try:
            printed, said, in_time = _all_of(process, time.monotonic() + patience)
        finally:
            _end(process, alone=not shared)
        if len(printed) > LONGEST_VARIABLE:
            raise self._failure(app, ref, f"its command prints more than {LONGEST_VARIABLE} bytes", said, printed)
        if not in_time:
            raise self._failure(app, ref, f"its command did not end within {patience:.0f} s", said, printed)
        if process.returncode != 0:
            code = process.returncode
            how = f"ended with exit code {code}" if code > 0 else f"was ended by {signal.Signals(-code).name}"
            raise self._failure(app, ref, f"its command {how}", said, printed)
        if not printed.strip(b"\r\n"):
            raise self._failure(app, ref, "its command printed nothing", said, printed)
        return printed

    def _failure(
        self, app: AppPlan, ref: SecretRef, problem: str, said: bytes = b"", printed: bytes = b""
    ) -> EnvironmentLacks:
        hidden = printed.decode("utf-8", "surrogateescape").splitlines()
        self._redact.add([*hidden, "\n".join(hidden)])
        lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
        return EnvironmentLacks(
            Failure(
                f"the secret {ref.name} of {app.name} can't be read: {problem}",
                tried=(f"{shlex.join(ref.command)}, from {self._where(app, ref)}",),
                log_name="what it said",
                log_lines=tuple(self._redact(line) for line in lines[-10:]),
                hint=f"run it in {self._folder} and see; it should print the value and end with 0",
            )
        )


def _somebody_is_there() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()


def _all_of(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes, bool]:
    """What it prints, what it complains, and whether it ended in time; stops where a value would be too long."""
    printed, said = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for pipe, text in ((process.stdout, printed), (process.stderr, said)):
            if pipe is not None:
                selector.register(pipe, selectors.EVENT_READ, text)
        while len(printed) <= LONGEST_VARIABLE:
            # What it leaves in the background, as an agent, may hold its pipes open: then its own end is the end.
            ended = process.poll() is not None
            ready = selector.select(0 if ended else LOOK_SECONDS) if selector.get_map() else []
            for key, _ in ready:
                piece = os.read(key.fd, 65536)
                key.data.extend(piece)
                if not piece:
                    selector.unregister(key.fileobj)
            del said[:-MOST_SAID]
            if ended and not ready:
                return bytes(printed), bytes(said), True
            if not selector.get_map():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LOOK_SECONDS)
            if time.monotonic() > deadline:
                break
    return bytes(printed), bytes(said), False


def _end(process: subprocess.Popen[bytes], *, alone: bool) -> None:
    """It has ended, and where it was alone in its session, what it started as well."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            if alone:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
