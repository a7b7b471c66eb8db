"""Asking a Django project's own settings, in a process of its own that can neither hang, print nor leave files.

The asked process gets no terminal and no pipe of ours: it writes its answer into a nameless file, so that a child which
it leaves behind can't keep us waiting either.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

PROBE = Path(__file__).with_name("settings_probe.py")
LARGEST_ANSWER_BYTES = 1 << 20


@dataclass(frozen=True)
class Answer:
    """What the settings say, or why they could not be asked."""

    values: Mapping[str, object] | None
    failure: str = ""


def ask_settings(python: str, folder: Path, module: str, limit_seconds: float) -> Answer:
    """The values of a settings module as the project's own interpreter sees them.

    Ends the process and everything in its group after `limit_seconds`.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"DJANGO_SETTINGS_MODULE": module, "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile() as answer:
        descriptor = answer.fileno()
        try:
            process = subprocess.Popen(
                [python, "-B", "-W", "ignore", str(PROBE), str(descriptor)],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(descriptor,),
                start_new_session=True,
            )
        except OSError as error:
            return Answer(None, f"{python} can't be run ({error.strerror})")
        try:
            code = process.wait(limit_seconds)
        except subprocess.TimeoutExpired:
            return Answer(None, f"{module} did not answer within {limit_seconds:g} s")
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        answer.seek(0)
        return _read(answer.read(LARGEST_ANSWER_BYTES + 1), module, code)


def _read(data: bytes, module: str, code: int) -> Answer:
    try:
        said = json.loads(data)
    except ValueError:
        return Answer(None, f"{module} ended the interpreter (exit {code})")
    if not isinstance(said, dict) or not isinstance(said.get("values"), dict):
        failure = said.get("failure") if isinstance(said, dict) else None
        return Answer(None, _without_passwords(" ".join(str(failure or "no answer").split()))[:160])
    return Answer(cast("Mapping[str, object]", said["values"]))


def _without_passwords(text: str) -> str:
    """The text with what stands before the host of a URL left out: an error may quote a whole DATABASE_URL."""
    return re.sub(r"://[^\s@]*@", "://...@", text)
