"""Each file in `problems/` is a broken spec, a line of dashes, and the exact words that its author gets.

`--update-golden` writes the words; read them in the diff as if they were for you.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploykit import __version__, app_servers, frameworks
from deploykit.errors import SpecError
from deploykit.spec.environments import in_each
from deploykit.spec.load import environments_of, load_spec, meaning

PROBLEMS = Path(__file__).parent / "problems"
CASES = sorted(path.stem for path in PROBLEMS.glob("*.txt"))
DASHES = "-" * 10 + "\n"
CHOICES = re.compile(r"(should be|there is|it is) `[^`]*`(, `[^`]*`)* or `[^`]*`")
"""A list of choices: a case leaves it out, so that a new driver or choice changes none."""

JARGON = re.compile(
    r"pydantic|Input should|Value error|literal|extra|validat|NoneType|dict|tuple|<block|token|stream|can't be used"
)


def words_about(folder: Path, text: str) -> str:
    """What `deploykit check` prints about this spec, its file being `deploykit.yaml`; empty where it is right."""
    path = folder / "deploykit.yaml"
    path.write_text(text)

    def read(environment: str) -> None:
        spec, source = load_spec(path, environment)
        meaning(spec, source, app_servers=app_servers.REGISTRY.names(), frameworks=frameworks.REGISTRY.names())

    try:
        in_each(environments_of(path), read)
    except SpecError as error:
        words = re.sub(r"--> \S*deploykit\.yaml", "--> deploykit.yaml", str(error))
        return CHOICES.sub(r"\1 ...", words).replace(__version__, "VERSION") + "\n"
    return ""


@pytest.mark.parametrize("case", CASES)
def test_a_broken_spec_is_refused_in_these_words(case: str, tmp_path: Path, update_golden: bool) -> None:
    path = PROBLEMS / f"{case}.txt"
    spec, _, expected = path.read_text().partition(DASHES)
    words = words_about(tmp_path, spec)
    if update_golden:
        path.write_text(spec + DASHES + words)
        expected = words
    assert words == expected
    assert words, "nothing is wrong with this spec"


@pytest.mark.parametrize("case", CASES)
def test_the_words_are_in_line_order_and_in_our_style(case: str) -> None:
    words = (PROBLEMS / f"{case}.txt").read_text().partition(DASHES)[2]
    lines = [int(line) for line in re.findall(r"--> deploykit\.yaml:(\d+)", words)]
    assert lines == sorted(lines)
    assert not JARGON.search(words)
    for line in words.splitlines():
        assert not line.endswith(".") or line.endswith("..."), line
        assert line.isprintable()
        assert len(line) < 400
