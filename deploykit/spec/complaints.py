"""What PyYAML complains of, in words that help somebody who writes a spec."""

from __future__ import annotations

import re
from typing import NamedTuple

from deploykit.spec.words import printable

_QUOTE = "put the value in quotes"


class Complaint(NamedTuple):
    """Parts of PyYAML's context and problem, and what is said in their place."""

    context: str
    problem: str
    message: str
    hint: str = ""
    at_start: bool = False
    """Whether the place is where the thing began, not where it could not go on."""


# In order; the first that fits is said. PyYAML's own texts are in its scanner.py and parser.py.
_COMPLAINTS = (
    Complaint("", r"'\t' that cannot start any token", "a tab can't stand here", "indent with spaces"),
    Complaint("", "that cannot start any token", "a value can't start with this character", _QUOTE),
    Complaint("", "mapping values are not allowed here", "a second `: ` can't stand in one value", _QUOTE),
    Complaint(
        "",
        "sequence entries are not allowed here",
        "a list can't start here",
        "begin it on a line of its own, with `- `",
    ),
    Complaint("", "mapping keys are not allowed here", "a mapping can't start here", _QUOTE),
    Complaint("simple key", "could not find expected ':'", "should be `key: value`", at_start=True),
    Complaint("quoted scalar", "end of stream", "a quote opens here and is never closed", at_start=True),
    Complaint("quoted scalar", "document separator", "a quote opens here and is never closed", at_start=True),
    Complaint(
        "double-quoted scalar",
        "escape",
        r"`\` starts an escape in double quotes, and this is none",
        "use single quotes",
    ),
    Complaint("block scalar", "expected", "`>` and `|` start a block of text in YAML", _QUOTE),
    Complaint("alias", "expected", "`*` starts an alias in YAML", _QUOTE),
    Complaint("anchor", "expected", "`&` starts an anchor in YAML", _QUOTE),
    Complaint("tag", "expected", "`!` starts a tag in YAML", _QUOTE),
    Complaint("", "undefined tag handle", "`!` starts a tag in YAML", _QUOTE),
    Complaint("directive", "", "`%` starts a directive in YAML", _QUOTE),
    Complaint("", "incompatible YAML document", "only YAML 1.1 and 1.2 can be read"),
    Complaint("flow sequence", "'<stream end>'", "a `[` opens here and is never closed", at_start=True),
    Complaint("flow mapping", "'<stream end>'", "a `{` opens here and is never closed", at_start=True),
    Complaint("flow node", "'<stream end>'", "a `[` or `{` opens here and is never closed", at_start=True),
    Complaint("flow sequence", "expected ','", "a list in `[ ]` should go on with `,` or end with `]`"),
    Complaint("flow mapping", "expected ','", "a mapping in `{ }` should go on with `,` or end with `}`"),
    Complaint(
        "block", "but found '<scalar>'", "text can't follow a value that is complete", "quote the value as a whole"
    ),
    Complaint("block mapping", "but found '-'", "should be a key, as in the lines above, not a list item"),
    Complaint("block collection", "expected <block end>", "should be a list item (`- `), as in the lines above"),
    Complaint("block", "expected <block end>", "the indentation fits none of the lines above"),
    Complaint("", "expected '<document start>'", "something follows the end of the spec"),
    Complaint("node", "expected the node content", "a value can't start with this character", _QUOTE),
)


def explain(context: str, problem: str, before: str) -> Complaint:
    """What to say of a complaint with this context and problem; `before` is its line up to it."""
    if "mapping values are not allowed" in problem and re.fullmatch(r"\s*[^\s:]*", before):
        return Complaint("", "", "a key can't stand here: the line above is not complete, or this one is too deep")
    character = re.search(r"found character '([!-~])' that cannot start", problem)
    if character:
        return Complaint("", "", f"a value can't start with '{character[1]}'", _QUOTE)
    for complaint in _COMPLAINTS:
        if complaint.context in context and complaint.problem in problem:
            return complaint
    return Complaint("", "", f"can't be read as YAML: {printable(problem)}")
