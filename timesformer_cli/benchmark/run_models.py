"""Benchmark of models by name: exported files beside checkpoints, turn by turn on one clip."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from timesformer_cli.inference.exported.open import runtime_name

if TYPE_CHECKING:
    from timesformer_cli.inference.open import Form

WARMUP, FEWEST, MOST = 2, 5, 30
SECONDS = 5.0  # of one model's runs, where their number was not given


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What `tsf benchmark --model` can be told; `runs` None: about 5 s of them each."""

    models: tuple[str, ...]
    batch_size: int = 1
    device: str = "auto"
    dtype: str = "auto"
    runs: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
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


Watch = Callable[[int, int, str], None]


def run(options: Options, watch: Watch = lambda done, total, doing: None) -> tuple[Row, ...]:
    """A row a model, in the order given; all are held in memory and take turns.

    Raises UsageError, WeightsError, DeviceError.
    """
    import torch

    from timesformer_cli.benchmark.machine import settle
    from timesformer_cli.inference.open import ready

    total = len(options.models) + 1
    forms: list[Form] = []
    for number, name in enumerate(options.models):
        watch(number, total, f"reading {name}")
        # What was exported has a device and a dtype of its own.
        forms.append(ready(name, *_place(name, options))[0])
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
        _row(name, form, options, own, slowest)
        for name, form, own in zip(options.models, forms, times, strict=True)
    )


def _place(name: str, options: Options) -> tuple[str, str]:
    from timesformer_cli.weights.hub.locate import is_artefact

    return ("auto", "auto") if is_artefact(name) else (options.device, options.dtype)


def _call(form: "Form", batch_size: int) -> Callable[[], object]:
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


def _row(name: str, form: "Form", options: Options, times: list[float], slowest: float) -> Row:
    from timesformer_cli.benchmark.measure import percentiles
    from timesformer_cli.weights.hub.locate import is_artefact

    p10, median, p90 = percentiles(times)
    path = Path(name).expanduser()
    return Row(
        model=name,
        runtime=runtime_name(path.suffix[1:] if is_artefact(name) else "torch"),
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
