"""`tsf merge`: the answers of several machines as one file."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from timesformer_cli.cli import options
from timesformer_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from timesformer_cli.files import AnyFile

NAMED = 3  # videos that an error names; the others are counted


def merge(
    parts: Annotated[
        list[Path],
        typer.Argument(
            metavar="PART",
            help="What tsf classify, timeline or embed wrote: .jsonl, .csv or .parquet, all alike.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The file to write.", show_default=False),
    ],
    of: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VIDEO",
            help="What the parts are of, as those commands were given it: a file, a folder, a glob, "
            "or - for paths on stdin; may be repeated. A video that is in no part is an error.",
            show_default="not checked",
        ),
    ] = None,
    fps: options.FramesPerSecond = None,
    quiet: options.Quiet = False,
    debug: options.Debug = False,
) -> None:
    """Make one file of the parts that runs with --shard wrote.

    Example: tsf merge part-*.jsonl -o labels.jsonl --of videos/
    """
    from timesformer_cli.cli.answers import find_videos_named
    from timesformer_cli.cli.formats import csv_cell, require_writable
    from timesformer_cli.cli.stderr import (
        claiming,
        errors_explained,
        quietly,
        stderr,
        terminated_in_order,
    )
    from timesformer_cli.files import delivering

    with errors_explained(debug), quietly(quiet), claiming(output):
        suffixes = {path.suffix.lower() for path in (*parts, output)}
        known = suffixes.pop()
        if suffixes or known not in JOINED:
            raise UsageError(
                f"parts and --output have one suffix, of {', '.join(JOINED)}; see tsf merge --help"
            )
        inputs: list[AnyFile] = [*parts]
        require_writable(output, inputs)
        expected: set[str] | None = None
        if of is not None:
            videos, needed = find_videos_named(of, fps)
            require_writable(output, [*inputs, *needed])
            expected = {
                str(csv_cell(video.path)) if known == ".csv" else video.path for video in videos
            }
        seen: dict[str, Path] = {}
        try:
            with terminated_in_order(), delivering(output) as part:
                for path, video in JOINED[known](parts, part):
                    if seen.setdefault(video, path) is not path:
                        raise UsageError(f"{video} is in {seen[video]} and in {path}")
                if expected is not None:
                    _require_all(expected, set(seen))
        except OSError as error:
            raise UsageError(f"{error.filename or output}: {error.strerror}") from error
        stderr().print(f"[dim]{len(seen)} videos of {len(parts)} parts[/]")
    raise typer.Exit(ExitCode.OK)


def _require_all(expected: set[str], seen: set[str]) -> None:
    """Raise UsageError where videos are in no part, or parts have others."""
    for some, what in (
        (expected - seen, "in no part"),
        (seen - expected, "in a part, and not among those of --of"),
    ):
        if some:
            first = ", ".join(sorted(some)[:NAMED]) + (", ..." if len(some) > NAMED else "")
            count = f"{len(some)} videos are" if len(some) > 1 else "a video is"
            raise UsageError(f"{count} {what}: {first}")


# Each writes the parts into one file, and tells on the way which videos are in them.
Videos = Iterator[tuple[Path, str]]


def _join_lines(parts: Sequence[Path], target: Path) -> Videos:
    with target.open("wb") as file:
        for path in parts:
            with path.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    yield path, _video_of(line, f"{path}, line {number}")
                    file.write(line.rstrip(b"\n") + b"\n")


def _video_of(line: bytes, where: str) -> str:
    try:
        value = json.loads(line)
        return str(value["video"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{where}: is no answer of a video; was its run stopped?") from error


def _join_tables(parts: Sequence[Path], target: Path) -> Videos:
    heading: list[str] = []
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        for path in parts:
            with path.open(encoding="utf-8", newline="") as lines:
                rows = csv.reader(lines)
                own = next(rows, [])
                if not heading:
                    writer.writerow(heading := own)
                if own != heading or "video" not in own:
                    raise UsageError(f"{path}: has other columns than {parts[0]}")
                before = None
                for row in rows:
                    if len(row) != len(heading):
                        raise UsageError(
                            f"{path}, line {rows.line_num}: has {len(row)} cells of {len(heading)}"
                        )
                    video = row[heading.index("video")]
                    if video != before:  # the rows of a video follow one another
                        yield path, video
                    before = video
                    writer.writerow(row)


def _join_parquet(parts: Sequence[Path], target: Path) -> Videos:
    from timesformer_cli.parquet import require_parquet

    require_parquet()
    import pyarrow
    from pyarrow import parquet

    writer: Any = None
    try:
        for path in parts:
            try:
                file = parquet.ParquetFile(path)
            except pyarrow.ArrowInvalid as error:
                raise UsageError(f"{path}: is no Parquet file") from error
            with file:
                if writer is None:
                    writer = parquet.ParquetWriter(target, file.schema_arrow, compression="zstd")
                if not file.schema_arrow.equals(writer.schema, check_metadata=True):
                    raise UsageError(f"{path}: has other columns than {parts[0]}")
                before = None
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group)
                    for video in table.column("video").to_pylist():
                        if video != before:
                            yield path, video
                        before = video
                    writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


JOINED: dict[str, Callable[[Sequence[Path], Path], Videos]] = {
    ".jsonl": _join_lines,
    ".csv": _join_tables,
    ".parquet": _join_parquet,
}
