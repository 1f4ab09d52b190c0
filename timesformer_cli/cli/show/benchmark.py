"""A benchmark's report as a table, JSON, CSV or Markdown."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from timesformer_cli.benchmark.rows import SchemeRow
from timesformer_cli.benchmark.run_schemes import BenchmarkReport
from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import bar, markdown_table, write_csv, write_json
from timesformer_cli.cli.show.benchmark_columns import GAP, columns, cost_of, fitting
from timesformer_cli.schemes import RELATIVES
from timesformer_cli.typed.schemes import scheme_label

NARROWEST, WIDEST = 8, 24  # characters of a bar
MOST_NOISY = 3  # noisy rows that are named one by one
NESTED = {
    "gmacs_split": ("projections", "attention", "mlp"),
    "latency_ms": ("median", "p10", "p90"),
}


def as_table(report: BenchmarkReport, stream: TextIO) -> None:
    """As many columns as the terminal has room for, a bar of each row's cost, and notes."""
    console = new_console(stream)
    every, many = columns(report), len(report.rows) > 1
    several = len({row.attention for row in report.rows}) > 1
    chosen, room = fitting(every, report, console.width, NARROWEST if many else 0)
    wide = min(room, WIDEST) if many and room >= NARROWEST else 0
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    for column in chosen:
        heading = Text("\n".join(column.heading))
        table.add_column(heading, justify="left" if column.left else "right", no_wrap=True)
    if wide:
        table.add_column("", no_wrap=True)
    before = report.rows[0]
    for row, details in zip(report.rows, report.details, strict=True):
        if (row.attention in RELATIVES) != (before.attention in RELATIVES):
            table.add_row()
            table.add_row(Text("relatives", "dim"))
        elif (row.frames, row.image_size) != (before.frames, before.image_size) and several:
            table.add_row()
        cells = [column.cell(row, details) for column in chosen]
        table.add_row(*cells, *([_bar(row, report.rows, wide, console)] if wide else []))
        before = row
    console.print(table)
    console.print()
    for line in _words(report, hidden=len(every) - len(chosen)):
        console.print(line)


def as_json(report: BenchmarkReport, stream: TextIO) -> None:
    """Protocol, rows and crossovers, field for field."""
    write_json(report, stream)


def as_csv(report: BenchmarkReport, stream: TextIO) -> None:
    """One line per row; a nested field is `outer.inner`, and what is not known an empty cell."""
    rows = [_flat(row) for row in report.rows]
    write_csv(rows, list(rows[0]), stream)


def as_markdown(report: BenchmarkReport, stream: TextIO) -> None:
    """The columns of the CSV as a table to paste, then the notes."""
    rows = [_flat(row) for row in report.rows]
    stream.write(markdown_table(list(rows[0]), [list(row.values()) for row in rows]))
    for line in _words(report, hidden=0):
        stream.write(f"\n{line.plain}\n" if line.plain else "")


RENDERERS = {"table": as_table, "json": as_json, "csv": as_csv, "markdown": as_markdown}


def _words(report: BenchmarkReport, hidden: int) -> Iterator[Text]:
    """The notes under a table: crossovers, rows that failed or are noisy, the protocol."""
    for crossover in report.crossovers:
        yield Text(crossover.text)
    if report.crossovers:
        yield Text()
    noisy = 0
    for row, details in zip(report.rows, report.details, strict=True):
        name = f"{scheme_label(row.attention)}, {row.frames} frames, {row.image_size} px"
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


def _protocol(report: BenchmarkReport) -> str:
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
    runs = [row["runs"] for row in protocol["rows"] if row["runs"]]
    if runs:
        span = str(min(runs)) if min(runs) == max(runs) else f"{min(runs)} to {max(runs)}"
        parts.append(f"median of {span} run{'s' * (max(runs) > 1)} after warm-up")
    parts += [f"{protocol['threads']} threads", f"torch {protocol['torch']}"]
    return ", ".join([*parts, str(protocol["device_name"])])


def _bar(row: SchemeRow, rows: Iterable[SchemeRow], width: int, console: Console) -> Text:
    timed = any(other.latency_ms for other in rows)
    if timed and row.latency_ms is None:
        return Text()
    most = max(cost_of(other) or 0 for other in rows if bool(other.latency_ms) == timed)
    return Text(bar((cost_of(row) or 0) / most if most else 0.0, console, width), "green")


def _flat(row: SchemeRow) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in asdict(row).items():
        if name in NESTED:
            flat |= {f"{name}.{inner}": value and value[inner] for inner in NESTED[name]}
        else:
            flat[name] = value
    return flat
