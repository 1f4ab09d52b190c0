"""Pairs of videos that show the same as a table, JSON, JSON lines, CSV, a list for players or a page."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TextIO

from rich.table import Table
from rich.text import Text

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import (
    percent,
    shortened,
    write_csv,
    write_json_array,
    write_json_lines,
)
from timesformer_cli.cli.stderr import printable
from timesformer_cli.library.duplicates import Pair
from timesformer_cli.pages.page import addresses_of, render_page

CSV_COLUMNS = [field.name for field in fields(Pair)]
NUMBERS = 40  # characters of all columns but the names


def as_table(pairs: Sequence[Pair], stream: TextIO) -> None:
    """A row for each; the most alike first."""
    console = new_console(stream)
    if not pairs:
        console.print("no two videos show the same")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    timed = pairs[0].offset is not None
    longest = max(len(printable(name)) for pair in pairs for name in (pair.video, pair.other))
    if console.is_terminal:
        longest = min(longest, max(12, (console.width - NUMBERS) // 2))
    else:
        console.width = max(console.width, 2 * longest + NUMBERS)
    for heading in ("video", "other", *(["offset", "pace"] if timed else []), "alike", "shared"):
        right = heading not in ("video", "other")
        table.add_column(heading, justify="right" if right else "left", no_wrap=not right)
    for pair in pairs:
        times = [f"{pair.offset:+.2f} s", f"{pair.pace:g}"] if pair.offset is not None else []
        table.add_row(
            Text(shortened(printable(pair.video), longest)),
            Text(shortened(printable(pair.other), longest)),
            *times,
            f"{pair.similarity:.3f}",
            percent(pair.shared, 0),
        )
    console.print(table)


def as_csv(pairs: Sequence[Pair], stream: TextIO) -> None:
    """One row each."""
    write_csv(map(asdict, pairs), CSV_COLUMNS, stream)


def as_m3u(pairs: Sequence[Pair], stream: TextIO) -> None:
    """An extended M3U list: the two videos of a pair, one after the other, from the same picture."""
    stream.write("#EXTM3U\n")
    for pair in pairs:
        first, second = _begun(pair)
        for video, other, start in (
            (pair.video, pair.other, first),
            (pair.other, pair.video, second),
        ):
            title = printable(f"{Path(video).name}, the same as {Path(other).name}")
            stream.write(f"#EXTINF:-1,{title}\n#EXTVLCOPT:start-time={start:g}\n")
            stream.write(f"{printable(str(Path(video).absolute()))}\n")


def as_html(pairs: Sequence[Pair], stream: TextIO) -> None:
    """A page on which both videos of a pair are played from the same picture."""
    sides = zip(
        addresses_of((pair.video for pair in pairs), stream),
        addresses_of((pair.other for pair in pairs), stream),
        map(_begun, pairs),
        strict=True,
    )
    media = [((one, begun[0]), (other, begun[1])) for one, other, begun in sides]
    stream.write(render_page("duplicates", f"{len(pairs)} pairs", pairs, media=media))


def _begun(pair: Pair) -> tuple[float, float]:
    """The seconds of both videos at which the first picture is that they share."""
    offset = pair.offset or 0.0
    if offset >= 0:
        return 0.0, offset
    return -offset / (pair.pace or 1.0), 0.0


RENDERERS: dict[str, Callable[[Sequence[Pair], TextIO], None]] = {
    "table": as_table,
    "json": write_json_array,
    "jsonl": write_json_lines,
    "csv": as_csv,
    "m3u": as_m3u,
    "html": as_html,
}
