"""What a run on a cluster writes: parts, or what is new to a library; and what came of it.

The rows come to the process that the user started, and it alone writes. So a video is known when its
row is in a part, and no other record is kept.
"""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import groupby
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from timesformer_cli.callbacks import StepCallback
from timesformer_cli.errors import UsageError
from timesformer_cli.files import replace_file
from timesformer_cli.scale.cluster import resources, rows_of_videos
from timesformer_cli.scale.stages import ClusterJob
from timesformer_cli.scale.storage import in_a_line, place_of

if TYPE_CHECKING:
    import pyarrow
    from pyarrow.fs import FileSystem

    from timesformer_cli.library.embed import EmbedResult
    from timesformer_cli.library.fill import Filling

# A part has so many rows, or what came in so many seconds; a killed run does it again.
PART, SECONDS = 2048, 30.0
ASKED = "_asked.json"  # beside the parts; `_` hides it


@dataclass(slots=True)
class ScaleSummary:
    """What became of all videos; `failures` are counted by kind."""

    videos: int = 0
    known: int = 0  # from runs before
    seconds: float = 0.0  # from the first task to the last row
    gpus: int = 0
    failures: Counter[str] = field(default_factory=Counter)


def write_parts(
    videos: "pyarrow.Table", job: ClusterJob, output: str, workers: int | None, step: StepCallback
) -> ScaleSummary:
    """Work through the videos that no part in `output` has yet, and write parts. Raises TsfError."""
    import pyarrow
    from pyarrow import compute, parquet

    filesystem, folder = place_of(output)
    _require_same(filesystem, folder, output, job)
    summary = ScaleSummary(videos=len(videos))
    known = set[str]()
    for path in _parts(filesystem, folder):
        columns = ["video", "status", "error_kind"]
        part = parquet.read_table(path, filesystem=filesystem, columns=columns)
        known.update(part["video"].to_pylist())
        summary.failures += _failures(part)
    told = pyarrow.array(sorted(known), pyarrow.string())
    videos = videos.filter(compute.invert(compute.is_in(videos["video"], told)))
    waiting: list[pyarrow.Table] = []
    since = time.monotonic()

    def flush() -> None:
        sink = pyarrow.BufferOutputStream()
        parquet.write_table(pyarrow.concat_tables(waiting), sink, compression="zstd")
        _put(filesystem, f"{folder}/{token_hex(8)}.parquet", sink.getvalue())
        waiting.clear()

    try:
        for rows in _rows(videos, job, workers, step, summary):
            waiting.append(rows)
            if sum(map(len, waiting)) >= PART or time.monotonic() - since > SECONDS:
                flush()
                since = time.monotonic()
    finally:
        if waiting:
            flush()
    return summary


def fill_library(
    videos: "pyarrow.Table",
    job: ClusterJob,
    filling: "Filling",
    workers: int | None,
    step: StepCallback,
) -> ScaleSummary:
    """Embed the videos that the library does not know.

    A local file is known by its size and time of change, any other by its name. Raises TsfError.
    """
    import pyarrow
    from pyarrow import compute

    summary = ScaleSummary(videos=len(videos))
    facts = {row["video"]: _facts(row) for row in videos.to_pylist()}
    wanted = pyarrow.array(sorted(filling.unknown(facts)), pyarrow.string())
    videos = videos.filter(compute.is_in(videos["video"], wanted))
    for _ in filling.write(_results(_rows(videos, job, workers, step, summary))):
        pass
    return summary


def _rows(
    videos: "pyarrow.Table",
    job: ClusterJob,
    workers: int | None,
    step: StepCallback,
    summary: ScaleSummary,
) -> "Iterator[pyarrow.Table]":
    """The rows of the videos that are to be done, counted as they come."""
    from pyarrow import compute

    summary.known = summary.videos - len(videos)
    summary.gpus = int(resources("GPU"))
    if not len(videos):
        return
    began, done = time.monotonic(), 0
    doing = "embedding" if job.vectors else "classifying" if job.clips else "following"
    step(done, len(videos), doing)
    for rows in rows_of_videos(videos, job, workers):
        summary.failures += _failures(rows)
        done += compute.count_distinct(rows["video"]).as_py()
        step(done, len(videos), doing)
        yield rows
    summary.seconds = time.monotonic() - began


def _failures(rows: "pyarrow.Table") -> Counter[str]:
    """The videos that have no answer, by kind of error."""
    states = zip(rows["status"].to_pylist(), rows["error_kind"].to_pylist(), strict=True)
    return Counter(kind for status, kind in states if status == "error")


def _facts(row: dict[str, Any]) -> tuple[int, int]:
    from timesformer_cli.library.store import file_facts

    try:
        return file_facts(row["source"]) if row["offset"] < 0 else (row["size"], 0)
    except OSError:
        return row["size"], 0


def _results(tables: "Iterator[pyarrow.Table]") -> "Iterator[EmbedResult]":
    from timesformer_cli.library.write import embedded_of_rows

    for table in tables:
        for _, rows in groupby(table.to_pylist(), key=lambda row: row["video"]):
            yield embedded_of_rows(list(rows))


def _parts(filesystem: "FileSystem", folder: str) -> list[str]:
    from pyarrow.fs import FileSelector

    there = filesystem.get_file_info(FileSelector(folder, allow_not_found=True))
    return sorted(
        entry.path for entry in there if entry.is_file and entry.path.endswith(".parquet")
    )


def _put(filesystem: "FileSystem", place: str, content: Any) -> None:
    """Write a small file, which appears whole; raises TsfError or OSError."""
    from pyarrow.fs import LocalFileSystem

    if isinstance(filesystem, LocalFileSystem):
        replace_file(Path(place), memoryview(content))
        return
    with filesystem.open_output_stream(place) as file:
        file.write(content)


def _require_same(filesystem: "FileSystem", folder: str, output: str, job: ClusterJob) -> None:
    """Say in the folder what was asked for; raises UsageError where it is another run's."""
    asked, place = _asked(job), f"{folder}/{ASKED}"
    try:
        filesystem.create_dir(folder, recursive=True)
        if filesystem.get_file_info(place).is_file:
            with filesystem.open_input_stream(place) as file:
                before = json.loads(file.read())
            other = sorted(name for name in asked if before.get(name) != asked[name])
            if other:
                raise UsageError(
                    f"{output}: was begun with another {', '.join(other)}; give the same, or "
                    "another folder"
                )
            return
        if _parts(filesystem, folder):
            raise UsageError(f"{output}: has Parquet files of others; give another folder")
        _put(filesystem, place, json.dumps(asked, indent=1).encode() + b"\n")
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({in_a_line(error)})") from error


def _asked(job: ClusterJob) -> dict[str, str]:
    """All that the answer depends on, but for the videos and where it is computed."""
    elsewhere = ("model", "device", "debug", "timeout", "workers", "batch_size", "compile")
    options = {
        one.name: str(getattr(job.options, one.name))
        for one in fields(job.options)
        if one.name not in elsewhere
    }
    kind = "vectors" if job.vectors else type(job.options).__name__.removesuffix("Options").lower()
    return options | {"answer": kind, "revision": job.revision, "normalise": str(job.normalise)}
