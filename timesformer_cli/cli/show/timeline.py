"""Timelines as a table, JSON, JSON lines, CSV, a page, subtitles or edit lists."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import (
    label_cell,
    percent,
    shortened,
    write_csv,
    write_json,
    write_json_lines,
    write_parquet,
)
from timesformer_cli.cli.stderr import complain, note, printable
from timesformer_cli.errors import ErrorKind
from timesformer_cli.inference.classified import Failed
from timesformer_cli.pages.page import render_report
from timesformer_cli.parquet import Columns
from timesformer_cli.timelines.edit_lists import timecode_rate, to_edl, to_otio
from timesformer_cli.timelines.results import Segment, Timeline, TimelineResult
from timesformer_cli.timelines.subtitles import to_srt, to_vtt
from timesformer_cli.timelines.text import clock

if TYPE_CHECKING:
    from timesformer_cli.pages.pictures import FilmStrips

LABEL = 26  # characters of a label's column, and the fewest of the time axis
SHORTEST_LABEL, SHORTEST_AXIS, LONGEST_AXIS = 8, 8, 60
SCORE, SIMILARITY = len("100.0 %"), len("-0.123")
NOTHING = "(nothing)"
COLUMNS: Columns = {
    "video": str,
    "status": str,
    "start": float,
    "end": float,
    "label": str,
    "index": int,
    "score": float,
    "peak": float,
    "runner_up": str,
    "windows": int,
    "shot": int,
    "error_kind": str,
    "error_message": str,
}
FITTED_COLUMNS: Columns = {**COLUMNS, "similarity": float}  # where labels were given


class _Row(NamedTuple):
    start: float
    end: float
    label: str
    score: float | None  # None where there is no label
    similarity: float | None = None


def as_table(results: Iterable[TimelineResult], stream: TextIO, paths: Sequence[str]) -> None:
    """For each video a heading and a row for each segment, which shows where in the video it is."""
    console = new_console(stream)
    for number, result in enumerate(results):
        if number:
            console.print()
        _print_heading(result, console)
        if isinstance(result, Timeline):
            _print_segments(result, console)
            for warning in result.warnings:
                note(f"{result.video} {warning}")
        stream.flush()


def as_json(results: Iterable[TimelineResult], stream: TextIO, paths: Sequence[str]) -> None:
    """One array, written when all results are known, so that it is never cut short."""
    write_json(list(results), stream)


def as_jsonl(results: Iterable[TimelineResult], stream: TextIO, paths: Sequence[str]) -> None:
    """One object per line, each as soon as it is known."""
    write_json_lines(results, stream)


def as_csv(
    results: Iterable[TimelineResult],
    stream: TextIO,
    paths: Sequence[str],
    *,
    columns: Columns = COLUMNS,
) -> None:
    """One row per segment; a video without any has one row, with its error where it failed."""
    rows = (row for result in results for row in segment_rows_of(result, columns))
    write_csv(rows, list(columns), stream)


def as_parquet(
    results: Iterable[TimelineResult],
    stream: TextIO,
    paths: Sequence[str],
    *,
    columns: Columns = COLUMNS,
) -> None:
    """The rows of the CSV, with types."""
    rows = (row for result in results for row in segment_rows_of(result, columns))
    write_parquet(rows, columns, stream)


def as_srt(results: Iterable[TimelineResult], stream: TextIO, paths: Sequence[str]) -> None:
    """Subtitles of one video, as SubRip."""
    _write_one(results, stream, to_srt)


def as_vtt(results: Iterable[TimelineResult], stream: TextIO, paths: Sequence[str]) -> None:
    """Subtitles of one video, as WebVTT."""
    _write_one(results, stream, to_vtt)


def as_otio(results: Iterable[TimelineResult], stream: TextIO, paths: Sequence[str]) -> None:
    """One video's segments as an OpenTimelineIO file."""
    _write_one(results, stream, lambda timeline: to_otio(timeline) + "\n")


def as_edl(results: Iterable[TimelineResult], stream: TextIO, paths: Sequence[str]) -> None:
    """One video's segments as an edit decision list; notes where it counts other frames."""

    def render(timeline: Timeline) -> str:
        rate = timecode_rate(timeline.fps)
        if abs(rate / timeline.fps - 1) > 0.01:
            note(
                f"{timeline.video} has {timeline.fps:.5g} frames a second, for which there are no "
                f"timecodes: the edit list counts {rate:.5g}"
            )
        return to_edl(timeline)

    _write_one(results, stream, render)


def as_html(
    results: Iterable[TimelineResult],
    stream: TextIO,
    paths: Sequence[str],
    *,
    strips: "FilmStrips | None" = None,
) -> None:
    """A page with a table of all videos, each with its time line."""
    every = list(results)
    shown = () if strips is None else strips.of([result.video for result in every])
    stream.write(render_report("timeline", every, stream, shown))


RENDERERS = {
    "table": as_table,
    "json": as_json,
    "jsonl": as_jsonl,
    "csv": as_csv,
    "parquet": as_parquet,
    "html": as_html,
    "srt": as_srt,
    "vtt": as_vtt,
    "otio": as_otio,
    "edl": as_edl,
}
# The same where labels were given, which then have a similarity.
FITTED_RENDERERS = RENDERERS | {
    "csv": partial(as_csv, columns=FITTED_COLUMNS),
    "parquet": partial(as_parquet, columns=FITTED_COLUMNS),
}
ONE_VIDEO = ("srt", "vtt", "otio", "edl")  # formats that hold one video in a file


def _write_one(
    results: Iterable[TimelineResult], stream: TextIO, render: Callable[[Timeline], str]
) -> None:
    """Write what holds nothing but segments; what else there is to say goes to stderr."""
    for result in results:
        assert isinstance(result, Timeline)
        stream.write(render(result))
        for warning in result.warnings:
            note(f"{result.video} {warning}")
        if result.status != "ok":
            complain(f"{result.video}: {_fault(result)}")


def _fault(timeline: Timeline) -> str:
    end = clock(timeline.shots[-1].end) if timeline.shots else "its start"
    return f"partial: known up to {end} only: {timeline.error}"


def segment_rows_of(
    result: TimelineResult, columns: Columns = COLUMNS
) -> Iterator[dict[str, object]]:
    """A row for each segment; a video without any has one."""
    common: dict[str, object] = {"video": result.video, "status": result.status}
    if isinstance(result, Failed):
        error = {"error_kind": result.error.kind, "error_message": result.error.message}
        yield common | error
        return
    if result.error:
        common |= {"error_kind": ErrorKind.PARTIAL, "error_message": result.error}
    if not result.segments:
        yield common
    names = [name for name in columns if hasattr(Segment, name) and name != "runner_up"]
    for segment in result.segments:
        second = segment.runner_up
        yield (
            common
            | {name: getattr(segment, name) for name in names}
            | {"runner_up": second.label if second else ""}
        )


def _print_heading(result: TimelineResult, console: Console) -> None:
    name = printable(result.video)
    if isinstance(result, Failed):
        line = Text.assemble((name, "bold"), "  ", (result.error.kind, "bold red"))
        line.append(f": {printable(result.error.message)}")
    else:
        shots = f"{len(result.shots)} shot{'' if len(result.shots) == 1 else 's'}"
        said = f"  {clock(result.duration)}, {shots}, {printable(result.model)}"
        if console.is_terminal:
            name = shortened(name, max(12, console.width - len(said)))
        line = Text.assemble((name, "bold"), said)
        if result.status != "ok":
            line.append(f"\n{printable(_fault(result))}", style="bold red")
    console.print(line, soft_wrap=True)


def _print_segments(timeline: Timeline, console: Console) -> None:
    """One row per segment, and one for each stretch in which no label was found."""
    rows = list(_rows(timeline))
    if not rows:
        return
    left, right = timeline.shots[0].start, timeline.shots[-1].end
    starts, ends = [clock(row.start) for row in rows], [clock(row.end) for row in rows]
    start, end = max(map(len, starts)), max(map(len, ends))
    times = start + 1 + end
    most = max(len(printable(row.label)) for row in rows)
    fits = any(row.similarity is not None for row in rows)
    numbers = SCORE + fits * (SIMILARITY + 2)
    console.width = max(console.width, times + SHORTEST_LABEL + numbers + 2 * 2)
    spare = console.width - times - numbers - 2 * 2
    label = max(SHORTEST_LABEL, min(most, LABEL, spare))
    axis = min(LONGEST_AXIS, spare - label - 2)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(width=times, no_wrap=True)
    table.add_column(width=label, overflow="fold")
    table.add_column(width=SCORE, justify="right", no_wrap=True)
    if fits:
        table.add_column(width=SIMILARITY, justify="right", no_wrap=True)
    if axis >= SHORTEST_AXIS:
        table.add_column(width=axis, no_wrap=True)
    for row, first, last in zip(rows, starts, ends, strict=True):
        colour = "dim" if row.score is None else "green"
        cells: list[Text | str] = [
            f"{first:>{start}}-{last:<{end}}",
            Text(label_cell(row.label), colour),
            percent(row.score),
        ]
        if fits:
            cells.append("" if row.similarity is None else f"{row.similarity:.3f}")
        if axis >= SHORTEST_AXIS:
            cells.append(Text(_axis(row, left, right, axis, console), colour))
        table.add_row(*cells)
    console.print(table)


def _rows(timeline: Timeline) -> Iterator[_Row]:
    """The segments, and between them what has no label."""
    done = timeline.shots[0].start if timeline.shots else 0.0
    for segment in timeline.segments:
        if segment.start > done:
            yield _Row(done, segment.start, NOTHING, None)
        yield _Row(segment.start, segment.end, segment.label, segment.score, segment.similarity)
        done = segment.end
    if timeline.shots and timeline.shots[-1].end > done:
        yield _Row(done, timeline.shots[-1].end, NOTHING, None)


def _axis(row: _Row, left: float, right: float, width: int, console: Console) -> str:
    """Where between `left` and `right` a row's label is: `··███····`."""
    scale = width / max(right - left, 1e-9)
    first = min(width - 1, round((row.start - left) * scale))
    last = max(first + 1, min(width, round((row.end - left) * scale)))
    full, empty = ("#", ".") if console.options.ascii_only else ("█", "·")
    if row.score is None:
        return empty * width
    return empty * first + full * (last - first) + empty * (width - last)
