"""The catalogue as a table, and where weights were put."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Literal, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from timesformer_cli.cli.formats import write_json
from timesformer_cli.cli.stderr import printable, stderr
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.hub.locate import VerifiedFile
from timesformer_cli.weights.published import ListedWeights, ReadyWeights

WIDE = 130  # characters that all columns need
NON_COMMERCIAL = "-NC-"


class WeightsColumn(NamedTuple):
    """A column of the list."""

    heading: str
    cell: Callable[[ListedWeights], str]
    justify: Literal["left", "right"] = "left"
    essential: bool = True  # shown on narrow terminals too; the essential columns fit 80 characters


def _clip(row: ListedWeights) -> str:
    return f"{row.frames} x {row.stride or 'uniform'} @ {row.image_size}"


def _here(row: ListedWeights) -> str:
    if row.cached:
        return "[green]yes[/]"
    return "[dim]file only[/]" if row.source == "file only" else ""


COLUMNS = (
    WeightsColumn("name", lambda row: row.name),
    WeightsColumn("scheme", lambda row: row.attention, essential=False),
    WeightsColumn("clip @ px", _clip),
    WeightsColumn("data set", lambda row: row.data, essential=False),
    WeightsColumn("top-1", lambda row: f"{row.top1:.1f}" if row.top1 else "", "right"),
    WeightsColumn("GMACs", lambda row: f"{row.gmacs:,.1f}", "right"),
    WeightsColumn("size", lambda row: f"{row.bytes / 1e6:,.0f} MB", "right", essential=False),
    WeightsColumn("licence", lambda row: row.licence, essential=False),
    WeightsColumn("cached", _here),
)


def show_list(rows: Sequence[ListedWeights], format: str) -> None:
    """Print all rows as a table, as Markdown, or as JSON, field for field."""
    if format == "json":
        write_json([asdict(row) for row in rows], sys.stdout)
        return
    if format == "markdown":
        print(_markdown(rows))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, WIDE)
    columns = COLUMNS if console.width >= WIDE else [c for c in COLUMNS if c.essential]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(column.heading, justify=column.justify, no_wrap=True)
    for row in rows:
        table.add_row(*(column.cell(row) for column in columns))
    console.print(table)
    stderr().print(
        "[dim]clip: frames x stride (of 30 fps); top-1 as reported, three crops of one clip, of\n"
        "VideoMAE's 5 (Something-Something: 2) and of ViViT's 4;\n"
        "GMACs: multiply-adds of one view; CC-BY-NC weights are not for commercial use[/]"
    )


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
    Console(highlight=False).print(escape(printable(ready.path)), soft_wrap=True)
    terms = f"licence {ready.licence}"
    if NON_COMMERCIAL in ready.licence:
        terms += ": not for commercial use"
    use = f"tsf classify clip.mp4 --model {ready.name}"
    stderr().print(f"[green]ready:[/] {escape(printable(use))}   [dim]({terms})[/]", soft_wrap=True)


def show_checked(results: Iterable[tuple[str, VerifiedFile]]) -> bool:
    """Print one line per file; return whether any was bad."""
    console = Console(file=sys.stdout, highlight=False)
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


def _markdown(rows: Sequence[ListedWeights]) -> str:
    lines = [
        "| name | scheme | frames x stride @ px | data set | top-1 / top-5 | GMACs | MB | licence |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        top = " / ".join(f"{value:.1f}" for value in (row.top1, row.top5) if value is not None)
        cells = [f"`{row.name}`", row.attention, _clip(row), row.data, top]
        cells += [f"{row.gmacs:,.1f}", f"{row.bytes / 1e6:,.0f}", row.licence]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
