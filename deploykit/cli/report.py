"""The report of the checks as a table: spec line, promise, measured, verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deploykit.cli.console import Console, paint
from deploykit.cli.tables import Cell, Row, table

if TYPE_CHECKING:
    from deploykit.nginx.access_log import Traffic
    from deploykit.plan import Report
    from deploykit.spec.load import Source

STYLES = {"kept": "green", "broken": "red bold", "not run": "yellow"}


def show_traffic(console: Console, traffic: Traffic | None) -> None:
    """What came while it was switched, where anything did."""
    if traffic is not None and traffic.requests:
        console.talk(f" while it switched: {traffic}", "red" if traffic.failed else "green")


def show_report(console: Console, report: Report, source: Source, url: str = "") -> None:
    """The table with its last line, on standard output."""
    from deploykit.proof.report import counts, rows

    cells: list[Row] = [
        [Cell(row.spec, "dim"), row.promise, row.measured, Cell(row.verdict, STYLES[row.verdict])]
        for row in rows(report, source.place)
    ]
    console.answer()
    console.answer(table(cells, header=("spec", "promise", "measured", "verdict"), width=console.width))
    summary = " · ".join(
        paint(f"{count} {verdict}", STYLES[verdict] if count and verdict != "kept" else "")
        for verdict, count in counts(report).items()
    )
    console.answer(f" {summary}" + (f"    {paint(url, 'bold')}" if url else ""))
