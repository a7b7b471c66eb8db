"""One environment's spec from the tree of a file: mappings merge, lists and scalars are replaced, null removes.

Works on the tree, before the model, so that each key and value keeps the place where it was written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from deploykit.errors import Problem, SpecError
from deploykit.spec.reading import Items, Keys, Mark, Node, Scalar
from deploykit.spec.shape import below, keys_at, short_key
from deploykit.spec.words import SpecPath, did_you_mean, listed, path_words, shown

T = TypeVar("T")

KEY = "environments"
LOCAL = "local"
"""The environment that is always there and needs no name."""
MOST_ENVIRONMENTS = 16
THE_SAME = ("version", "name", "requires", KEY)
"""Keys at the top that hold for all environments."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


@dataclass(frozen=True)
class Environments:
    """The tree without its environments, and what each of them changes."""

    base: Keys
    changes: Mapping[str, Keys] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """All that can be chosen, `local` first."""
        return tuple(dict.fromkeys((LOCAL, *self.changes)))

    def merged(self, name: str) -> tuple[Keys, list[Problem]]:
        """The tree of that environment, and what is wrong with how it changes the others' values, without places."""
        problems: list[Problem] = []
        changes = self.changes.get(name)
        if changes is None:
            return self.base, problems
        allowed = {key: entry for key, entry in changes.entries.items() if key not in THE_SAME}
        merged = _merge(self.base, Keys(changes.mark, allowed), (), (KEY, name), problems)
        return merged, problems


def split(root: Keys) -> tuple[Environments, list[Problem]]:
    """The environments of a file, and what is wrong with how they are named and written, without places."""
    problems: list[Problem] = []
    entries = dict(root.entries)
    node = entries.pop(KEY, (root.mark, None))[1]
    base = Keys(root.mark, entries)
    if node is None or (isinstance(node, Scalar) and node.refused):
        return Environments(base), problems
    if not isinstance(node, Keys):
        problems.append(_no_mapping((KEY,), node, "write a name and what differs there, or remove the key"))
        return Environments(base), problems
    if len(node.entries) > MOST_ENVIRONMENTS:
        problems.append(Problem(KEY, f"should have at most {MOST_ENVIRONMENTS} environments, not {len(node.entries)}"))
        return Environments(base), problems
    changes: dict[str, Keys] = {}
    for name, (_, child) in node.entries.items():
        at: SpecPath = (KEY, name)
        if not _NAME.fullmatch(name):
            rule = "should be small letters, digits and `-`, begin with a letter and have at most 40 characters"
            problems.append(Problem(path_words(at), f"the name {rule}"))
        elif isinstance(child, Scalar) and child.refused:
            continue
        elif not isinstance(child, Keys):
            problems.append(_no_mapping(at, child, "`{}` is an environment that changes nothing"))
        else:
            changes[name] = child
            for key in child.entries:
                if key in THE_SAME:
                    hint = "environments stand side by side" if key == KEY else "write it once, at the top"
                    problems.append(Problem(path_words((*at, key)), "is the same in all environments", hint))
    return Environments(base, changes), problems


def in_each(names: Iterable[str], read: Callable[[str], T]) -> dict[str, T]:
    """What `read` makes of each environment.

    Raises:
        SpecError: what is wrong in any of them, in line order; what is wrong in several for the same reason only once.
    """
    found: dict[str, T] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            found[name] = read(name)
        except SpecError as error:
            new = [problem for problem in error.problems if problem not in problems]
            problems += [_of_environment(problem, name) for problem in new]
    if problems:
        raise SpecError(*sorted(problems, key=_position))
    return found


def _of_environment(problem: Problem, name: str) -> Problem:
    """The problem, saying its environment where it stands on a line that others share."""
    if name == LOCAL or problem.place is None or problem.path.startswith(path_words((KEY,))):
        return problem
    return replace(problem, message=f"{problem.message} (in the environment `{name}`)")


def _position(problem: Problem) -> tuple[int, int]:
    place = problem.place
    return (place.line or 0, place.column or 0) if place is not None else (0, 0)


def _no_mapping(at: SpecPath, node: Node, hint: str) -> Problem:
    if isinstance(node, Scalar) and node.value is None:
        return Problem(path_words(at), "has no value", hint)
    kind = "a list" if isinstance(node, Items) else shown(node.text if isinstance(node, Scalar) else None)
    return Problem(path_words(at), f"should be a mapping, not {kind}", hint)


def _merge(base: Keys, changes: Keys, at: SpecPath, home: SpecPath, problems: list[Problem]) -> Keys:
    merged = dict(base.entries)
    for key, (mark, change) in changes.entries.items():
        here = (*at, key)
        old = merged.get(key)
        if isinstance(change, Scalar) and change.value is None and not change.refused:
            if old is None:
                problems.append(_nothing_to_remove(key, base, at, home))
            merged.pop(key, None)
            continue
        long = long_form(old[1], here) if old is not None and isinstance(change, Keys) else None
        if isinstance(change, Keys) and long is not None and old is not None:
            merged[key] = (old[0], _merge(long, change, here, home, problems))
        else:
            merged[key] = (mark, change)
    return Keys(base.mark, merged)


def long_form(node: Node, at: SpecPath) -> Keys | None:
    """The mapping that a value is or is short for; None where it is neither."""
    if isinstance(node, Keys):
        return node
    key = short_key(at)
    if key is None or not isinstance(node, Scalar) or not isinstance(node.value, str):
        return None
    return Keys(node.mark, {key: (node.mark, node)})


def _nothing_to_remove(key: str, base: Keys, at: SpecPath, home: SpecPath) -> Problem:
    hint = did_you_mean(key, base.entries)
    if not hint and key not in keys_at(at):
        hint = f"there is {listed(base.entries)}" if base.entries else ""
    return Problem(path_words((*home, *at, key)), "null removes a key, and this one is not set", hint)


def reached(node: Node, path: SpecPath) -> tuple[Mark, Node, int]:
    """As far as that path is written below a node: the place of its last key or item, its value, how many parts."""
    mark = node.mark
    for depth, part in enumerate(path):
        child = below(node, part)
        if child is None:
            return mark, node, depth
        mark = node.entries[str(part)][0] if isinstance(node, Keys) else child.mark
        node = child
    return mark, node, len(path)
