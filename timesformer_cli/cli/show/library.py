"""What is in a library, as a table or JSON."""

from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import write_json
from timesformer_cli.cli.stderr import printable
from timesformer_cli.library.summary import Summary

MOST = 20  # labels, and folders, of a table


def as_table(summary: Summary, stream: TextIO) -> None:
    """What it is, and the labels and folders with the most in them."""
    console = new_console(stream)
    every = "each video" if summary.every is None else f"a window every {summary.every:g} s"
    rows = {
        "model": f"{summary.model} ({summary.revision[:19]})",
        "vectors": f"{summary.vectors:,} of {summary.videos:,} videos, {summary.width} wide, {every}",
        "on disk": f"{summary.bytes / 1e6:,.1f} MB",
    }
    for name, text in rows.items():
        console.print(Text(f"{name:10}{printable(text)}"), soft_wrap=True)
    _count(console, "label", "vectors", summary.labels)
    _count(console, "folder", "videos", summary.folders)


def _count(console: Console, what: str, of: str, counts: dict[str, int]) -> None:
    if not counts:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(what)
    table.add_column(of, justify="right")
    shown = dict(list(counts.items())[:MOST])
    for name, number in shown.items():
        table.add_row(Text(printable(name)), f"{number:,}")
    if len(counts) > MOST:
        rest = sum(counts.values()) - sum(shown.values())
        table.add_row(f"{len(counts) - MOST} more", f"{rest:,}")
    console.print()
    console.print(table)


def as_json(summary: Summary, stream: TextIO) -> None:
    """All counts."""
    write_json(summary, stream)


RENDERERS: dict[str, Callable[[Summary, TextIO], None]] = {"table": as_table, "json": as_json}
