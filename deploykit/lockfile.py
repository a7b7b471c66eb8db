"""`deploykit.lock`: the facts of each environment's target that the planner needs, so that a tree is the same anywhere.

What is written is text that diffs well; what is read is exactly what was written, or it is refused with its line.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast, get_args

from deploykit import disk
from deploykit.errors import Place, Problem, SpecError
from deploykit.plan import Facts, NginxBuild, TargetName
from deploykit.spec.load import read_text, shown_path
from deploykit.spec.model import Spec
from deploykit.spec.reading import Items, Keys, Mark, Node, Scalar, read
from deploykit.spec.words import printable

FORMAT = 1
END = "..."
"""YAML's mark of the end of a document: a file that was cut lacks it."""
HEAD = """\
# What deploykit has to know of the place where each environment runs, so that `render` gives the same bytes on any
# machine. Written by `deploykit lock`, not by hand; commit it. `deploykit lock --check` compares it with what is there.
"""
ANEW = "`deploykit lock --all` writes it anew"
MIB = 1 << 20
LEAST_MEMORY_DIFFERENCE = 0.02
"""Below that share, memory counts as the same: what a kernel keeps for itself differs from version to version."""


@dataclass(frozen=True)
class Locked:
    """What is written down of one environment."""

    target: TargetName
    facts: Facts
    place: Place | None = None
    """Where it stands; None where it does not yet."""


@dataclass(frozen=True)
class LockFile:
    """A lock file as it was read."""

    file: str
    """The path as messages say it."""
    environments: Mapping[str, Locked]


def beside(spec_path: Path) -> Path:
    """Where the lock file of a spec is: `deploykit.lock` beside `deploykit.yaml`."""
    return spec_path.with_suffix(".lock")


# --- written ------------------------------------------------------------------------------------------------------


def write(path: Path, name: str, environments: Mapping[str, Locked]) -> bool:
    """The file holds these environments of that stack; whether it had to be changed for it."""
    wanted = text(name, environments)
    with disk.explained(f"can't read {path}"):
        if path.is_file() and path.read_bytes() == wanted.encode():
            return False
    # A link stays one.
    disk.write(Path(os.path.realpath(path)), wanted)
    return True


def text(name: str, environments: Mapping[str, Locked]) -> str:
    """The file that says this; the same for the same facts, whatever the order in which they are given."""
    lines = [f"format: {FORMAT}", f"name: {name}", "environments:"]
    for environment, locked in sorted(environments.items()):
        lines += [f"  {environment}:", *_lines(_data(locked), "    ")]
        lines.append(f"    digest: {_digest(name, environment, _data(locked))}")
    return HEAD + "\n".join([*lines, END]) + "\n"


def _data(locked: Locked) -> dict[str, object]:
    """What is written of one environment, in the order of the file; also what its digest is of."""
    facts = locked.facts
    return {
        "target": locked.target,
        "cpus": facts.cpus,
        "memory_mib": facts.memory_bytes // MIB,
        "as_root": facts.user == "root",
        "nginx": {
            "version": facts.nginx.version_text,
            "modules": sorted(facts.nginx.modules),
            **({"loadable": list(facts.nginx.loadable)} if facts.nginx.loadable else {}),
        },
        "pythons": dict(sorted(facts.pythons.items())),
        **({"ports": {app: list(ports) for app, ports in sorted(facts.ports.items())}} if facts.ports else {}),
        **({"images": dict(sorted(facts.images.items()))} if facts.images else {}),
    }


def _lines(data: Mapping[str, object], indent: str) -> list[str]:
    lines: list[str] = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            lines += [f"{indent}{key}:", *_lines(value, f"{indent}  ")]
        elif isinstance(value, list) and value and isinstance(value[0], str):
            lines += [f"{indent}{key}:", *(f"{indent}  - {_word(one)}" for one in value)]
        else:
            lines.append(f"{indent}{key}: {_word(value)}")
    return lines


def _word(value: object) -> str:
    """A value as YAML, without quotes where it is read as itself: a version, a path, the name of an image, a digest."""
    is_plain = isinstance(value, str) and re.fullmatch(r"[0-9a-zA-Z/][\w./@:+-]*[\w.+-]", value, re.ASCII)
    return str(value) if is_plain else json.dumps(value)


def _digest(name: str, environment: str, data: Mapping[str, object]) -> str:
    """Tells that nobody changed it by hand; what no target has would be rendered, and nobody would have seen it."""
    return "sha256:" + hashlib.sha256(json.dumps([name, environment, data], sort_keys=True).encode()).hexdigest()[:32]


# --- read ---------------------------------------------------------------------------------------------------------


def read_beside(spec_path: Path, name: str) -> LockFile | None:
    """The lock file beside a spec of that name; None where there is none.

    Raises:
        SpecError: it is not what `deploykit lock` wrote of this stack, with the line: cut, edited, of another stack or
            of a newer deploykit.
    """
    path = beside(spec_path)
    if not os.path.lexists(path):
        return None
    file = shown_path(path)
    return LockFile(file, _Reading(file, read_text(path, file)).environments(name))


class _Reading:
    """One lock file, from its text to facts."""

    def __init__(self, file: str, written: str) -> None:
        self.file, self.written = file, written
        self.is_whole = written.endswith(f"\n{END}\n")

    def environments(self, name: str) -> dict[str, Locked]:
        root = self._root()
        number = self._scalar(root, "format", root.mark)
        if number.text != str(FORMAT):
            if number.text.isdecimal() and int(number.text[:9]) > FORMAT:
                message = f"has the format {number.text[:9]}; this deploykit reads {FORMAT}"
                raise self._problem(number.mark, message, "a newer deploykit may read it")
            raise self._problem(number.mark, "is not what `deploykit lock` writes", ANEW)
        if not self.is_whole:
            self._cut()
        for key, (mark, _) in root.entries.items():
            if key not in ("format", "name", "environments"):
                raise self._problem(mark, f"is not what `deploykit lock` writes: `{printable(key[:50])}`", ANEW)
        owner = self._scalar(root, "name", root.mark)
        if owner.text != name:
            message = f"is of the stack `{printable(owner.text[:50])}`, and the spec is `{name}`"
            raise self._problem(owner.mark, message, ANEW)
        found = {}
        entries = self._keys(root, "environments", root.mark)
        for environment, (mark, node) in entries.entries.items():
            found[environment] = self._locked(name, environment, mark, node)
        return found

    def _root(self) -> Keys:
        try:
            root, problems = read(self.written, self.file)
        except SpecError as error:
            if not self.is_whole:
                self._cut()
            first = error.problems[0]
            place = first.place or Place(self.file, 1)
            said = f"is not what `deploykit lock` writes: {first.message}"
            raise SpecError(Problem("", said, ANEW, place)) from None
        if problems:
            place = problems[0].place or Place(self.file, 1)
            raise self._problem(Mark(place.line or 1, place.column or 1), problems[0].message, ANEW)
        return root

    def _locked(self, name: str, environment: str, mark: Mark, node: Node) -> Locked:
        if not isinstance(node, Keys):
            raise self._problem(mark, f"`{printable(environment)}` should be a mapping", ANEW)
        target = self._scalar(node, "target", mark)
        if target.text not in get_args(TargetName):
            message = f"has the target `{printable(target.text[:50])}`, which this deploykit does not know"
            raise self._problem(target.mark, message, "a newer deploykit may know it")
        images = self._table(node, "images", mark) if "images" in node.entries else {}
        ports = self._keys(node, "ports", mark) if "ports" in node.entries else Keys(mark)
        nginx = self._keys(node, "nginx", mark)
        facts = Facts(
            nginx=NginxBuild(
                self._version(nginx, mark),
                frozenset(self._list(nginx, "modules", mark)),
                loadable=tuple(self._list(nginx, "loadable", mark) if "loadable" in nginx.entries else ()),
            ),
            pythons=self._table(node, "pythons", mark),
            cpus=self._number(node, "cpus", mark),
            memory_bytes=self._number(node, "memory_mib", mark) * MIB,
            user="root" if self._scalar(node, "as_root", mark).value is True else "deploykit",
            ports={app: self._ports(ports, app, mark) for app in ports.entries},
            images=images,
        )
        locked = Locked(cast(TargetName, target.text), facts, Place(self.file, mark.line, mark.column))
        digest = self._scalar(node, "digest", mark)
        if digest.text != _digest(name, environment, _data(locked)) or _texts(node) != _texts(self._again(locked)):
            message = f"`{printable(environment)}` was changed by hand: its digest is not that of what is there"
            raise self._problem(digest.mark, message, ANEW)
        return locked

    def _again(self, locked: Locked) -> Keys:
        """What would be written of it."""
        return read("\n".join([*_lines(_data(locked), ""), "digest: x"]), self.file)[0]

    def _version(self, nginx: Keys, mark: Mark) -> tuple[int, int, int]:
        version = self._scalar(nginx, "version", mark)
        match = re.fullmatch(r"([0-9]{1,4})\.([0-9]{1,4})\.([0-9]{1,4})", version.text, re.ASCII)
        if match is None:
            raise self._problem(version.mark, "should be a version of nginx, such as `1.22.1`", ANEW)
        return int(match[1]), int(match[2]), int(match[3])

    def _number(self, keys: Keys, key: str, mark: Mark) -> int:
        scalar = self._scalar(keys, key, mark)
        if not re.fullmatch("[1-9][0-9]{0,11}", scalar.text, re.ASCII):
            raise self._problem(scalar.mark, f"`{key}` should be a number", ANEW)
        return int(scalar.text)

    def _table(self, keys: Keys, key: str, mark: Mark) -> dict[str, str]:
        table = self._keys(keys, key, mark)
        return {name: self._scalar(table, name, mark).text for name in table.entries}

    def _list(self, keys: Keys, key: str, mark: Mark) -> list[str]:
        node = keys.entries.get(key, (mark, None))[1]
        if not isinstance(node, Items):
            raise self._problem(keys.entries.get(key, (mark, None))[0], f"`{key}` should be a list", ANEW)
        wrong = next((one for one in node.nodes if not isinstance(one, Scalar)), None)
        if wrong is not None:
            raise self._problem(wrong.mark, f"`{key}` should be a list of words", ANEW)
        return [one.text for one in node.nodes if isinstance(one, Scalar)]

    def _ports(self, keys: Keys, app: str, mark: Mark) -> tuple[int, ...]:
        texts = self._list(keys, app, mark)
        if not all(re.fullmatch("[1-9][0-9]{0,4}", one, re.ASCII) for one in texts):
            raise self._problem(keys.entries[app][0], f"`{app}` should be a list of ports", ANEW)
        return tuple(map(int, texts))

    def _keys(self, keys: Keys, key: str, mark: Mark) -> Keys:
        at, node = keys.entries.get(key, (mark, None))
        if not isinstance(node, Keys):
            raise self._problem(at, f"`{key}` is missing" if node is None else f"`{key}` should be a mapping", ANEW)
        return node

    def _scalar(self, keys: Keys, key: str, mark: Mark) -> Scalar:
        at, node = keys.entries.get(key, (mark, None))
        if not isinstance(node, Scalar):
            what = f"`{printable(key)}` is missing" if node is None else f"`{printable(key)}` should be one value"
            raise self._problem(at, f"is not what `deploykit lock` writes: {what}", ANEW)
        return node

    def _cut(self) -> NoReturn:
        line = self.written.rstrip("\n").count("\n") + 1
        message = f"is not whole: its last line should be `{END}`"
        raise SpecError(Problem("", message, f"restore it from git, or {ANEW}", Place(self.file, line)))

    def _problem(self, mark: Mark, message: str, hint: str) -> SpecError:
        return SpecError(Problem("", message, hint, Place(self.file, mark.line, mark.column)))


def _texts(node: Node) -> object:
    """A tree without its places and without its digest."""
    if isinstance(node, Keys):
        return {key: _texts(child) for key, (_, child) in node.entries.items() if key != "digest"}
    return [_texts(child) for child in node.nodes] if isinstance(node, Items) else node.text


# --- held against a spec and against a target ---------------------------------------------------------------------


def gaps(locked: Locked, spec: Spec, target: str) -> list[str]:
    """Why that can't be rendered from; none where it can."""
    if locked.target != target:
        return [f"it is of the target {locked.target}"]
    facts, found = locked.facts, []
    for name, app in spec.apps.items():
        version = facts.pythons.get(name)
        if version is None or (facts.images and name not in facts.images):
            found.append(f"it does not know the app {name}")
            continue
        if app.python and not f"{version}.".startswith(f"{app.python}."):
            found.append(f"{name} asks for Python {app.python}, and it has {version}")
        is_tcp = target == "process" and app.app_server.socket == "tcp"
        if is_tcp and len(facts.ports.get(name, ())) < len(app.instances):
            found.append(f"it has too few ports for {name}")
        if spec.images.python and target == "docker" and not _is_same_image(facts.images[name], spec.images.python):
            found.append(f"{name} asks for the image {spec.images.python}, and it has {facts.images[name]}")
    if (
        target == "docker"
        and spec.images.nginx
        and not _is_same_image(facts.images.get("nginx", ""), spec.images.nginx)
    ):
        found.append(f"nginx asks for the image {spec.images.nginx}, and it has {facts.images.get('nginx', 'none')}")
    return found


def _is_same_image(locked: str, wanted: str) -> bool:
    return locked == wanted or locked.startswith(f"{wanted}@")


def facts_for(locked: Locked, spec: Spec) -> Facts:
    """The facts, of the spec's own apps only: others leave no trace in what is rendered."""
    facts = locked.facts
    ports = {
        name: facts.ports[name][: len(app.instances)]
        if name in facts.ports
        else tuple(range(8101, 8101 + len(app.instances)))
        for name, app in spec.apps.items()
    }
    return Facts(
        nginx=facts.nginx,
        pythons={name: facts.pythons[name] for name in spec.apps},
        cpus=facts.cpus,
        memory_bytes=facts.memory_bytes,
        user=facts.user,
        ports=ports,
        images={name: image for name, image in facts.images.items() if name == "nginx" or name in spec.apps},
    )


def differences(locked: Locked, live: Facts, file: str, again: str) -> list[str]:
    """What the live target has otherwise, line by line; `again` is the command that writes it down."""
    says, found = locked.facts, []

    def differ(what: str, there: object, written: object) -> None:
        if there != written:
            found.append(f"{what.format(there)}, {file} says {written}; `{again}` writes it down")

    differ("nginx {} runs", live.nginx.version_text, says.nginx.version_text)
    for verb, modules in (
        ("has", live.nginx.modules - says.nginx.modules),
        ("lacks", says.nginx.modules - live.nginx.modules),
        ("can load", {*live.nginx.loadable} - {*says.nginx.loadable}),
        ("can't load", {*says.nginx.loadable} - {*live.nginx.loadable}),
    ):
        if modules:
            found.append(f"nginx {verb} {', '.join(sorted(modules))}, {file} says otherwise; `{again}` writes it down")
    for name, version in sorted(live.pythons.items()):
        differ(f"Python {{}} runs {name}", version, says.pythons.get(name, "nothing of it"))
    for name, image in sorted(live.images.items()):
        differ(f"{name} is made of the image {{}}", image, says.images.get(name, "nothing of it"))
    differ("there are {} CPUs", live.cpus, says.cpus)
    if abs(live.memory_bytes - says.memory_bytes) > LEAST_MEMORY_DIFFERENCE * says.memory_bytes:
        differ("there are {} MiB of memory", live.memory_bytes // MIB, says.memory_bytes // MIB)
    differ("it runs as {}", "root" if live.user == "root" else "a user", "root" if says.user == "root" else "a user")
    return found
