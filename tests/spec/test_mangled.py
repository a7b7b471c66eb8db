"""Whatever happens to a spec, it is read or refused; never a traceback, never long."""

from __future__ import annotations

import datetime
import re
import tempfile
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploykit.errors import SpecError
from deploykit.spec.load import load_spec, meaning
from tests.spec.examples import ALIASES, LONG_FORMS, QUOTING, SEVERAL, SHORT_FORMS, SMALLEST

SEEDS = [SMALLEST, SHORT_FORMS, LONG_FORMS, SEVERAL, ALIASES, QUOTING]
TOKENS = ["{", "}", "[", "]", ":", ": ", "- ", "? ", "&a ", "*a", "!", "!!", "!!str ", "|", ">", "\t", "\n", "\r", "  "]
TOKENS += ["'", '"', "#", "%", "@", "`", "<<: ", "~", "null", "---\n", "...\n", "\\", "\0", "\x1b", "\ufeff", "\u2028"]
TOKENS += ["é", "😀", "0x1", "1e9", "-1", ".inf", "true", "NO", "9" * 30, "/", "..", '"\\UFFFFFFFF"', "%YAML 1.1\n"]
JUNK: list[Any] = [None, True, 0, -1, 1.5, 10**30, "", "x", "a" * 300, "/", "..", "30s", "a\nb", "\ud800", [], {}, [[]]]
JUNK += [{"": {}}, {"a": None}, ["x", 1, None], {"app": "web", "files": "x"}, {"weight": 0}, [{}, {}, {}]]
JARGON = re.compile(r"pydantic|Input should|Value error|NoneType|can't be used here")

thorough = settings(
    max_examples=300,
    derandomize=True,
    deadline=datetime.timedelta(seconds=2),
    suppress_health_check=[HealthCheck.too_slow],
)


@st.composite
def mangled_text(draw: st.DrawFn) -> bytes:
    data = draw(st.sampled_from(SEEDS)).encode()
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        how = draw(st.sampled_from(["cut", "double", "insert", "byte", "move"]))
        if how == "cut":
            data = data[:start] + data[end:]
        elif how == "double":
            data = data[:end] + data[start:]
        elif how == "insert":
            data = data[:start] + draw(st.sampled_from(TOKENS)).encode() + data[start:]
        elif how == "byte":
            data = data[:start] + draw(st.binary(min_size=1, max_size=2)) + data[start + 1 :]
        else:
            data = data[:start] + data[end:] + data[start:end]
    return data


def spots(node: Any) -> list[tuple[Any, Any]]:
    """Every (collection, key or index) in the data."""
    pairs = list(node.items()) if isinstance(node, dict) else list(enumerate(node)) if isinstance(node, list) else []
    return [(node, key) for key, _ in pairs] + [spot for _, child in pairs for spot in spots(child)]


@st.composite
def mangled_structure(draw: st.DrawFn) -> bytes:
    data = yaml.safe_load(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        found = spots(data)
        if not found:
            break
        node, key = draw(st.sampled_from(found))
        other, its_key = draw(st.sampled_from(found))
        how = draw(st.sampled_from(["junk", "remove", "rename", "copy"]))
        if how == "junk":
            node[key] = draw(st.sampled_from(JUNK))
        elif how == "remove":
            node.pop(key)
        elif how == "rename" and isinstance(node, dict):
            node[draw(st.sampled_from([*TOKENS, str(key)[:-1], str(key) + "s", str(its_key)]))] = node.pop(key)
        elif how == "copy":
            node[key] = yaml.safe_load(yaml.safe_dump(other[its_key]))
    return yaml.safe_dump(data, allow_unicode=draw(st.booleans())).encode("utf-8", "surrogatepass")


def read_or_refused(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "deploykit.yaml"
        path.write_bytes(data)
        try:
            spec, source = load_spec(path)
            meaning(spec, source, app_servers=["gunicorn", "uwsgi"], frameworks=["django"])
        except SpecError as error:
            assert error.exit_code == 2
            assert error.problems
            words = str(error)
            assert all(line.isprintable() for line in words.splitlines())
            assert not JARGON.search(words), words
            lines = [problem.place.line or 0 for problem in error.problems if problem.place is not None]
            assert lines == sorted(lines)


@thorough
@given(mangled_text())
def test_a_mangled_text_is_read_or_refused(data: bytes) -> None:
    read_or_refused(data)


@thorough
@given(mangled_structure())
def test_a_mangled_structure_is_read_or_refused(data: bytes) -> None:
    read_or_refused(data)


@thorough
@given(st.text(st.sampled_from("ab1:-?[]{},&*!|>'\"%@`#~<./= \n\t"), max_size=200))
def test_any_punctuation_is_read_or_refused(text: str) -> None:
    read_or_refused(text.encode())
