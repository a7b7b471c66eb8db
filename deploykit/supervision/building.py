"""Makes releases whole: a copy of the code, its volumes, its environment, its settings; and removes them again."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import stat
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploykit import disk, machine, releases, secrets, source
from deploykit.causes import likely_cause
from deploykit.errors import DeployFailed, EnvironmentLacks, Failure
from deploykit.plan import AppPlan, Release, RenderedFile
from deploykit.supervision import environments, journal, records
from deploykit.supervision.environments import Requirements
from deploykit.supervision.home import Home, clean_environment

END_SECONDS = 10.0
"""How long a command may take to end after TERM, when deploykit itself is told to."""


class Builder:
    """Builds the releases of one stack from the checkout in `folder`."""

    def __init__(self, home: Home, folder: Path, tell: Callable[[str], None]) -> None:
        self.home = home
        self.folder = folder
        self.tell = tell

    # --- one release ---

    def build(self, app: AppPlan, release: Release, files: Sequence[RenderedFile], values: Mapping[str, str]) -> str:
        """All of a release but what its commands make; begins anew where an earlier try was interrupted.

        Raises:
            DeployFailed: its requirements could not be installed.
            EnvironmentLacks: no disk space, no permission, no such Python.
        """
        home = self.home.release(app.name, release.id)
        self._refuse_damaged(app.name, release.id)
        disk.remove(home)
        self._copy_code(app, self.home.code(app.name, release.id))
        self._link_volumes(app, self.home.code(app.name, release.id))
        for file in files:
            name = file.path.removeprefix(f"apps/{app.name}/")
            disk.write(home / "config" / name, file.text, file.mode)
        disk.write(self.home.secrets(app.name, release.id), secrets.encode(values), 0o600)
        said = self._environment(app, release)
        if not app.release_commands:
            self.complete(app, release)
        return said

    def run_commands(self, app: AppPlan, release: Release) -> str:
        """Each release command has run well, and the release is complete.

        Raises:
            DeployFailed: a command ended with another exit code than 0; with its last lines.
        """
        log = self.home.log(f"release-{app.name}")
        disk.write(log, "", 0o600)
        for words in app.release_commands:
            text = shlex.join(words)
            self.tell(f"{app.name}: {text}")
            start = journal.size(log)
            with journal.recorded(log) as output:
                os.write(output, f"$ {text}\n".encode("utf-8", "replace"))
                code = self.run(app.name, release.id, words, stdin=subprocess.DEVNULL, output=output)
            if code != 0:
                lines = journal.lines_since(log, start, 20)
                how = f"exit code {code}" if code >= 0 else f"signal {-code}"
                raise DeployFailed(
                    Failure(
                        f"the release command `{text}` of {app.name} failed with {how}",
                        log_name=str(log),
                        log_lines=lines,
                        cause=likely_cause(lines),
                    )
                )
        self.complete(app, release)
        count = len(app.release_commands)
        return " · ".join(shlex.join(words) for words in app.release_commands) if count else "nothing to run"

    def complete(self, app: AppPlan, release: Release) -> None:
        """The release is whole: the last thing that is written of it."""
        environment = disk.read_link(self.home.release(app.name, release.id) / "environment")
        records.write_release(self.home, records.release_record(app, release, environment.rpartition("/")[2]))

    def written_by_app(self, app: str, release: str) -> list[str]:
        """What was written among a release's code since it was whole: data that no other release has."""
        whole = self.home.release(app, release) / "release.json"
        code = self.home.code(app, release)
        found = []
        with contextlib.suppress(OSError):
            done = whole.stat().st_ctime_ns
            for at, folders, names in os.walk(code):
                folders[:] = [name for name in folders if name != "__pycache__"]
                paths = [Path(at, name) for name in names]
                found += [path.relative_to(code).as_posix() for path in paths if path.lstat().st_ctime_ns > done]
        return sorted(found)

    def run(
        self, app: str, release: str, words: Sequence[str], *, stdin: int | None = None, output: int | None = None
    ) -> int:
        """The exit code of a one-off in the release's environment, negative for a signal; connected as this process is.

        Raises:
            EnvironmentLacks: its Python can't be run.
        """
        command = [str(self.python(app, release)), "../config/launch.py", "run", "--", *words]
        variables = {**clean_environment(self.home), "DEPLOYKIT_SECRETS": "../secrets"}
        if output is None:
            variables.update({name: os.environ[name] for name in ("TERM", "COLORTERM") if name in os.environ})
        try:
            running = subprocess.Popen(
                command,
                cwd=self.home.code(app, release),
                env=variables,
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT if output is not None else None,
            )
        except OSError as error:
            raise EnvironmentLacks(f"can't run {command[0]}: {error.strerror}") from error
        try:
            return running.wait()
        except BaseException:
            # It ends as whoever waits for it is ended: a migration may have something to bring in order.
            running.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(END_SECONDS)
            running.kill()
            running.wait()
            raise

    def export(self, app: str, release: str, into: Path) -> None:
        """The release's code, its links to volumes as they are, and its requirements as pip freezes them.

        Raises:
            EnvironmentLacks: its environment can't tell what it has.
        """
        shutil.copytree(self.home.code(app, release), into / "code", symlinks=True, ignore=_NO_CACHES)
        words = [str(self.python(app, release)), "-m", "pip", "freeze", "--disable-pip-version-check"]
        variables = clean_environment(self.home)
        frozen = subprocess.run(words, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if frozen.returncode != 0:
            lines = tuple(frozen.stderr.splitlines()[-20:])
            raise EnvironmentLacks(Failure("pip can't say what it installed", log_name="pip freeze", log_lines=lines))
        disk.write(into / "requirements.txt", frozen.stdout)

    def python(self, app: str, release: str) -> Path:
        """The interpreter of a release's environment."""
        name = disk.read_link(self.home.release(app, release) / "environment").rpartition("/")[2]
        return environments.environment_python(self.home.environments / name)

    def _refuse_damaged(self, app: str, release: str) -> None:
        if disk.read_link(self.home.current(app)) == release and records.is_damaged(self.home, app, release):
            path = records.release_file(self.home, app, release)
            raise EnvironmentLacks(
                f"{path} can't be read as what deploykit wrote there, and {app} runs from the files beside it",
                hint=f"deploykit down and deploykit up make all anew; any change of {app} makes a release beside it",
            )

    # --- its parts ---

    def _copy_code(self, app: AppPlan, code: Path) -> None:
        top = self.folder / app.source
        with disk.explained(f"can't copy the code of {app.name}"):
            code.mkdir(parents=True)
            for name in releases.source_files(app, self.folder):
                _copy(top / name, code / name)

    def _link_volumes(self, app: AppPlan, code: Path) -> None:
        for volume, path in app.volumes.items():
            place = self.home.volumes / app.name / volume
            if not place.is_dir():
                self._first_content(app, path, place)
            link = code / path
            up = "../" * (4 + len(Path(path).parts) - 1)
            with disk.explained(f"can't link the volume {volume}"):
                link.parent.mkdir(parents=True, exist_ok=True)
            disk.link(link, f"{up}volumes/{app.name}/{volume}")

    def _first_content(self, app: AppPlan, path: str, place: Path) -> None:
        """A volume starts with what the project has in that folder, once; what git ignores is not the project's."""
        part = disk.temporary(place)
        disk.remove(part)
        top = self.folder / app.source
        inside = path.strip("/") + "/"
        with disk.explained(f"can't make the volume {place}"):
            part.mkdir(parents=True)
            for name in source.listing(top):
                if name.startswith(inside):
                    _copy(top / name, part / name.removeprefix(inside))
            part.rename(place)

    def _environment(self, app: AppPlan, release: Release) -> str:
        interpreter = machine.find_python(app.python)
        wanted = Requirements(self._requirements_file(app, release), app.server_requirement)
        with disk.explained(f"can't read the requirements of {app.name}"):
            name = wanted.digest(interpreter, release.parts.get("code", ""))
        environment = self.home.environments / name
        known = environments.is_whole(environment)
        if not known:
            self.tell(f"{app.name}: installing requirements with Python {interpreter.version}")
            log = self.home.log(f"build-{app.name}")
            environments.make(environment, interpreter, wanted, log, self.home.stack_id)
        disk.link(self.home.release(app.name, release.id) / "environment", f"../../../venvs/{name}")
        return "virtual environment reused (requirements unchanged)" if known else "virtual environment made"

    def _requirements_file(self, app: AppPlan, release: Release) -> Path | None:
        """That of the release, so that paths in it are the release's; the checkout's where it names files outside."""
        if not app.requirements:
            return None
        top = (self.folder / app.source).resolve()
        code = self.home.code(app.name, release.id)
        for path in environments.with_included(top / app.requirements):
            if not path.is_relative_to(top) or not (code / path.relative_to(top)).is_file():
                return top / app.requirements
        return code / app.requirements

    # --- tidying ---

    def discard(self, app: str, release: str, *, dropped: bool) -> str:
        """The release is gone, with environments that none needs; one that serves stays unless its app is dropped."""
        if disk.read_link(self.home.current(app)) == release:
            if not dropped:
                return "kept: it serves"
            disk.remove(self.home.current(app))
        disk.remove(self.home.release(app, release))
        self.remove_unused(app if dropped else "")
        return "removed"

    def remove_unused(self, dropped: str) -> None:
        """No environment that no release names, no folder of a dropped app once it has no release."""
        used = records.environments_used(self.home)
        # An app that stays needs its folders, also where its only release was left half built and is discarded.
        known = dropped and any(True for _ in records.releases_of(self.home, dropped))
        if dropped and not known and not any(self.home.programs.glob(f"{dropped}-[0-9]*-*.conf")):
            disk.remove(self.home.releases(dropped))
            disk.remove(self.home.sockets / dropped)
        for environment in self._environments():
            if environment.name not in used:
                disk.remove(environment)

    def _environments(self) -> list[Path]:
        return sorted(self.home.environments.iterdir()) if self.home.environments.is_dir() else []

    def remove_half_built(self) -> None:
        """No release, volume or environment is there half made; whole environments stay for the next try."""
        for app in records.apps_with_releases(self.home):
            for name, record in list(records.releases_of(self.home, app)):
                if record is None and disk.read_link(self.home.current(app)) != name:
                    disk.remove(self.home.release(app, name))
        for environment in self._environments():
            if not environments.is_whole(environment):
                disk.remove(environment)


_NO_CACHES = shutil.ignore_patterns("__pycache__")


def _copy(original: Path, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    info = original.lstat()
    if stat.S_ISLNK(info.st_mode):
        copy.symlink_to(os.readlink(original))  # noqa: PTH115 -- as it stands there, a string
        return
    shutil.copyfile(original, copy)
    copy.chmod(0o755 if info.st_mode & 0o100 else 0o644)
