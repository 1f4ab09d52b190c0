"""Classification results as a table, JSON, JSON lines or CSV."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from timesformer_cli.cli.formats import (
    BAR,
    bar,
    percent,
    shortened,
    write_csv,
    write_json,
    write_json_line,
    writing,
)
from timesformer_cli.cli.stderr import complain, note, printable, stderr
from timesformer_cli.errors import ExitCode, UsageError
from timesformer_cli.inference.classify import Failed, Result, result_to_dict

if TYPE_CHECKING:
    from timesformer_cli.video import VideoPath


SUFFIX = {"table": ".txt", "json": ".json", "jsonl": ".jsonl", "csv": ".csv"}
LABEL = 26  # characters of a label's column
CSV_COLUMNS = (
    "video status rank label index score model device dtype decoder error_kind error_message"
).split()


def show_results(
    results: Iterable[Result], format: str, output: Path | None, videos: "Sequence[VideoPath]"
) -> ExitCode:
    """Write results as they come; return the exit code, which says whether all videos were read.

    A file at `output` appears whole or not at all.
    """
    if not videos:
        raise UsageError("no videos given")
    paths = [video.path for video in videos]
    statuses: list[str] = []

    def passing() -> Iterator[Result]:
        for result in results:
            statuses.append(result.status)
            yield result

    with writing(output) as stream:
        RENDERERS[format](passing(), stream, paths)
    return _summary(statuses)


def answer_files(videos: "Sequence[VideoPath]", folder: Path, format: str) -> dict[str, Path]:
    """For each video that is there, its own file: below `folder` as it lies below what all share.

    Raises UsageError where such a file would take a video's place.

        a/x.mp4, b/x.mp4  ->  folder/a/x.mp4.json, folder/b/x.mp4.json
    """
    if not videos:
        raise UsageError("no videos given")
    there = {video.path: os.path.abspath(video.path) for video in videos if video.error is None}
    try:
        shared = os.path.commonpath([os.path.dirname(place) for place in there.values()] or [""])
    except ValueError as error:  # on Windows
        raise UsageError("--output-dir takes the videos of one disk at a time") from error
    answers = {
        video: folder / (os.path.relpath(place, shared) + SUFFIX[format])
        for video, place in there.items()
    }
    sources = {os.path.realpath(place) for place in there.values()}
    for answer in answers.values():
        if os.path.realpath(answer) in sources:
            raise UsageError(f"{answer}: is the same file as a video; give another --output-dir")
    return answers


def write_each(results: Iterable[Result], format: str, answers: dict[str, Path]) -> ExitCode:
    """Write each result, as it comes, into its own file; a video that failed is only named.

    A file appears whole or not at all, and takes the place of an earlier one.
    """
    statuses = []
    for result in results:
        statuses.append(result.status)
        if isinstance(result, Failed):
            complain(f"{result.video}: {result.error.kind}: {result.error.message}")
            continue
        answer = answers[result.video]
        try:
            answer.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{answer}: cannot be written ({error.strerror})") from error
        with writing(answer) as stream:
            RENDERERS[format]([result], stream, [result.video])
    return _summary(statuses)


def _summary(statuses: Sequence[str]) -> ExitCode:
    """Say how many videos failed, and that in an exit code."""
    failed = sum(status != "ok" for status in statuses)
    if len(statuses) > 1:
        stderr().print(f"[dim]{len(statuses)} videos, {failed} failed[/]")
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


def as_table(results: Iterable[Result], stream: TextIO, paths: Sequence[str]) -> None:
    """One block of rows per video; all blocks have the same columns."""
    console = Console(file=stream, highlight=False)
    longest = max(len(printable(path)) for path in paths)
    rest = LABEL + BAR + len("100.0 %") + 3 * 2
    if console.is_terminal:
        longest = min(longest, max(12, console.width - rest))
    else:
        console.width = max(console.width, longest + rest)
    for number, result in enumerate(results):
        table = Table(box=None, show_header=number == 0, padding=(0, 2, 0, 0), pad_edge=False)
        table.add_column("video", width=longest, no_wrap=True)
        table.add_column("label", width=LABEL)
        table.add_column("score", width=len("100.0 %"), justify="right")
        table.add_column("", width=BAR, no_wrap=True)
        name = shortened(printable(result.video), longest)
        if isinstance(result, Failed):
            # The reason is as wide as all other columns together, so it is a line, not a row.
            console.print(table) if number == 0 else None
            line = Text.assemble((name.ljust(longest + 2), ""), (result.error.kind, "bold red"))
            line.append(f": {printable(result.error.message)}")
            console.print(line, soft_wrap=True)
            continue
        for rank, prediction in enumerate(result.predictions):
            table.add_row(
                Text(name if rank == 0 else "", style="bold"),
                Text(printable(prediction.label), style="green" if rank == 0 else ""),
                percent(prediction.score),
                Text(bar(prediction.score, console), style="green" if rank == 0 else "dim"),
            )
        console.print(table)
        for warning in result.warnings:
            note(f"{result.video} {warning}")


def as_json(results: Iterable[Result], stream: TextIO, paths: Sequence[str]) -> None:
    """One array, written when all results are known, so that it is never cut short."""
    write_json([result_to_dict(result) for result in results], stream)


def as_jsonl(results: Iterable[Result], stream: TextIO, paths: Sequence[str]) -> None:
    """One object per line, each as soon as it is known."""
    for result in results:
        write_json_line(result_to_dict(result), stream)
        stream.flush()


def as_csv(results: Iterable[Result], stream: TextIO, paths: Sequence[str]) -> None:
    """One row per prediction; a video that failed has one row with its error."""
    rows = (row for result in results for row in _csv_rows(result))
    write_csv(rows, CSV_COLUMNS, stream)


RENDERERS = {"table": as_table, "json": as_json, "jsonl": as_jsonl, "csv": as_csv}


def _csv_rows(result: Result) -> Iterator[dict[str, object]]:
    common = {"video": result.video, "status": result.status}
    if isinstance(result, Failed):
        error = {"error_kind": result.error.kind, "error_message": result.error.message}
        yield {**common, **error}
        return
    ran = {name: getattr(result, name) for name in ("model", "device", "dtype", "decoder")}
    for rank, prediction in enumerate(result.predictions, start=1):
        said = {"label": prediction.label, "index": prediction.index, "score": prediction.score}
        yield {**common, "rank": rank, **said, **ran}
