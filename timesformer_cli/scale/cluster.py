"""The cluster, and the pipeline on it: from a table of videos to rows, not yet written."""

import logging
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any

from timesformer_cli.callbacks import StepCallback
from timesformer_cli.errors import TsfError, UsageError
from timesformer_cli.inference.classify import ClassifyOptions
from timesformer_cli.scale.inputs import Input, is_shard, members, to_table
from timesformer_cli.scale.stages import ClusterJob, DecodeStage, ModelStage, WindowStage
from timesformer_cli.scale.storage import in_a_line

if TYPE_CHECKING:
    import pyarrow
    import ray.data
    from pyarrow.fs import FileSystem

# Of a processor. Two actors to each: while one waits for storage or for the other's batch, the
# other works. What only moves rows is given next to nothing, or it would wait for an actor's end.
ACTOR, MOVER = 0.45, 0.05
STORE = 1 << 30  # bytes of a local cluster's object store, where clips wait for the model
BLOCK = 32 << 20  # bytes of clips that travel together
VIDEOS = 16  # of a task
LISTED = 4096  # videos of a file that lists them


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
    for last in (False, True):
        try:
            ray.init(**how, log_to_driver=debug, logging_level=level)
            break
        except Exception as error:  # it raises plain ones, too
            ray.shutdown()
            if address is None and not last:  # a busy machine is not up in Ray's 30 seconds
                continue
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

    look: Any = ray.remote(num_cpus=ACTOR)(members)
    found = list(inputs)
    inside = {one.source: look.remote(one.source) for one in found if is_shard(one)}
    return to_table(
        member
        for one in found
        for member in (ray.get(inside[one.source]) if one.source in inside else [one])
    )


@contextmanager
def rows_of_videos(
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
    gpus = int(resources("GPU")) if job.options.device.startswith(("auto", "cuda")) else 0
    if job.options.device.startswith("cuda") and not gpus:
        raise UsageError(f"--device {job.options.device}: the cluster has no GPU")
    room = max(1, int(resources("CPU") / ACTOR))
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


def resources(name: str) -> float:
    import ray

    return float(ray.cluster_resources().get(name, 0))  # type: ignore[no-untyped-call]
