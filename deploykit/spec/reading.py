"""YAML text to a tree in which every key and value knows its line. The only module that imports yaml.

Reads YAML 1.2's core schema, whatever PyYAML would make of it: `yes`, `NO` and `22:22` are text, `010` is not eight.
Bounded before it builds: depth, nodes after aliases are followed, and lines; nothing here calls itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

from yaml.error import MarkedYAMLError
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceStartEvent,
)
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from deploykit.errors import Place, Problem, SpecError
from deploykit.spec.complaints import explain
from deploykit.spec.values import Number, control_character
from deploykit.spec.words import SpecPath, path_words, printable, shown

MOST_DEEP = 64
MOST_NODES = 20_000
MOST_LINES = 50_000
LONGEST_KEY = 255

# https://yaml.org/spec/1.2.2/#1032-tag-resolution
_NULL = {"", "~", "null", "Null", "NULL"}
_TRUE = {"true", "True", "TRUE"}
_FALSE = {"false", "False", "FALSE"}
_NUMBER = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+|0x[0-9a-fA-F]+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_OWN_TAG = {ScalarEvent: "str", SequenceStartEvent: "seq", MappingStartEvent: "map"}
"""The tag that changes nothing on a scalar, a list and a mapping."""


@dataclass(frozen=True)
class Mark:
    """A line and a column, both from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Scalar:
    """A single value: text, a `Number`, true, false or nothing; `text` is how it was written."""

    mark: Mark
    value: str | bool | None
    text: str
    refused: bool = False
    """Whether a problem was told of it already."""


@dataclass
class Items:
    """A list."""

    mark: Mark
    nodes: list[Node] = field(default_factory=list)


@dataclass
class Keys:
    """A mapping: each key to where it stands and what it holds, in the order of the file."""

    mark: Mark
    entries: dict[str, tuple[Mark, Node]] = field(default_factory=dict)


Node = Scalar | Items | Keys


class _Events(Reader, Scanner, Parser):
    """PyYAML's events; refuses depth in the scanner, which slows down with the square of it."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)

    def fetch_flow_collection_start(self, TokenClass: type) -> None:
        self._refuse_depth()
        super().fetch_flow_collection_start(TokenClass)

    def add_indent(self, column: int) -> bool:
        self._refuse_depth()
        return bool(super().add_indent(column))

    def _refuse_depth(self) -> None:
        if self.flow_level + len(self.indents) > MOST_DEEP:
            raise _TooDeep(self.get_mark())


class _TooDeep(Exception):
    """Carries the mark where it gets too deep."""


_TOO_DEEP = f"is nested more than {MOST_DEEP} levels deep"


@dataclass
class _Open:
    """A collection whose end has not come yet."""

    node: Items | Keys
    anchor: str | None
    size: int = 1
    """Nodes in it, aliases followed."""
    height: int = 1
    """Levels in it, aliases followed."""
    key: tuple[str, Mark] | None = None
    """The key whose value comes next."""
    drop: bool = False
    """Whether that value is left out, as its key was refused."""

    @property
    def wants_key(self) -> bool:
        return isinstance(self.node, Keys) and self.key is None


def read(text: str, file: str) -> tuple[Keys, list[Problem]]:
    """The tree of a spec, and what is wrong with single keys and values of it.

    Raises:
        SpecError: there is no tree; `file` is the name in its places.
    """
    if text.count("\n") >= MOST_LINES:
        raise SpecError(Problem("", f"should have at most {MOST_LINES} lines", place=Place(file)))
    reader = _Reading(text, file)
    try:
        root = reader.tree()
    except MarkedYAMLError as error:
        complaint = explain(error.context or "", error.problem or "", _before(text, error.problem_mark))
        mark = (error.context_mark if complaint.at_start else None) or error.problem_mark
        problem = Problem("", complaint.message, complaint.hint, _place(file, mark))
        raise SpecError(*reader.problems, problem) from None
    except _TooDeep as error:
        raise SpecError(*reader.problems, Problem("", _TOO_DEEP, place=_place(file, error.args[0]))) from None
    except (ValueError, OverflowError):
        # Escapes and directives beyond what Python's chr() and int() take.
        place = _place(file, reader.events.get_mark())
        raise SpecError(
            *reader.problems, Problem("", "holds a number or an escape that is too large", place=place)
        ) from None
    if not isinstance(root, Keys):
        if root is None or (isinstance(root, Scalar) and root.value is None):
            raise SpecError(Problem("", "is empty", "`deploykit init` writes a first one", Place(file)))
        place = Place(file, root.mark.line, root.mark.column)
        kind = "a list" if isinstance(root, Items) else shown(root.text)
        raise SpecError(Problem("", f"should be a mapping that starts with `version: 1`, not {kind}", place=place))
    return root, reader.problems


class _Reading:
    """One pass over the events of a file."""

    def __init__(self, text: str, file: str) -> None:
        self.events = _Events(text)
        self.file = file
        self.problems: list[Problem] = []
        self.open: list[_Open] = []
        self.anchors: dict[str, tuple[Node, int, int] | None] = {}
        """Anchor to node, size and height; None while the node is open."""
        self.nodes = 0

    def tree(self) -> Node | None:
        root: Node | None = None
        documents = 0
        while self.events.check_event():
            event = self.events.get_event()  # type: ignore[no-untyped-call]
            if isinstance(event, DocumentStartEvent):
                documents += 1
                if documents > 1:
                    self._stop(event, "a second document starts here; a file holds one spec", "remove the line `---`")
            elif isinstance(event, CollectionEndEvent):
                root = self._close() or root
            elif isinstance(event, NodeEvent):
                root = self._node(event) or root
        return root

    def _node(self, event: NodeEvent) -> Node | None:
        """Takes in a value, a key or the start of a collection; gives the root where it is that."""
        self.nodes += 1
        if self.nodes > 2 * MOST_NODES:  # keys count here, and not in a size
            self._stop_for_size(event)
        if self.open and self.open[-1].wants_key:
            self._key(event, self.open[-1])
            return None
        if isinstance(event, AliasEvent):
            return self._add(event, *self._aliased(event))
        refused = self._refuses_tag(event)
        if isinstance(event, ScalarEvent):
            scalar = replace(_scalar(event), refused=self._refuses_text(event) or refused)
            if event.anchor:
                self.anchors[event.anchor] = (scalar, 1, 1)
            return self._add(event, scalar, 1, 1)
        if len(self.open) >= MOST_DEEP:
            self._stop(event, _TOO_DEEP)
        node = Keys(_mark(event)) if isinstance(event, MappingStartEvent) else Items(_mark(event))
        if event.anchor:
            self.anchors[event.anchor] = None
        self.open.append(_Open(node, event.anchor))
        return None

    def _close(self) -> Node | None:
        done = self.open.pop()
        if done.anchor:
            self.anchors[done.anchor] = (done.node, done.size, done.height)
        return self._add(None, done.node, done.size, done.height)

    def _add(self, event: Event | None, node: Node, size: int, height: int) -> Node | None:
        """Puts a finished node where it belongs; gives it back where it is the root."""
        if not self.open:
            return node
        parent = self.open[-1]
        parent.size += size
        parent.height = max(parent.height, height + 1)
        if parent.size > MOST_NODES:
            self._stop_for_size(event)
        if len(self.open) + height > MOST_DEEP + 1:
            self._stop(event, _TOO_DEEP)
        if isinstance(parent.node, Items):
            parent.node.nodes.append(node)
        elif parent.key is not None:
            if not parent.drop:
                parent.node.entries[parent.key[0]] = (parent.key[1], node)
            parent.key, parent.drop = None, False
        return None

    def _key(self, event: NodeEvent, parent: _Open) -> None:
        mark = _mark(event)
        key: object = event
        if isinstance(event, AliasEvent):
            key = self._aliased(event)[0]
        if not isinstance(key, ScalarEvent | Scalar):
            self._stop(event, "a key should be text", "put a value that starts with `{` or `[` in quotes")
        text = key.value if isinstance(key, ScalarEvent) else key.text
        if isinstance(event, ScalarEvent) and event.anchor:
            self.anchors[event.anchor] = (_scalar(event), 1, 1)
        parent.key, parent.drop = (text, mark), True
        if isinstance(event, ScalarEvent):
            self._refuses_tag(event)
        bad = control_character(text)
        if bad or len(text) > LONGEST_KEY:
            rule = f"not contain {bad}" if bad else f"have at most {LONGEST_KEY} characters"
            parent.key = (printable(text), mark)
            self._note(mark, f"a key should {rule}")
        elif text == "<<" and isinstance(key, ScalarEvent) and key.implicit[0]:
            # What the mapping lacks without it would only be noise.
            at, hint = path_words(self._path()), "write the values out; `*name` can stand for a whole one"
            self._stop(event, f"`{at}`: merge keys are not part of YAML 1.2", hint)
        elif isinstance(parent.node, Keys) and text in parent.node.entries:
            self._note(mark, f"is written twice, first in line {parent.node.entries[text][0].line}")
        else:
            parent.drop = False

    def _aliased(self, event: AliasEvent) -> tuple[Node, int, int]:
        name = event.anchor or ""
        if name not in self.anchors:
            hint = "put the value in quotes if it is meant as text"
            self._stop(event, f"there is no `&{printable(name)}` above for this `*{printable(name)}`", hint)
        found = self.anchors[name]
        if found is None:
            self._stop(event, f"`*{printable(name)}` stands inside of `&{printable(name)}` itself")
        return found

    def _refuses_tag(self, event: NodeEvent) -> bool:
        tag = getattr(event, "tag", None)
        if not tag or tag in ("!", f"tag:yaml.org,2002:{_OWN_TAG[type(event)]}"):
            return False
        short = printable(tag.replace("tag:yaml.org,2002:", "!!"))
        hint = "put the value in quotes if it is meant as text"
        self._note(_mark(event), f"the tag `{short}` has no meaning here", hint)
        return True

    def _refuses_text(self, event: ScalarEvent) -> bool:
        bad = control_character(event.value)
        if bad == "U+000A":
            hint = "`>-` in place of `|` or `>` folds lines into one" if event.style in ("|", ">") else ""
            self._note(_mark(event), "should be one line of text", hint)
        elif bad:
            self._note(_mark(event), f"should not contain the control character {bad}")
        return bool(bad)

    def _path(self) -> SpecPath:
        """Where the next value belongs."""
        path: list[str | int] = []
        for parent in self.open:
            if isinstance(parent.node, Items):
                path.append(len(parent.node.nodes))
            elif parent.key is not None:
                path.append(parent.key[0])
        return tuple(path)

    def _note(self, mark: Mark, message: str, hint: str = "") -> None:
        place = Place(self.file, mark.line, mark.column)
        self.problems.append(Problem(path_words(self._path()), message, hint, place))

    def _stop(self, event: Event | None, message: str, hint: str = "") -> NoReturn:
        mark = event.start_mark if event is not None else self.events.get_mark()
        raise SpecError(*self.problems, Problem("", message, hint, _place(self.file, mark)))

    def _stop_for_size(self, event: Event | None) -> NoReturn:
        self._stop(event, f"should have at most {MOST_NODES} values, those that aliases repeat included")


def _before(text: str, mark: Any) -> str:
    """The line of one of PyYAML's marks up to it."""
    return text.split("\n")[mark.line][: mark.column] if mark is not None else ""


def _place(file: str, mark: Any) -> Place:
    """The place of one of PyYAML's marks, which count from 0."""
    return Place(file, mark.line + 1, mark.column + 1) if mark is not None else Place(file)


def _mark(event: Event) -> Mark:
    mark: Any = event.start_mark
    return Mark(mark.line + 1, mark.column + 1)


def _scalar(event: ScalarEvent) -> Scalar:
    text: str = event.value
    value: str | bool | None = text
    if event.implicit[0] and not event.style:
        if text in _NULL:
            value = None
        elif text in _TRUE or text in _FALSE:
            value = text in _TRUE
        elif _NUMBER.fullmatch(text):
            value = Number(text)
    return Scalar(_mark(event), value, text)
