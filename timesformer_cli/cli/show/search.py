"""What was found in a library as a table, JSON, JSON lines, CSV, a list for players or a page."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from rich.table import Table
from rich.text import Text

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import percent, write_csv, write_json_array, write_json_lines
from timesformer_cli.cli.stderr import printable
from timesformer_cli.library.search import Hit
from timesformer_cli.pages.page import addresses_of, render_page
from timesformer_cli.timelines.text import clock

CSV_COLUMNS = "video start end label score similarity content".split()


def as_table(hits: Sequence[Hit], stream: TextIO) -> None:
    """A row for each; the most alike, or the highest score, first."""
    console = new_console(stream)
    if not hits:
        console.print("nothing was found")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    alike = hits[0].similarity is not None
    for heading in ("video", "from", "to", *(["alike"] if alike else []), "label", "score"):
        right = heading not in ("video", "label")
        table.add_column(heading, justify="right" if right else "left", no_wrap=not right)
    for hit in hits:
        table.add_row(
            Text(printable(hit.video)),
            clock(hit.start),
            clock(hit.end),
            *([f"{hit.similarity:.3f}"] if hit.similarity is not None else []),
            Text(printable(hit.label)),
            percent(hit.score),
        )
    console.print(table)


def as_csv(hits: Sequence[Hit], stream: TextIO) -> None:
    """One row each."""
    write_csv(map(asdict, hits), CSV_COLUMNS, stream)


def as_m3u(hits: Sequence[Hit], stream: TextIO) -> None:
    """An extended M3U list: VLC begins each entry at its place and goes on at its end."""
    stream.write("#EXTM3U\n")
    for hit in hits:
        title = printable(f"{hit.label}, {Path(hit.video).name} at {clock(hit.start)}")
        stream.write(f"#EXTINF:{round(hit.end - hit.start)},{title}\n")
        stream.write(f"#EXTVLCOPT:start-time={hit.start:g}\n#EXTVLCOPT:stop-time={hit.end:g}\n")
        stream.write(f"{printable(str(Path(hit.video).absolute()))}\n")


def as_html(hits: Sequence[Hit], stream: TextIO) -> None:
    """A page on which each is played from its place."""
    media = addresses_of((hit.video for hit in hits), stream)
    stream.write(render_page("search", f"{len(hits)} found", hits, media=media))


RENDERERS: dict[str, Callable[[Sequence[Hit], TextIO], None]] = {
    "table": as_table,
    "json": write_json_array,
    "jsonl": write_json_lines,
    "csv": as_csv,
    "m3u": as_m3u,
    "html": as_html,
}
