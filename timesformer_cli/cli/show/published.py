"""The papers' tables beside ours, as a table, JSON, CSV or Markdown."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, TextIO

from rich.table import Table

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import markdown_table, write_csv, write_json
from timesformer_cli.cost.published import Compared


def as_table(rows: Sequence[Compared], stream: TextIO) -> None:
    """One block per published table."""
    console = new_console(stream)
    for (paper, title), of_table in groupby(rows, key=lambda row: (row.paper, row.table)):
        block = list(of_table)
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        above = "\n" if block[0].reported else ""  # the word that stands over reported accuracies
        table.add_column(f"{above}{block[0].quantity}", no_wrap=True)
        for heading in ("paper", "ours", "difference"):
            table.add_column(f"{above}{heading}", justify="right", no_wrap=True)
        for heading in block[0].reported:
            table.add_column(f"reported\n{heading}", justify="right", no_wrap=True, style="dim")
        for row in block:
            digits = 3 if row.published < 10 else 2
            numbers = [
                f"{row.published:g}",
                f"{row.ours:.{digits}f}",
                f"{row.difference_percent:+.2f} %",
            ]
            table.add_row(row.name, *numbers, *(f"{value:.1f}" for value in row.reported.values()))
        console.print(f"[bold]{title}[/] ({paper})")
        console.print(table)
        console.print()
    console.print(
        "[dim]Ours follow from the definitions; TimeSformer's parameters with the head of 174 classes, "
        "as there. Its\nFLOPs are multiply-adds of three views, those of the others of one. Accuracies are the "
        "papers', reported, not measured here.[/]",
        soft_wrap=True,
    )


def as_json(rows: Sequence[Compared], stream: TextIO) -> None:
    """One array, field for field, with the difference in per cent."""
    write_json(list(rows), stream)


def as_csv(rows: Sequence[Compared], stream: TextIO) -> None:
    """One line per number, one column per reported accuracy."""
    flat = [_flat(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    write_csv(flat, names, stream)


def as_markdown(rows: Sequence[Compared], stream: TextIO) -> None:
    """The columns of the CSV as a table to paste."""
    flat = [_flat(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    stream.write(markdown_table(names, [[row.get(name) for name in names] for row in flat]))


RENDERERS = {"table": as_table, "json": as_json, "csv": as_csv, "markdown": as_markdown}


def _flat(row: Compared) -> dict[str, Any]:
    reported = {f"reported {name}": value for name, value in row.reported.items()}
    return {
        "paper": row.paper,
        "table": row.table,
        "name": row.name,
        "quantity": row.quantity,
        "published": row.published,
        "ours": round(row.ours, 4),
        "difference_percent": round(row.difference_percent, 3),
        **reported,
    }
