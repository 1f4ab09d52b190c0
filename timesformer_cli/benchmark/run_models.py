"""Benchmark of models by name: checkpoints and exported files take turns on one clip."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from timesformer_cli.benchmark.options import ModelBenchmarkOptions
from timesformer_cli.callbacks import StepCallback, ignore_step

if TYPE_CHECKING:
    from timesformer_cli.inference.runnable import RunnableModel
    from timesformer_cli.weights.hub.locate import Located

WARMUP = 2  # turns that are not timed
# Where no number of runs is given: until the slowest model has run for SECONDS, but at least FEWEST
# and at most MOST turns.
SECONDS, FEWEST, MOST = 5.0, 5, 30


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRow:
    """The times of one model."""

    model: str
    runtime: str  # with its version
    device: str
    dtype: str
    bytes: int | None  # size of its file; None where it is a folder
    clip: tuple[int, int, int]  # frames, height, width
    batch_size: int
    median: float  # milliseconds per batch
    p10: float  # likewise
    p90: float  # likewise
    runs: int
    share: float  # its median as a share of the slowest model's


def benchmark_models(
    options: ModelBenchmarkOptions, watch: StepCallback = ignore_step
) -> tuple[ModelRow, ...]:
    """One row per model, in the order given.

    All are held in memory and take turns, so that a busy moment meets all of them. Raises
    UsageError, WeightsError, DeviceError.
    """
    import torch

    from timesformer_cli.benchmark.machine import settle
    from timesformer_cli.inference.open import open_model
    from timesformer_cli.weights.hub.locate import as_located

    total = len(options.models) + 1
    sources = [as_located(model) for model in options.models]
    models: list[RunnableModel] = []
    for number, located in enumerate(sources):
        watch(number, total, f"reading {located.name}")
        # An exported file has a device and a dtype of its own.
        place = ("auto", "auto") if located.exported else (options.device, options.dtype)
        models.append(open_model(located, *place)[0])
    watch(total - 1, total, "measuring")
    calls = [_call(model, options.batch_size) for model in models]
    times: list[list[float]] = [[] for _ in models]
    turn = 0
    with torch.inference_mode():
        while turn < WARMUP or not _enough(times, options.runs):
            for model, call, own in zip(models, calls, times, strict=True):
                began = time.perf_counter()
                call()
                settle(model.device)
                if turn >= WARMUP:
                    own.append(1000 * (time.perf_counter() - began))
            turn += 1
    slowest = max(statistics.median(own) for own in times)
    return tuple(
        _row(located, model, options, own, slowest)
        for located, model, own in zip(sources, models, times, strict=True)
    )


def _call(model: "RunnableModel", batch_size: int) -> Callable[[], object]:
    """Runs the model on one batch of random pixels."""
    import torch

    height, width = model.preprocessing.crop
    shape = (batch_size, model.sampling.frames, height, width, 3)
    clip = torch.randint(0, 256, shape, dtype=torch.uint8, device=model.device)
    return lambda: model(clip)


def _enough(times: list[list[float]], runs: int | None) -> bool:
    count = len(times[0])
    if runs is not None:
        return count >= runs
    longest = max(sum(own) for own in times) / 1000
    return count >= MOST or (count >= FEWEST and longest >= SECONDS)


def _row(
    located: "Located",
    model: "RunnableModel",
    options: ModelBenchmarkOptions,
    times: list[float],
    slowest: float,
) -> ModelRow:
    from timesformer_cli.benchmark.measure import percentiles
    from timesformer_cli.inference.exported.open import runtime_name

    p10, median, p90 = percentiles(times)
    path = located.path
    return ModelRow(
        model=located.name,
        runtime=runtime_name(path.suffix[1:] if located.exported else "torch"),
        device=str(model.device),
        dtype=str(model.dtype).removeprefix("torch."),
        bytes=path.stat().st_size if path.is_file() else None,
        clip=(model.sampling.frames, *model.preprocessing.crop),
        batch_size=options.batch_size,
        median=median,
        p10=p10,
        p90=p90,
        runs=len(times),
        share=median / slowest,
    )
