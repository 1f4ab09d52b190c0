"""The times of models given by name, as a table, JSON, CSV or Markdown."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TextIO

from rich.console import JustifyMethod
from rich.table import Table
from rich.text import Text

from timesformer_cli.benchmark.run_models import ModelRow
from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import (
    bar,
    faster,
    markdown_table,
    shortened,
    write_csv,
    write_json,
)
from timesformer_cli.cli.stderr import printable

HEADINGS = ("model", "runtime", "dtype", "MB", "ms", "p10 - p90", "share")
NAME = 24  # characters of a model's name


def as_table(rows: Sequence[ModelRow], stream: TextIO) -> None:
    """One line per model, with a bar of its time as a share of the slowest model's."""
    console = new_console(stream)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    lines = [_cells(row) for row in rows]
    for heading, *column in zip(HEADINGS, *lines, strict=True):
        # Full width for all of these, so that on a narrow terminal the bars are cropped.
        width = max(map(len, (heading, *column)))
        justify: JustifyMethod = "left" if heading in HEADINGS[:3] else "right"
        table.add_column(heading, no_wrap=True, min_width=width, justify=justify)
    table.add_column("", no_wrap=True, overflow="crop")
    for row, cells in zip(rows, lines, strict=True):
        table.add_row(*cells, Text(bar(row.share, console), "green"))
    console.print(table)
    first = rows[0]
    clips = f"batch of {first.batch_size}, median of {first.runs} runs, turn by turn"
    shapes = sorted({f"{row.clip[0]} x {row.clip[1]} x {row.clip[2]}" for row in rows})
    console.print(Text(f"clips of {', '.join(shapes)}, {clips}", "dim"))
    if len(rows) > 1:
        best, worst = (find(rows, key=lambda row: row.median) for find in (min, max))
        speed = faster(best.median, worst.median)
        names = (shortened(printable(row.model), NAME) for row in (best, worst))
        said = f" {speed} ".join(names)
        console.print(Text(f"{said}; share: of the slowest one's time", "dim"))


def _cells(row: ModelRow) -> tuple[str, ...]:
    return (
        shortened(printable(row.model), NAME),
        row.runtime.split(" ")[0],
        row.dtype,
        "" if row.bytes is None else f"{row.bytes / 1e6:,.1f}",
        _milliseconds(row.median),
        f"{_milliseconds(row.p10)} - {_milliseconds(row.p90)}",
        f"{row.share:.2f}",
    )


def as_json(rows: Sequence[ModelRow], stream: TextIO) -> None:
    """The rows, field for field."""
    write_json(list(rows), stream)


def as_csv(rows: Sequence[ModelRow], stream: TextIO) -> None:
    """One line per model."""
    write_csv(map(_flat, rows), list(_flat(rows[0])), stream)


def as_markdown(rows: Sequence[ModelRow], stream: TextIO) -> None:
    """The columns of the CSV as a table to paste."""
    stream.write(markdown_table(list(_flat(rows[0])), [list(_flat(row).values()) for row in rows]))


RENDERERS = {"table": as_table, "json": as_json, "csv": as_csv, "markdown": as_markdown}


def _flat(row: ModelRow) -> dict[str, Any]:
    return {**asdict(row), "clip": "x".join(map(str, row.clip))}


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
