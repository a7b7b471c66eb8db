"""Rows to aligned text. Nothing is cut: on a terminal the widest column wraps, elsewhere a line is as long as it is."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from deploykit.cli.console import paint

GAP = "  "
LEAST_WRAPPED = 16
"""Columns that a wrapped column keeps, however narrow the terminal is."""


@dataclass(frozen=True)
class Cell:
    """One text with its style, such as `red` or `bold`."""

    text: str
    style: str = ""


Row = Sequence[str | Cell]


def table(rows: Sequence[Row], *, header: Sequence[str] = (), width: int = 0, indent: str = " ") -> str:
    """The rows one below the other, each column as wide as its widest cell; `width` 0 means that nothing wraps."""
    cells = [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in rows]
    if header:
        cells.insert(0, [Cell(text, "dim") for text in header])
    if not cells:
        return ""
    widths = _widths(cells, width - len(indent) if width else 0)
    return "\n".join(line for row in cells for line in _lines(row, widths, indent))


def _widths(cells: Sequence[Sequence[Cell]], room: int) -> list[int]:
    count = max(len(row) for row in cells)
    widths = [max((len(row[at].text) for row in cells if at < len(row)), default=0) for at in range(count)]
    excess = sum(widths) + len(GAP) * (count - 1) - room if room else 0
    while excess > 0:
        widest = widths.index(max(widths))
        if widths[widest] <= LEAST_WRAPPED:
            break
        # Down to the second widest at most, so that two long columns share what is missing.
        others = [width for at, width in enumerate(widths) if at != widest]
        cut = min(excess, max(1, widths[widest] - max([LEAST_WRAPPED, *others])))
        widths[widest] -= cut
        excess -= cut
    return widths


def _lines(row: Sequence[Cell], widths: Sequence[int], indent: str) -> list[str]:
    wrapped = [
        textwrap.wrap(cell.text, widths[at], break_on_hyphens=False) or [""]
        if len(cell.text) > widths[at]
        else [cell.text]
        for at, cell in enumerate(row)
    ]
    lines = []
    for number in range(max((len(parts) for parts in wrapped), default=0)):
        line, gap = indent, ""
        for at, parts in enumerate(wrapped):
            text = parts[number] if number < len(parts) else ""
            if text:
                line += gap + paint(text, row[at].style)
                gap = ""
            gap += " " * (widths[at] - len(text)) + GAP
        lines.append(line)
    return lines
