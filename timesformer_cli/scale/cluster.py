"""The cluster, and the pipeline on it: from a table of videos to rows of the answer, as they come."""

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from timesformer_cli.errors import TsfError, UsageError
from timesformer_cli.inference.classify import ClassifyOptions
from timesformer_cli.scale.inputs import Input, is_shard, members, to_table
from timesformer_cli.scale.stages import ClipStage, ClusterJob, DecodeStage, ModelStage, WindowStage
from timesformer_cli.scale.storage import in_a_line

if TYPE_CHECKING:
    import pyarrow

STORE = 1 << 30  # bytes of a local cluster's object store
BLOCK = 32 << 20  # bytes of clips that travel together to a GPU
VIDEOS = 64  # of a task at most: what is done again where a machine is lost
ROUNDS = 4  # tasks of each actor at least, where there are few videos


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
        how = {"num_cpus": processors, "include_dashboard": False, "object_store_memory": STORE}
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

    look: Any = ray.remote(members)
    found = list(inputs)
    inside = {one.source: look.remote(one.source) for one in found if is_shard(one)}
    return to_table(
        member
        for one in found
        for member in (ray.get(inside[one.source]) if one.source in inside else [one])
    )


def rows_of_videos(
    videos: "pyarrow.Table", job: ClusterJob, workers: int | None
) -> "Iterator[pyarrow.Table]":
    """The rows of all videos as they come, in no order; those of one video come together.

    Without GPUs a clip stays in the process that decoded it. With some, clips travel from the
    decoders of all machines to one actor on each GPU.
    """
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    if logging.getLogger("ray").level >= logging.CRITICAL:
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    device = job.options.device
    gpus = int(resources("GPU")) if device.startswith(("auto", "cuda")) else 0
    if device.startswith("cuda") and not gpus:
        raise UsageError(f"--device {device}: the cluster has no GPU")
    clips = isinstance(job.options, ClassifyOptions)
    apart = clips and gpus > 0
    context.target_max_block_size = BLOCK if apart else None  # a video's windows are never parted
    actors = max(1, int(resources("CPU")))
    of_a_task = max(1, min(VIDEOS, len(videos) // (ROUNDS * actors)))
    starts = range(0, len(videos), of_a_task)
    rows: Any = ray.data.from_blocks([videos.slice(at, of_a_task) for at in starts])

    def on_actors(stage: type, most: int, of_a_gpu: int = 0) -> Any:
        most = min(most, len(starts))
        return rows.map_batches(
            stage,
            fn_constructor_args=(job,),
            batch_size=of_a_task,
            batch_format="pyarrow",
            num_cpus=0 if of_a_gpu else 1,  # or decoders could leave a GPU's machine no processor
            num_gpus=of_a_gpu,
            compute=ray.data.ActorPoolStrategy(min_size=1, initial_size=most, max_size=most),
        )

    most = min(workers or actors, actors)
    if apart:
        rows = on_actors(DecodeStage, most)
    stage = ModelStage if apart else ClipStage if clips else WindowStage
    rows = on_actors(stage, gpus, 1) if gpus else on_actors(stage, most)
    yield from rows.iter_batches(batch_format="pyarrow", batch_size=None)


def resources(name: str) -> float:
    """How much the cluster has of it, in all."""
    import ray

    return float(ray.cluster_resources().get(name, 0))  # type: ignore[no-untyped-call]
