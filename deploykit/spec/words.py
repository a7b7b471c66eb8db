"""The words of messages about a spec: paths as a person says them, values as they may be shown, near names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

SpecPath = tuple[str | int, ...]
"""A path in the spec, such as `("apps", "web", "timeout")`; the same as `plan.SpecPath`."""

SHOWN = 60
"""Characters of a value that a message shows."""

MOST_LISTED = 12
MOST_COMPARED = 100
"""Choices among which a near one is looked for: comparing takes some 20 microseconds each."""


def path_words(path: SpecPath) -> str:
    """A path as a person says it: `apps.web.instances[1].weight`; keys stand as they are."""
    words = ""
    for part in path:
        if isinstance(part, int):
            words += f"[{part}]"
        else:
            words += f".{part or repr(part)}"
    return words.removeprefix(".")


def printable(text: str) -> str:
    """The text on one line, without anything that could move a cursor, and cut where it is long."""
    cut = text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


def shown(value: object) -> str:
    """An offending value for a message: text in quotes, a collection by its kind."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "a list"
    return f"'{printable(str(value))}'"


def listed(words: Iterable[str]) -> str:
    """Choices in a sentence: `a`, `b` or `c`."""
    quoted = [f"`{printable(word)}`" for word in words]
    if len(quoted) > MOST_LISTED:
        return ", ".join(quoted[:MOST_LISTED]) + f" or one of {len(quoted) - MOST_LISTED} more"
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


def nearest(word: str, choices: Iterable[str]) -> str:
    """The choice that was probably meant, empty where none is near."""
    by_plain = {choice.lower().replace("-", "_"): choice for choice in choices}
    if len(word) > SHOWN or len(by_plain) > MOST_COMPARED:
        return ""
    near = difflib.get_close_matches(word.strip().lower().replace("-", "_"), by_plain, n=1, cutoff=0.65)
    return by_plain[near[0]] if near else ""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A hint that names the nearest choice, empty where none is near."""
    near = nearest(word, choices)
    return f"did you mean `{near}`?" if near else ""
