"""A benchmark's report as a table, JSON, CSV or Markdown."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from timesformer_cli.benchmark.rows import Row, to_dict
from timesformer_cli.benchmark.run_schemes import Report
from timesformer_cli.cli.columns import GAP, columns, cost_of, fitting
from timesformer_cli.schemes import PAPER

SUFFIXES = {"json": "json", "csv": "csv", "md": "markdown"}
NARROWEST, WIDEST = 8, 24  # of a bar
MOST_NOISY = 3  # named one by one
NESTED = {
    "gmacs_split": ("projections", "attention", "mlp"),
    "latency_ms": ("median", "p10", "p90"),
}


def choose_format(format: str | None, output: Path | None) -> str:
    """The format asked for; by the output file's suffix where none was; else a table."""
    suffix = output.suffix.removeprefix(".") if output else ""
    return format or SUFFIXES.get(suffix, "table")


def as_table(report: Report, stream: TextIO) -> None:
    """As many columns as the terminal is wide, a bar of what they cost, and what follows in words."""
    console = Console(file=stream, highlight=False)
    every, many = columns(report), len(report.rows) > 1
    several = len({row.attention for row in report.rows}) > 1
    chosen, room = fitting(every, report, console.width, NARROWEST if many else 0)
    bar = min(room, WIDEST) if many and room >= NARROWEST else 0
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    for column in chosen:
        heading = Text("\n".join(column.heading))
        table.add_column(heading, justify="left" if column.left else "right", no_wrap=True)
    if bar:
        table.add_column("", no_wrap=True)
    before = report.rows[0]
    for row, details in zip(report.rows, report.details, strict=True):
        if (row.attention in PAPER) != (before.attention in PAPER):
            table.add_row()
            table.add_row(Text("relatives", "dim"))
        elif (row.frames, row.image_size) != (before.frames, before.image_size) and several:
            table.add_row()
        cells = [column.cell(row, details) for column in chosen]
        table.add_row(*cells, *([_bar(row, report.rows, bar, console)] if bar else []))
        before = row
    console.print(table)
    console.print()
    for line in _words(report, hidden=len(every) - len(chosen)):
        console.print(line)


def as_json(report: Report, stream: TextIO) -> None:
    """Protocol, rows and crossovers, field for field."""
    whole = {
        "protocol": report.protocol,
        "rows": [to_dict(row) for row in report.rows],
        "crossovers": [{**asdict(one), "text": str(one)} for one in report.crossovers],
    }
    stream.write(json.dumps(whole, indent=2, ensure_ascii=False) + "\n")


def as_csv(report: Report, stream: TextIO) -> None:
    """A line a row; a field within a field is `outer.inner`, what is not known an empty cell."""
    rows = [_flat(row) for row in report.rows]
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def as_markdown(report: Report, stream: TextIO) -> None:
    """The columns of the CSV as a table to paste, then the sentences."""
    rows = [_flat(row) for row in report.rows]
    stream.write(markdown_table(list(rows[0]), [list(row.values()) for row in rows]))
    for line in _words(report, hidden=0):
        stream.write(f"\n{line.plain}\n" if line.plain else "")


def markdown_table(headings: list[str], rows: Iterable[list[Any]]) -> str:
    """A pipe table; numbers to the right."""
    rows = [[_markdown_cell(value) for value in row] for row in rows]
    aligned = [
        "---:" if index and _numeric(rows, index) else "---" for index in range(len(headings))
    ]
    lines = [headings, aligned, *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


RENDER = {"table": as_table, "json": as_json, "csv": as_csv, "markdown": as_markdown}


def _words(report: Report, hidden: int) -> Iterator[Text]:
    """What the table says beside its numbers: crossovers, trouble, and how it was measured."""
    for crossover in report.crossovers:
        yield Text(str(crossover))
    if report.crossovers:
        yield Text()
    noisy = 0
    for row, details in zip(report.rows, report.details, strict=True):
        name = f"{row.attention}, {row.frames} frames, {row.image_size} px"
        if row.status == "oom":
            yield Text.assemble(("OOM", "bold red"), f" {name}: {details.reason}")
        elif details.reason:
            yield Text.assemble(("skipped", "yellow"), f" {name}: {details.reason}")
        elif details.noisy and (noisy := noisy + 1) <= MOST_NOISY:
            yield Text.assemble(("~ noisy", "yellow"), f" {name}: {details.noisy}")
    if noisy > MOST_NOISY:
        yield Text.assemble(("~ noisy", "yellow"), f" {noisy - MOST_NOISY} more: --format json")
    yield Text(_protocol(report), style="dim")
    yield Text(
        "GMACs: multiply-adds of one view, GFLOPs twice that; memory: weights and what is alive "
        "beside them.",
        style="dim",
    )
    if hidden:
        yield Text(f"{hidden} more columns: a wider terminal, or --format csv", style="dim")


def _protocol(report: Report) -> str:
    protocol, first = report.protocol, report.rows[0]
    parts = [first.size, f"batch of {first.batch_size}", protocol["dtype"]]
    kernel = protocol["kernel"]
    parts.append(
        f"{kernel} kernel" + (f" ({protocol['kernel_in_use']})" if kernel == "auto" else "")
    )
    parts += ["training step"] if protocol["train"] else []
    parts += ["gradients checkpointed"] if protocol["checkpoint_gradients"] else []
    parts += ["compiled"] if protocol["compile"] else []
    if not protocol["measured"]:
        return ", ".join([*parts, "nothing measured"])
    runs = [one["runs"] for one in protocol["rows"] if one["runs"]]
    if runs:
        span = str(min(runs)) if min(runs) == max(runs) else f"{min(runs)} to {max(runs)}"
        parts.append(f"median of {span} run{'s' * (max(runs) > 1)} after warm-up")
    parts += [f"{protocol['threads']} threads", f"torch {protocol['torch']}"]
    return ", ".join([*parts, str(protocol["device_name"])])


def _bar(row: Row, rows: Iterable[Row], width: int, console: Console) -> Text:
    timed = any(other.latency_ms for other in rows)
    if timed and row.latency_ms is None:
        return Text()
    most = max(cost_of(other) or 0 for other in rows if bool(other.latency_ms) == timed)
    eighths = round((cost_of(row) or 0) / most * width * 8) if most else 0
    if console.options.ascii_only:
        return Text("#" * max(1, eighths // 8))
    return Text("█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip(), "green")


def _flat(row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in to_dict(row).items():
        if name in NESTED:
            flat |= {f"{name}.{inner}": value and value[inner] for inner in NESTED[name]}
        else:
            flat[name] = value
    return flat


def _markdown_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 100 else f"{value:.1f}"
    return str(value).replace("|", "\\|")


def _numeric(rows: list[list[str]], index: int) -> bool:
    cells = [row[index] for row in rows if row[index]]
    return bool(cells) and all(cell.lstrip("+-")[:1].isdigit() for cell in cells)
