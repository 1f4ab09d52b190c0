"""What a run on a cluster writes: parts, or what is new to a library; and what came of it."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from itertools import groupby
from typing import TYPE_CHECKING, Any

from timesformer_cli.callbacks import StepCallback
from timesformer_cli.errors import UsageError
from timesformer_cli.scale.cluster import MOVER, VIDEOS, resources, rows_of_videos
from timesformer_cli.scale.stages import ClusterJob
from timesformer_cli.scale.storage import in_a_line, place_of

if TYPE_CHECKING:
    import pyarrow
    import ray.data
    from pyarrow.fs import FileSystem

    from timesformer_cli.library.embed import EmbedResult
    from timesformer_cli.library.fill import Filling

PART = 2048  # rows of a part at most; what is not in a part yet is done again after a restart
INPUTS, DONE, ASKED = "_videos", "_done", "_asked.json"  # beside the parts; `_` hides them


@dataclass(slots=True)
class ScaleSummary:
    """What became of all videos; `failures` are counted by kind."""

    videos: int = 0
    known: int = 0  # from runs before
    seconds: float = 0.0  # from the first task to the last part
    gpus: int = 0
    failures: Counter[str] = field(default_factory=Counter)


def write_parts(
    videos: "pyarrow.Table", job: ClusterJob, output: str, workers: int | None, step: StepCallback
) -> ScaleSummary:
    """Work through the videos that no part in `output` has yet, and write parts. Raises TsfError.

    Ray Data's checkpoint commits the videos of a part after the part is written, and removes what a
    killed run left half written. Which videos are known is asked here, once: Ray's own filter
    takes a processor and a gigabyte for it, which a small machine does not have.
    """
    from pyarrow import compute
    from ray.data.checkpoint import CheckpointConfig

    filesystem, folder = place_of(output)
    _require_same(filesystem, folder, output, job)
    summary = ScaleSummary(videos=len(videos))
    done = _committed(filesystem, f"{folder}/{DONE}")
    if done is not None:
        videos = videos.filter(compute.invert(compute.is_in(videos["video"], done)))
    summary.known = summary.videos - len(videos)
    if len(videos):
        with rows_of_videos(
            filesystem, f"{folder}/{INPUTS}", videos, job, workers, step
        ) as results:
            results.context.checkpoint_config = CheckpointConfig(
                id_column="video",
                checkpoint_path=f"{folder}/{DONE}",
                override_filesystem=filesystem,
                delete_checkpoint_on_success=False,
                checkpoint_manager_cls=_only_cleaned(),
            )
            began = time.monotonic()
            results.write_parquet(
                folder,
                filesystem=filesystem,
                min_rows_per_file=max(VIDEOS, min(PART, len(videos) // 64)),
                compression="zstd",
                ray_remote_args={"num_cpus": MOVER},
            )
            summary.seconds = time.monotonic() - began
    summary.gpus = int(resources("GPU"))
    summary.failures = _failures(filesystem, folder)
    return summary


def fill_library(
    videos: "pyarrow.Table",
    job: ClusterJob,
    filling: "Filling",
    scratch: str,
    workers: int | None,
    step: StepCallback,
) -> ScaleSummary:
    """Embed the videos that the library does not know; this process alone writes to it.

    A local file is known by its size and time of change, any other by its name. `scratch` is a
    folder for the list of videos. Raises TsfError.
    """
    import pyarrow
    from pyarrow import compute
    from pyarrow.fs import LocalFileSystem

    from timesformer_cli.inference.classify import Failed

    summary = ScaleSummary(videos=len(videos))
    facts = {row["video"]: _facts(row) for row in videos.to_pylist()}
    wanted = pyarrow.array(sorted(filling.unknown(facts)), pyarrow.string())
    videos = videos.filter(compute.is_in(videos["video"], wanted))
    summary.known = summary.videos - len(videos)
    if len(videos):
        with rows_of_videos(LocalFileSystem(), scratch, videos, job, workers, step) as results:
            began = time.monotonic()
            for result in filling.write(_results(results)):
                if isinstance(result, Failed):
                    summary.failures[result.error.kind] += 1
            summary.seconds = time.monotonic() - began
    summary.gpus = int(resources("GPU"))
    return summary


def _facts(row: dict[str, Any]) -> tuple[int, int]:
    from timesformer_cli.library.store import file_facts

    try:
        return file_facts(row["source"]) if row["offset"] < 0 else (row["size"], 0)
    except OSError:
        return row["size"], 0


def _results(results: "ray.data.Dataset") -> "Iterator[EmbedResult]":
    from timesformer_cli.library.write import embedded_of_rows

    batches: Any = results.iter_batches(batch_format="pyarrow", batch_size=None)
    for batch in batches:
        for _, rows in groupby(batch.to_pylist(), key=lambda row: row["video"]):
            yield embedded_of_rows(list(rows))


def _only_cleaned() -> type:
    """A manager of checkpoints that removes what is half written, and filters nothing."""
    from ray.data.checkpoint.checkpoint_filter import CheckpointManager

    class OnlyCleaned(CheckpointManager):
        def load_checkpoint(
            self, data_file_dir: Any = None, data_file_filesystem: Any = None
        ) -> Any:
            self._clean_pending_checkpoints(data_file_dir, data_file_filesystem)
            return None, 0

    return OnlyCleaned


def _committed(filesystem: "FileSystem", folder: str) -> "pyarrow.ChunkedArray | None":
    """The videos whose parts are written; None where there are none."""
    import pyarrow
    from pyarrow import parquet

    paths = [path for path in _files(filesystem, folder) if not path.endswith(".pending.parquet")]
    tables = [parquet.read_table(path, filesystem=filesystem, columns=["video"]) for path in paths]
    return pyarrow.concat_tables(tables)["video"] if tables else None


def _files(filesystem: "FileSystem", folder: str) -> list[str]:
    from pyarrow.fs import FileSelector

    there = filesystem.get_file_info(FileSelector(folder, allow_not_found=True))
    return sorted(
        entry.path for entry in there if entry.is_file and entry.path.endswith(".parquet")
    )


def _failures(filesystem: "FileSystem", folder: str) -> Counter[str]:
    """The videos that have no answer, by kind of error, in all parts."""
    from pyarrow import parquet

    counts: Counter[str] = Counter()
    for path in _files(filesystem, folder):
        columns = ["status", "error_kind"]
        table = parquet.read_table(path, filesystem=filesystem, columns=columns)
        for status, kind in zip(*(table[name].to_pylist() for name in columns), strict=True):
            counts[kind] += status == "error"
    return +counts


def _require_same(filesystem: "FileSystem", folder: str, output: str, job: ClusterJob) -> None:
    """Say in the folder what was asked for; raises UsageError where it is another run's."""
    asked = _asked(job)
    place = f"{folder}/{ASKED}"
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
        if _files(filesystem, folder):
            raise UsageError(f"{output}: has Parquet files of others; give another folder")
        with filesystem.open_output_stream(place) as file:
            file.write(json.dumps(asked, indent=1).encode() + b"\n")
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
