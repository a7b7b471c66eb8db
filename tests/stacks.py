"""An example in a folder of its own, the `deploykit` command on it, and what of it is there: seen without deploykit."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from browser import Browser
from ports import free_port

from deploykit.runtimes import Stack

TOP = Path(__file__).parent.parent
ARTIFACTS = TOP / "tests" / "artifacts"
COMMAND = (sys.executable, "-m", "deploykit")
APPS = {"flask": "guestbook", "django": "shop"}
"""Example to what its `/whoami` calls itself."""
DOCKER_TREE = "/srv/deploykit"


class Example:
    """A copy of one example with a name and a port of its own."""

    def __init__(self, kind: str, target: str, folder: Path) -> None:
        self._name_it(kind, target, folder, APPS[kind])
        ignored = shutil.ignore_patterns(".deploykit", "__pycache__", "*.sqlite3*", "media", "staticfiles")
        shutil.copytree(TOP / "examples" / kind, folder, ignore=ignored)
        self.edit("deploykit.yaml", f"\nname: {self.app}\n", f"\nname: {self.name}\n")
        self.edit("deploykit.yaml", "listen: 127.0.0.1:808", f"listen: 127.0.0.1:{self.port} # was 808")
        # What a machine without a registry has: the base images that `deploykit images build` makes.
        images = "\nimages: {python: 'deploykit/python:3.11', nginx: 'deploykit/nginx:1.22'}\n\nlisten:"
        self.edit("deploykit.yaml", "\nlisten:", images)

    def _name_it(self, kind: str, target: str, folder: Path, app: str) -> None:
        self.kind, self.target, self.folder, self.app = kind, target, folder, app
        self.name = f"t{uuid.uuid4().hex[:8]}"
        self.port = free_port()
        self.url = f"http://localhost:{self.port}"
        self.browser = Browser(self.url)
        self.patience_seconds = 300.0
        """How long a command may take, where it is not said otherwise."""
        self.variables: dict[str, str] = {}
        """What a user of it has in the environment, such as DOCKER_HOST."""

    @property
    def home(self) -> Path:
        """Where deploykit keeps what is this stack's on this machine."""
        return self.folder / ".deploykit" / self.name

    def edit(self, file: str, old: str, new: str) -> None:
        """Replaces a text that has to be there exactly once."""
        path = self.folder / file
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new))

    def keep_secret(self, value: str) -> None:
        """The app's SECRET_KEY is that value, from a file beside the spec, as the Django example has it."""
        (self.folder / "secret-key.txt").write_text(value + "\n")
        (self.folder / "secret-key.txt").chmod(0o600)
        text = (self.folder / "deploykit.yaml").read_text()
        if "SECRET_KEY: {file: secret-key.txt}" not in text:
            self.edit(
                "deploykit.yaml", "    volumes:\n", "    secrets: {SECRET_KEY: {file: secret-key.txt}}\n    volumes:\n"
            )

    def run(self, *words: str, expect: int = 0, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
        """What `deploykit WORDS` in the example's folder said; its exit code has to be the expected one."""
        ended = subprocess.run(
            [*COMMAND, *words],
            cwd=self.folder,
            env=_environment() | self.variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds or self.patience_seconds,
        )
        said = f"deploykit {' '.join(words)}: exit {ended.returncode}\n{ended.stdout}{ended.stderr}"
        self._keep("commands.txt", said)
        assert ended.returncode == expect, said
        return ended

    def json(self, *words: str) -> Any:
        """The same, with what it says read as JSON."""
        return json.loads(self.run(*words, "--json").stdout)

    def up(self) -> Any:
        """What `deploykit up` did."""
        return self.json("up", "--target", self.target)

    def remove(self) -> None:
        """Nothing of it stays, its data included; of no interest how that ends."""
        words = [*COMMAND, "down", "--volumes", "--yes"]
        subprocess.run(
            words, cwd=self.folder, env=_environment() | self.variables, capture_output=True, timeout=120, check=False
        )

    def said(self) -> str:
        """All that commands of deploykit on this example have said until now."""
        path = self._kept / "commands.txt"
        return path.read_text() if path.exists() else ""

    def keep_said(self, text: str) -> None:
        """Another command than `run` started said that."""
        self._keep("commands.txt", text)

    # --- what is there, seen past deploykit ---

    def alive(self) -> dict[str, object]:
        """Each process (by id) and container (by name) of this stack, with when it was started."""
        started: dict[str, object] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("DEPLOYKIT_STACK") == Stack(self.name, self.folder).id:
                    started[f"process {process.pid}"] = process.create_time()
        for container in self._engine_has("containers", all=True):
            started[f"container {container.name}"] = (container.id, container.attrs["State"]["StartedAt"])
        return started

    def written(self) -> dict[str, str]:
        """Each file and link that deploykit made for this stack, with when it was last changed; no logs and no lock."""
        left_out = [word for path in ("./logs", "./tmp", "./lock") for word in ("-path", path, "-prune", "-o")]
        words = ["find", ".", *left_out, "(", "-type", "f", "-o", "-type", "l", ")", "-printf", "%p %T@\\n"]
        found = subprocess.run(words, cwd=self.home, capture_output=True, text=True, check=True).stdout
        for container in self._engine_has("containers", filters={"name": "nginx"}):
            found += container.exec_run(words, workdir=DOCKER_TREE).output.decode()
        return dict(line.rsplit(" ", 1) for line in found.splitlines())  # type: ignore[misc]

    def left(self) -> set[str]:
        """What there is of this stack beside the folder that it was copied to."""
        found = set(self.alive())
        for kind in ("images", "networks", "volumes"):
            for each in self._engine_has(kind):
                found.add(f"{kind} {getattr(each, 'tags', None) or each.name}")
        return found | {f"file {path.relative_to(self.home)}" for path in self.home.rglob("*") if path.is_file()}

    def _engine_has(self, kind: str, **which: Any) -> list[Any]:
        if self.target != "docker":
            return []
        import docker

        if kind == "containers":
            which["ignore_removed"] = True  # others come and go meanwhile
        each = getattr(docker.from_env(), kind).list(**which)
        return [one for one in each if self.name in " ".join(getattr(one, "tags", None) or [getattr(one, "name", "")])]

    # --- for a person ---

    def save_artifacts(self) -> None:
        """What shows why a test failed, below `tests/artifacts/`."""
        for words in (["status", "--json"], ["logs", "-n", "200"], ["plan"]):
            ended = subprocess.run(
                [*COMMAND, *words],
                cwd=self.folder,
                env=_environment() | self.variables,
                capture_output=True,
                text=True,
                timeout=60,
            )
            self._keep(f"{words[0]}.txt", ended.stdout + ended.stderr)
        shutil.copytree(self._kept, ARTIFACTS / f"{self.kind}-{self.target}-{self.name}", dirs_exist_ok=True)

    @property
    def _kept(self) -> Path:
        return self.folder.parent / f"{self.folder.name}-artifacts"

    def _keep(self, name: str, text: str) -> None:
        self._kept.mkdir(exist_ok=True)
        with (self._kept / name).open("a") as file:
            file.write(text + "\n")


def _environment() -> dict[str, str]:
    """No variable of this one's decides what is tested."""
    return {name: value for name, value in os.environ.items() if name not in ("SECRET_KEY", "RELEASE_NOTE", "DEBUG")}


@contextlib.contextmanager
def brought_up(kind: str, target: str, folder: Path) -> Iterator[Example]:
    """A copy of the example, up; nothing of it stays afterwards."""
    example = Example(kind, target, folder)
    try:
        try:
            example.up()
        except AssertionError:
            example.save_artifacts()
            raise
        yield example
    finally:
        example.remove()
