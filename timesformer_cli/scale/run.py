"""The cluster, the pipeline on it, the parts that it writes, and what came of it."""

import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from math import ceil
from typing import TYPE_CHECKING, Any

from timesformer_cli.callbacks import StepCallback
from timesformer_cli.errors import TsfError, UsageError
from timesformer_cli.inference.classify import ClassifyOptions
from timesformer_cli.scale.inputs import Input, is_shard, members, to_table
from timesformer_cli.scale.stages import ClusterJob, DecodeStage, ModelStage, WindowStage
from timesformer_cli.scale.storage import in_a_line, place_of

if TYPE_CHECKING:
    import pyarrow
    import ray.data
    from pyarrow.fs import FileSystem

    from timesformer_cli.library.embed import EmbedResult
    from timesformer_cli.library.fill import Filling

# Of a processor. Two actors to each: while one waits for storage or for the other's batch, the
# other works. What only moves rows is given next to nothing, or it would wait for an actor's end.
ACTOR, MOVER = 0.45, 0.05
STORE = 1 << 30  # bytes of a local cluster's object store, where clips wait for the model
BLOCK = 32 << 20  # bytes of clips that travel together
VIDEOS = 16  # of a task
LISTED = 4096  # videos of a file that lists them
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


@contextmanager
def cluster(address: str | None, *, debug: bool = False) -> Iterator[None]:
    """A connection to the cluster at this address, or one of this machine's own. Raises TsfError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported anywhere
    if not debug:
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # its errors come as exceptions
    if address is None:  # without this, Ray listens where other machines can reach it
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    import ray

    how: dict[str, Any] = {"address": address}
    if address is None:
        processors = max(2, os.cpu_count() or 1)
        how = {
            "num_cpus": processors,
            "include_dashboard": False,
            "object_store_memory": STORE,
        }
    level = logging.INFO if debug else logging.CRITICAL
    try:
        ray.init(**how, log_to_driver=debug, logging_level=level)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = "on this machine" if address is None else f"at {address}"
        raise TsfError(f"no Ray cluster {where}: {in_a_line(error)}") from error
    try:
        yield
    except ray.exceptions.RayError as error:
        raise _of_ours(error) from error
    finally:
        ray.shutdown()


def _of_ours(error: Exception) -> Exception:
    """The error that an actor met, where it is one of ours; else Ray's in a line."""
    seen: BaseException | None = error
    while seen is not None:
        for found in (seen, getattr(seen, "cause", None)):
            if isinstance(found, TsfError):
                return found
        seen = seen.__cause__
    return TsfError(f"Ray: {in_a_line(error)[-300:]}")


def listed(inputs: Iterable[Input]) -> "pyarrow.Table":
    """The inputs with the members of shards in their shards' place, each video once."""
    import ray

    look: Any = ray.remote(num_cpus=ACTOR)(lambda shard: list(members(shard)))
    found = list(inputs)
    inside = {one.source: look.remote(one.source) for one in found if is_shard(one)}
    return to_table(
        member
        for one in found
        for member in (ray.get(inside[one.source]) if one.source in inside else [one])
    )


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
        with _pipeline(filesystem, f"{folder}/{INPUTS}", videos, job, workers, step) as results:
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
    summary.gpus = int(_resources("GPU"))
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
        with _pipeline(LocalFileSystem(), scratch, videos, job, workers, step) as results:
            began = time.monotonic()
            for result in filling.write(_results(results)):
                if isinstance(result, Failed):
                    summary.failures[result.error.kind] += 1
            summary.seconds = time.monotonic() - began
    summary.gpus = int(_resources("GPU"))
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


@contextmanager
def _pipeline(
    filesystem: "FileSystem",
    folder: str,
    videos: "pyarrow.Table",
    job: ClusterJob,
    workers: int | None,
    step: StepCallback,
) -> "Iterator[ray.data.Dataset]":
    """The rows of all videos, not yet computed; until the block ends, `step` hears of the count."""
    import ray.data
    from pyarrow import parquet

    clips = isinstance(job.options, ClassifyOptions)
    _configure(BLOCK if clips else None)  # a video's windows are never parted
    filesystem.create_dir(folder, recursive=True)
    filesystem.delete_dir_contents(folder)
    for first in range(0, len(videos), LISTED):
        with filesystem.open_output_stream(f"{folder}/{first:010}.parquet") as file:
            parquet.write_table(videos.slice(first, LISTED), file)
    of_a_task = VIDEOS if clips else 1
    gpus = int(_resources("GPU")) if job.options.device.startswith(("auto", "cuda")) else 0
    if job.options.device.startswith("cuda") and not gpus:
        raise UsageError(f"--device {job.options.device}: the cluster has no GPU")
    room = max(1, int(_resources("CPU") / ACTOR))
    decoders = min(workers or room, room, ceil(len(videos) / of_a_task))
    tally = _tally()
    rows = ray.data.read_parquet(
        folder,
        filesystem=filesystem,
        num_cpus=MOVER,
        override_num_blocks=ceil(len(videos) / of_a_task),
    )
    stage: type = WindowStage
    if clips:
        pool = ray.data.ActorPoolStrategy(min_size=1, max_size=decoders)
        rows = rows.map_batches(
            DecodeStage,
            fn_constructor_args=(job,),
            batch_size=of_a_task,
            batch_format="pyarrow",
            num_cpus=ACTOR,
            compute=pool,
        )
        stage = ModelStage
    pool = ray.data.ActorPoolStrategy(min_size=1, max_size=gpus or room)
    rows = rows.map_batches(
        stage,
        fn_constructor_args=(job, tally),
        batch_size=of_a_task,
        batch_format="pyarrow",
        num_cpus=ACTOR,
        num_gpus=1 if gpus else 0,
        compute=pool,
    )
    ended = threading.Event()
    doing = "embedding" if job.vectors else "classifying" if clips else "following"
    watch = threading.Thread(target=_watch, args=(tally, len(videos), doing, step, ended))
    watch.start()
    try:
        yield rows
    finally:
        ended.set()
        watch.join()


def _configure(block: int | None) -> None:
    import ray.data

    context = ray.data.DataContext.get_current()
    context.target_max_block_size = block
    context.enable_progress_bars = context.print_on_execution_start = False
    context.use_datasource_v2 = False  # it starts 32 actors to read a list
    if logging.getLogger("ray").level >= logging.CRITICAL:
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)


def _tally() -> Any:
    """An actor beside the driver that counts; what is done again after a loss counts again."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    class Tally:
        def __init__(self) -> None:
            self.videos = 0

        def add(self, videos: int) -> int:
            self.videos += videos
            return self.videos

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    made: Any = ray.remote(Tally)
    return made.options(num_cpus=0, scheduling_strategy=here).remote()


def _watch(tally: Any, total: int, doing: str, step: StepCallback, ended: threading.Event) -> None:
    import ray

    while not ended.wait(1.0):
        try:
            step(min(total, ray.get(tally.add.remote(0), timeout=5)), total, doing)
        except ray.exceptions.RayError:  # the driver says what is wrong
            continue


def _resources(name: str) -> float:
    import ray

    return float(ray.cluster_resources().get(name, 0))  # type: ignore[no-untyped-call]


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
    from dataclasses import fields

    elsewhere = ("model", "device", "debug", "timeout", "workers", "batch_size", "compile")
    options = {
        one.name: str(getattr(job.options, one.name))
        for one in fields(job.options)
        if one.name not in elsewhere
    }
    kind = "vectors" if job.vectors else type(job.options).__name__.removesuffix("Options").lower()
    return options | {"answer": kind, "revision": job.revision, "normalise": str(job.normalise)}
