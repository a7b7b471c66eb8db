"""The reference says what the model says, and every key of the model is in it with a sentence."""

from __future__ import annotations

from pathlib import Path

from deploykit.spec.reference import SECTIONS, reference
from deploykit.spec.schema import schema

PAGE = Path(__file__).parent.parent / "docs" / "spec.md"


def test_the_page_is_what_the_model_says(update_golden: bool) -> None:
    if update_golden:
        PAGE.write_text(reference())
    assert PAGE.read_text() == reference(), "python -m deploykit.spec.reference > docs/spec.md"


def test_every_mapping_of_the_model_has_its_section() -> None:
    mappings = {name for name, value in schema()["$defs"].items() if value.get("type") == "object"}
    assert mappings == {name for name, _, _ in SECTIONS if name}


def test_every_key_has_a_sentence() -> None:
    for line in reference().splitlines():
        if line.startswith("| `"):
            assert line.rstrip(" |").endswith("."), line
