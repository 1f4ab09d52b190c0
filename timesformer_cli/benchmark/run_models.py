"""Benchmark of models by name: exported files beside checkpoints, turn by turn on one clip."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from timesformer_cli.benchmark.options import ModelBenchmarkOptions
from timesformer_cli.callbacks import StepCallback, ignore_step
from timesformer_cli.inference.exported.open import runtime_name

if TYPE_CHECKING:
    from timesformer_cli.inference.open import RunnableModel
    from timesformer_cli.weights.hub.locate import Located

WARMUP, FEWEST, MOST = 2, 5, 30
SECONDS = 5.0  # of one model's runs, where their number was not given


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRow:
    """One model: milliseconds a batch, and `share`, its median over the slowest one's.

    `bytes` is the size of its file, None where it is not one.
    """

    model: str
    runtime: str
    device: str
    dtype: str
    bytes: int | None
    clip: tuple[int, int, int]
    batch_size: int
    median: float
    p10: float
    p90: float
    runs: int
    share: float


def benchmark_models(
    options: ModelBenchmarkOptions, watch: StepCallback = ignore_step
) -> tuple[ModelRow, ...]:
    """A row a model, in the order given; all are held in memory and take turns.

    Raises UsageError, WeightsError, DeviceError.
    """
    import torch

    from timesformer_cli.benchmark.machine import settle
    from timesformer_cli.inference.open import open_model
    from timesformer_cli.weights.hub.locate import as_located

    total = len(options.models) + 1
    every = [as_located(model) for model in options.models]
    forms: list[RunnableModel] = []
    for number, located in enumerate(every):
        watch(number, total, f"reading {located.name}")
        # What was exported has a device and a dtype of its own.
        place = ("auto", "auto") if located.exported else (options.device, options.dtype)
        forms.append(open_model(located, *place)[0])
    watch(total - 1, total, "measuring")
    calls = [_call(form, options.batch_size) for form in forms]
    times: list[list[float]] = [[] for _ in forms]
    turn = 0
    with torch.inference_mode():
        while turn < WARMUP or not _enough(times, options.runs):
            for form, call, own in zip(forms, calls, times, strict=True):
                began = time.perf_counter()
                call()
                settle(form.device)
                if turn >= WARMUP:
                    own.append(1000 * (time.perf_counter() - began))
            turn += 1
    slowest = max(statistics.median(own) for own in times)
    return tuple(
        _row(located, form, options, own, slowest)
        for located, form, own in zip(every, forms, times, strict=True)
    )


def _call(form: "RunnableModel", batch_size: int) -> Callable[[], object]:
    import torch

    height, width = form.preprocessing.crop
    shape = (batch_size, form.sampling.frames, height, width, 3)
    clip = torch.randint(0, 256, shape, dtype=torch.uint8, device=form.device)
    return lambda: form(clip)


def _enough(times: list[list[float]], runs: int | None) -> bool:
    count = len(times[0])
    if runs is not None:
        return count >= runs
    longest = max(sum(own) for own in times) / 1000
    return count >= MOST or (count >= FEWEST and longest >= SECONDS)


def _row(
    located: "Located",
    form: "RunnableModel",
    options: ModelBenchmarkOptions,
    times: list[float],
    slowest: float,
) -> ModelRow:
    from timesformer_cli.benchmark.measure import percentiles

    p10, median, p90 = percentiles(times)
    path = located.path
    return ModelRow(
        model=located.name,
        runtime=runtime_name(path.suffix[1:] if located.exported else "torch"),
        device=str(form.device),
        dtype=str(form.dtype).removeprefix("torch."),
        bytes=path.stat().st_size if path.is_file() else None,
        clip=(form.sampling.frames, *form.preprocessing.crop),
        batch_size=options.batch_size,
        median=median,
        p10=p10,
        p90=p90,
        runs=len(times),
        share=median / slowest,
    )
