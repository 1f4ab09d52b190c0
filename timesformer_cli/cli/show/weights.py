"""The catalogue as a table, and where weights were put."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields
from typing import Literal, NamedTuple

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import percent, write_csv, write_json
from timesformer_cli.cli.stderr import printable, stderr
from timesformer_cli.cost.rate import BUSY, MachineRate
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.advice import seconds_in_words, sentences
from timesformer_cli.weights.hub.locate import VerifiedFile
from timesformer_cli.weights.published import ListedWeights, ReadyWeights

NON_COMMERCIAL = "-NC-"
FRONT = "*"  # behind the accuracy of models that no other beats
GAP = 2  # characters between two columns


class WeightsColumn(NamedTuple):
    """A column of the list."""

    heading: str
    cell: Callable[[ListedWeights], str]
    # What does not fit goes by this number, the highest first; 0 always stays.
    rank: int
    justify: Literal["left", "right"] = "left"


def _clip(row: ListedWeights) -> str:
    return f"{row.frames} x {row.stride or 'uniform'}"


def _here(row: ListedWeights) -> str:
    if row.cached:
        return "yes"
    return "file only" if row.source == "file only" else ""


def _top1(row: ListedWeights) -> str:
    return f"{row.top1:.1f}{FRONT if row.front else ' ' * len(FRONT)}" if row.top1 else ""


def _seconds(row: ListedWeights) -> str:
    return "" if row.seconds is None else seconds_in_words(row.seconds)


COLUMNS = (
    WeightsColumn("name", lambda row: row.name, 0),
    WeightsColumn("recognises", lambda row: row.data, 1),
    WeightsColumn("classes", lambda row: f"{row.classes:,}" if row.classes else "", 10, "right"),
    WeightsColumn("scheme", lambda row: row.attention, 11),
    WeightsColumn("clip", _clip, 7),
    WeightsColumn("px", lambda row: str(row.image_size), 9, "right"),
    WeightsColumn("a clip", _seconds, 2, "right"),
    WeightsColumn("memory", lambda row: f"{row.memory_bytes / 1e9:.1f} GB", 4, "right"),
    WeightsColumn("top-1", _top1, 0, "right"),
    WeightsColumn("views", lambda row: row.views or "", 5),
    WeightsColumn("GMACs", lambda row: f"{row.gmacs:,.1f}", 8, "right"),
    WeightsColumn("MB", lambda row: f"{row.bytes / 1e6:,.0f}", 6, "right"),
    WeightsColumn("licence", lambda row: row.licence, 0),
    WeightsColumn("cached", _here, 3),
)
STYLES = {"yes": "green", "file only": "dim"}


def show_list(rows: Sequence[ListedWeights], format: str) -> None:
    """Print all rows as a table, as Markdown, as CSV, or as JSON, field for field."""
    RENDERERS[format](rows)


def as_table(rows: Sequence[ListedWeights]) -> None:
    """Print the columns that fit the terminal; all of them where there is none."""
    console = new_console()
    room = console.width if console.is_terminal or "COLUMNS" in os.environ else None
    columns = columns_that_fit(rows, room)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(column.heading, justify=column.justify, no_wrap=True)
    for row in rows:
        cells = [column.cell(row) for column in columns]
        table.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in cells))
    # Never wider than asked, but for a terminal that has no room for names and licences.
    console.width = max(console.width, sum(_width(rows, column) + GAP for column in columns))
    console.print(table)
    if lines := sentences(rows):
        console.print()
    for line in lines:
        console.print(Text(line), soft_wrap=True)
    shown = {column.heading for column in columns}
    remarks = [text for heading, text in REMARKS.items() if heading in shown]
    if "a clip" in shown:
        remarks.append(_rate_in_words(rows[0].rate))
    hidden = [column.heading for column in COLUMNS if column.heading not in shown]
    if hidden:
        remarks.append(f"too narrow for {', '.join(hidden)}: a wider terminal or --format json")
    remarks.append("tsf info NAME tells all of one; tsf classify clip.mp4 --model NAME uses it")
    stderr().print(f"[dim]{escape(chr(10).join(remarks))}[/]", soft_wrap=True)


REMARKS = {
    "clip": "clip: frames x stride (of 30 fps)",
    "memory": "memory: weights and activations of one clip",
    "top-1": "top-1: per cent, as reported, of models of words on Kinetics-400's names; * is the "
    "front: no other of\nits data and views is both cheaper and better",
    "views": "views: clips x crops for which top-1 was reported",
    "GMACs": "GMACs: billions of multiply-adds for one clip",
    "MB": "MB: of the weights in float32",
    "licence": "licence: CC-BY-NC weights are not for commercial use",
}


def _rate_in_words(rate: MachineRate | None) -> str:
    """Where the times of clips come from."""
    if rate is None:
        return "a clip: no time, since torch cannot be used here; see tsf doctor"
    busy = ""
    if rate.busy is not None and rate.busy > BUSY:
        busy = f"\nwhile other programs took {percent(rate.busy, 0)} of the processors"
    return (
        f"a clip: expected, at what models of that width reach of the {rate.gflops:,.0f} GFLOPS of a matrix "
        f"product\nin {rate.dtype} on {rate.device} ({rate.title}), measured {rate.measured}{busy}; "
        "tsf doctor measures again"
    )


def columns_that_fit(rows: Sequence[ListedWeights], room: int | None) -> list[WeightsColumn]:
    """The columns that fit so many characters, all for None; names and licences always do."""
    columns = list(COLUMNS)
    while room is not None and sum(_width(rows, each) + GAP for each in columns) - GAP > room:
        last = max(columns, key=lambda column: column.rank)
        if last.rank == 0:
            break
        columns.remove(last)
    return columns


def _width(rows: Sequence[ListedWeights], column: WeightsColumn) -> int:
    return max(len(column.heading), *(len(column.cell(row)) for row in rows))


def as_json(rows: Sequence[ListedWeights]) -> None:
    """Print all fields of all rows."""
    write_json(list(rows), sys.stdout)


def as_csv(rows: Sequence[ListedWeights]) -> None:
    """Print a line for each row, its fields as columns; what holds several values is as in JSON."""
    lines = ({**asdict(row), **_nested(row)} for row in rows)
    write_csv(lines, [f.name for f in fields(ListedWeights)], sys.stdout)


def _nested(row: ListedWeights) -> dict[str, str]:
    rate = "" if row.rate is None else json.dumps(asdict(row.rate))
    return {"rate": rate, "best_for": "; ".join(row.best_for)}


def show_fetched(results: Iterable[ReadyWeights | WeightsError]) -> bool:
    """Print where each lies and what its licence allows; return whether any failed."""
    failed = False
    for result in results:
        if isinstance(result, ReadyWeights):
            show_ready(result)
        else:
            failed = True
            stderr().print(f"[bold red]error:[/] {escape(printable(str(result)))}", soft_wrap=True)
    return failed


def show_ready(ready: ReadyWeights) -> None:
    """Print where the weights lie (the answer) and, on stderr, how to use them."""
    new_console().print(escape(printable(ready.path)), soft_wrap=True)
    terms = f"licence {ready.licence}"
    if NON_COMMERCIAL in ready.licence:
        terms += ": not for commercial use"
    use = f"tsf classify clip.mp4 --model {ready.name}"
    stderr().print(f"[green]ready:[/] {escape(printable(use))}   [dim]({terms})[/]", soft_wrap=True)


def show_checked(results: Iterable[tuple[str, VerifiedFile]]) -> bool:
    """Print one line per file; return whether any was bad."""
    console = new_console(sys.stdout)
    colours = {"ok": "green", "bad": "bold red", "unknown": "yellow"}
    failed, seen = False, False
    for name, checked in results:
        seen = True
        failed |= checked.state == "bad"
        note = f"  {checked.note}" if checked.note else ""
        state = f"[{colours[checked.state]}]{checked.state:7}[/]"
        console.print(
            f"{state} {escape(printable(f'{name}  {checked.file.name}{note}'))}", soft_wrap=True
        )
    if not seen:
        stderr().print("nothing of these is cached")
    return failed


def as_markdown(rows: Sequence[ListedWeights]) -> None:
    """Print the tables of the page: what is alike on every machine, and who takes which model."""
    lines = [
        "| name | scheme | frames x stride @ px | data set | top-1 / top-5 | views | GMACs | memory "
        "| MB | licence |",
        "| --- | --- | --- | --- | --- | --- | --: | --: | --: | --- |",
    ]
    for row in rows:
        top = " / ".join(f"{value:.1f}" for value in (row.top1, row.top5) if value is not None)
        top = f"**{top}**" if row.front else top
        cells = [f"`{row.name}`", row.attention, f"{_clip(row)} @ {row.image_size}", row.data, top]
        cells += [row.views or "", f"{row.gmacs:,.1f}", f"{row.memory_bytes / 1e9:.1f} GB"]
        cells += [f"{row.bytes / 1e6:,.0f}", row.licence]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "| for | model | why |", "| --- | --- | --- |"]
    for line in sentences(rows):
        who, _, rest = line.partition(": ")
        name, _, why = rest.partition(" (")
        lines.append(f"| {who} | `{name}` | {why.removesuffix(')')} |")
    print("\n".join(lines))


RENDERERS: dict[str, Callable[[Sequence[ListedWeights]], None]] = {
    "table": as_table,
    "json": as_json,
    "csv": as_csv,
    "markdown": as_markdown,
}
