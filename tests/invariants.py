"""What holds of a stack after any test, whatever was done to it, seen from outside; all that doesn't is told at once.

    before = Invariants(example)    # what is in the logs by now is not this test's
    ...                             # releases, faults, kills
    before.hold()                   # or before.hold_down() once it was taken down

Each line of a failure begins with the letter of what is broken:

(a) there is exactly what the spec wants: no orphan, no temporary file, no lock that is held;
(b) the nginx files on disk are accepted, and a fresh nginx started from them serves;
(c) the generation that the live nginx tells is the one on disk, and its files are what was written;
(d) no log that was written since has an `[emerg]`, an `[alert]` or a traceback;
(e) another `up` changes nothing: no process, no file, nothing on an Engine;
(f) no secret is in a file that others may read, in what a command said, or in what an Engine tells.
"""

from __future__ import annotations

import fcntl
import gc
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import invariants_docker
import invariants_process
import yaml
from stacks import Example

from deploykit import converge
from deploykit.plan import Observed
from deploykit.runtimes import Stack

WRONG = re.compile(r"\[emerg\]|\[alert\]|^Traceback \(most recent call last\)|^\w+-\d+ \| Traceback", re.MULTILINE)
OURS_BESIDE_HOMES = {".gitignore"}


@dataclass(frozen=True)
class Allowed:
    """A line of a log that is no defect here, because a fault was injected that makes it."""

    pattern: str
    reason: str


class Invariants:
    """The checks on one example; made where a test begins."""

    def __init__(self, example: Example) -> None:
        self.example = example
        self.stack = Stack(example.name, example.folder)
        self._began = time.time()
        self._logs = {path: path.stat().st_size for path in self._log_files()}
        self._said = len(example.said())

    @property
    def _on_docker(self) -> bool:
        return self.example.target == "docker"

    def hold(self, allow: Iterable[Allowed] = (), *, again: bool = True, asked: bool = True) -> None:
        """Asserts all of them on a stack that is up.

        `again` says whether another `up` is tried; without, it is only asked what it would do. Not even that where it
        is not `asked`, as after a rollback, when the spec wants something else.
        """
        broken = [*self.present(), *self.bootable(), *self.generations()]
        if asked and not broken:
            broken += self.unchanged() if again else self.planned()
        broken += [*self.logs(allow), *self.secrets()]
        assert not broken, self._told(broken)

    def hold_down(self, allow: Iterable[Allowed] = ()) -> None:
        """Asserts those that are left of a stack that was taken down: nothing is there but its data and its lock."""
        broken = [*self.absent(), *self.logs(allow), *self.secrets()]
        assert not broken, self._told(broken)

    def _told(self, broken: list[str]) -> str:
        return f"{len(broken)} invariants of {self.example.name} are broken:\n  " + "\n  ".join(broken)

    # --- (a) ---

    def wanted(self) -> Mapping[str, int]:
        """App to how many instances the spec asks for."""
        apps = self._spec()["apps"]
        counts = {name: app.get("instances", 1) for name, app in apps.items()}
        return {name: count if isinstance(count, int) else len(count) for name, count in counts.items()}

    def present(self) -> Iterator[str]:
        """What is there and should not be, or is not there and should."""
        told = self._session().runtime.observe()
        # What it asks from goes with the session, whose parts know each other: only the collector sees its end.
        gc.collect()
        live, wanted = dict(told.live), self.wanted()
        known = {(app, release.id) for app, releases in told.complete.items() for release in releases}
        if set(live) != set(wanted):
            yield f"(a) live releases of {sorted(live)}, and the spec has {sorted(wanted)}"
            return
        members = sorted((each.app, each.slot, each.release) for each in told.members)
        expected = sorted((app, slot, live[app]) for app, count in wanted.items() for slot in range(1, count + 1))
        if members != expected:
            yield f"(a) status tells the instances {members}, not {expected}"
        for each in told.members:
            if each.state != "running" or not each.healthy:
                yield f"(a) {each.app}-{each.slot} is {each.state}, healthy: {each.healthy}"
        if told.orphans or told.incomplete:
            yield f"(a) status tells what was left behind: {told.orphans} {told.incomplete}"
        yield from self._our_files()
        target = invariants_docker if self._on_docker else invariants_process
        yield from (f"(a) {text}" for text in target.wrong(self.example, self.stack, wanted, live, known))

    def absent(self) -> Iterator[str]:
        """What is there of a stack that was taken down."""
        yield from self._our_files(up=False)
        target = invariants_docker if self._on_docker else invariants_process
        yield from (f"(a) {text}" for text in target.left(self.example, self.stack))

    def _our_files(self, up: bool = True) -> Iterator[str]:
        """What lies in `.deploykit/` for any target: the record, the key, the lock."""
        home = self.example.home
        for path in home.parent.iterdir() if home.parent.is_dir() else ():
            if path != home and path.name not in OURS_BESIDE_HOMES:
                yield f"(a) .deploykit/{path.name} is no stack's"
        if home.is_dir():
            yield from (f"(a) {text}" for text in temporary(home))
        record = home / "state.json"
        if up and not (record.is_file() and json.loads(record.read_text())["target"] == self.example.target):
            yield "(a) state.json does not tell the target"
        if not up and record.exists():
            yield "(a) state.json is still there"
        if (home / "lock").exists():
            with (home / "lock").open() as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    yield "(a) somebody holds the lock"

    # --- (b), (c) ---

    def bootable(self) -> Iterator[str]:
        """Why the nginx files on disk would not start."""
        target = invariants_docker if self._on_docker else invariants_process
        yield from (f"(b) {text}" for text in target.not_bootable(self.example, self.stack))

    def generations(self) -> Iterator[str]:
        """Where disk, record and the live nginx differ."""
        target = invariants_docker if self._on_docker else invariants_process
        current, manifest, digests, live = target.generations(self.example, self.stack)
        if not current or len({current, manifest.get("generation", current), live}) != 1:
            yield f"(c) `current` names {current!r}, its record {manifest.get('generation')!r}, nginx tells {live!r}"
        if manifest["files"] != digests:
            differing = sorted(set(manifest["files"].items()) ^ set(digests.items()))
            yield f"(c) files of the generation are not what was written: {differing}"

    # --- (d) ---

    def logs(self, allow: Iterable[Allowed] = ()) -> Iterator[str]:
        """Lines that no log should have."""
        allowed = [re.compile(each.pattern) for each in allow]
        texts = {f"logs/{path.name}": self._since(path) for path in self._log_files()}
        texts["what deploykit said"] = self.example.said()[self._said :]
        if self._on_docker:
            texts |= invariants_docker.logs(self.stack, self._began)
        for name, text in texts.items():
            lines = text.splitlines()
            for number, line in enumerate(lines):
                if WRONG.search(line) and not any(pattern.search(line) for pattern in allowed):
                    yield f"(d) {name}: " + " / ".join(lines[number : number + 25])

    def _log_files(self) -> list[Path]:
        return sorted((self.example.home / "logs").glob("*.log"))

    def _since(self, path: Path) -> str:
        content = path.read_bytes()
        start = self._logs.get(path, 0)
        # A shorter one was begun anew since.
        return content[start if len(content) >= start else 0 :].decode(errors="replace")

    # --- (e) ---

    def planned(self) -> Iterator[str]:
        """What another `up` would change."""
        steps = self._session().changes()[0].steps
        if steps:
            yield f"(e) the next `up` would change something: {steps}"

    def unchanged(self) -> Iterator[str]:
        """What another `up` changed."""
        alive, written, began = self.example.alive(), self.example.written(), time.time()
        outcome = self.example.up()
        if outcome["changed"] or outcome["steps"]:
            yield f"(e) the next `up` changed something: {outcome['steps']}"
        for what, before, after in (("runs", alive, self.example.alive()), ("lies", written, self.example.written())):
            differing = sorted({name for name, _ in before.items() ^ after.items()})
            if differing:
                yield f"(e) after the next `up`, other things {what} there: {differing}"
        if self._on_docker:
            yield from (f"(e) {text}" for text in invariants_docker.changing_events(self.stack, began))

    # --- (f) ---

    def canaries(self) -> Iterator[bytes]:
        """The values of the spec's secrets that come from files."""
        for app in self._spec()["apps"].values():
            for source in app.get("secrets", {}).values():
                if "file" in source:
                    yield (self.example.folder / source["file"]).read_bytes().strip()

    def secrets(self) -> Iterator[str]:
        """Where a secret can be read by others."""
        for canary in self.canaries():
            for path in sorted(self.example.home.rglob("*")):
                # Not followed: nothing of a virtual environment's base is ours.
                open_to_others = path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o077
                if open_to_others and canary in path.read_bytes():
                    yield f"(f) a secret is in {path.relative_to(self.example.home)}, mode {path.stat().st_mode:o}"
            if canary.decode() in self.example.said():
                yield "(f) a command said a secret"
            if self._on_docker:
                yield from (f"(f) a secret is in {text}" for text in invariants_docker.telling(self.stack, canary))

    def seen(self) -> Observed:
        """deploykit's own look at it, without asking any instance."""
        return self._session().runtime.observe(False)

    def _session(self) -> converge.Session:
        """deploykit's own look at it, for what `status`, `releases` and `plan` would print."""
        return converge.open_stack(self.example.folder / "deploykit.yaml", self.example.target, lambda _: None)

    def _spec(self) -> dict[str, Any]:
        return dict(yaml.safe_load((self.example.folder / "deploykit.yaml").read_text()))


def temporary(home: Path) -> Iterator[str]:
    """Temporary files of deploykit's own that are left; what is in an app's code, data or environment is not ours."""
    for path in home.rglob("*"):
        parts = path.relative_to(home).parts
        inside = parts[0] in ("venvs", "volumes") and len(parts) > 3
        inside = inside or (parts[0] == "releases" and len(parts) > 4 and parts[3] == "code")
        if path.name.startswith(".") and path.name.endswith(".part") and not inside:
            yield f"a temporary file: {'/'.join(parts)}"
