"""Measure one model: first its memory, then its time."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from timesformer_cli.benchmark import machine
from timesformer_cli.benchmark.live_bytes import LiveBytes
from timesformer_cli.config import ModelConfig
from timesformer_cli.inference.fast.kernels import attention_kernel
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.block import checkpoint_gradients

# Where no number of runs is given: for SECONDS, but at least FEWEST and at most MOST runs.
SECONDS, FEWEST, MOST = 5.0, 5, 50
SLOW = 2.0  # seconds per run; above this three runs must do
# A row is noisy above either of these: p10 to p90 as a share of the median, and the share of the
# processors' time that other processes took.
SPREAD, BUSY = 0.10, 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What to measure."""

    config: ModelConfig
    device: torch.device
    dtype: torch.dtype
    batch_size: int
    kernel: str  # of attention: auto, math or fused
    runs: int | None  # None chooses by the time that a run takes
    warmup: int | None  # likewise
    train: bool  # whether a run is a training step
    checkpoint_gradients: bool
    compile: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What was measured of one model, and how far to trust it."""

    peak_bytes: int | None  # weights included; None where it cannot be seen
    resident_growth: int | None  # bytes, from before the model was built to its first run's peak
    median: float  # milliseconds per batch
    p10: float  # likewise
    p90: float  # likewise
    runs: int
    warmup: int
    noisy: str  # why the times are not to be trusted; empty where they are
    product_flops: float  # per second, of a large matrix product


def measure(job: Job, product_flops: float) -> Measured:
    """Measure memory in a first run and time in later ones, in this process."""
    _rehearse(job)
    resident = machine.ResidentGrowth()
    model = _model(job)
    clip = _clip(job)
    run = _runner(job, model, clip)
    began = time.perf_counter()
    with attention_kernel(job.kernel):
        peak = _peak(job, model, clip, run)
        first = time.perf_counter() - began
        grown = resident.growth()
        warmup = job.warmup if job.warmup is not None else _warmup(first)
        for _ in range(warmup):
            run()
        others = machine.OtherWork()
        times = _times(job, run)
        busy = others.share()
    low, middle, high = (1000 * value for value in percentiles(times))
    return Measured(
        peak_bytes=peak,
        resident_growth=grown,
        median=middle,
        p10=low,
        p90=high,
        runs=len(times),
        warmup=warmup + 1,  # the run that measured memory warms up too
        noisy=_noise(times, low, middle, high, busy if job.device.type == "cpu" else None),
        product_flops=product_flops,
    )


def _rehearse(job: Job) -> None:
    """Run a model of one block on a tiny clip.

    It loads what is loaded at first use, which would otherwise count as the model's memory.
    """
    config = replace(job.config, depth=1, frames=2 * job.config.tubelet, height=32, width=32)
    small = replace(job, config=config, compile=False)
    model, clip = _model(small), _clip(small)
    with attention_kernel(job.kernel):
        _peak(small, model, clip, _runner(small, model, clip))


def _model(job: Job) -> TimeSformer:
    """A model with small random weights.

    They are made on their device in their dtype, so that no copy raises the peak.
    """
    with torch.device("meta"):
        model = TimeSformer(job.config)
    model.to(job.dtype).to_empty(device=job.device)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.02)
    if job.checkpoint_gradients:
        checkpoint_gradients(model.blocks)
    return model.train(job.train).requires_grad_(job.train)


def _clip(job: Job) -> torch.Tensor:
    config = job.config
    shape = (job.batch_size, config.frames, config.channels, config.height, config.width)
    return torch.randn(shape, device=job.device, dtype=job.dtype)


def _runner(job: Job, model: TimeSformer, clip: torch.Tensor) -> Callable[[], None]:
    """A function that runs the model once and returns when the device is done."""
    forward: Callable[[torch.Tensor], torch.Tensor] = model
    if job.compile:
        forward = torch.compile(model)

    def predict() -> None:
        with torch.inference_mode():
            forward(clip)
        machine.settle(job.device)

    def learn() -> None:
        model.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(forward(clip).float(), target)
        loss.backward()  # type: ignore[no-untyped-call]
        machine.settle(job.device)

    target = torch.zeros(job.batch_size, dtype=torch.long, device=job.device)
    return learn if job.train else predict


def _peak(job: Job, model: TimeSformer, clip: torch.Tensor, run: Callable[[], None]) -> int | None:
    """Bytes at the worst moment of a run, weights included; None where they cannot be seen."""
    if job.device.type == "cuda":
        before = torch.cuda.memory_allocated(job.device)
        torch.cuda.reset_peak_memory_stats(job.device)
        run()
        return int(max(before, torch.cuda.max_memory_allocated(job.device)))
    if job.compile or job.device.type != "cpu":  # neither shows its allocations
        run()
        return None
    with LiveBytes(clip) as alive, torch.set_grad_enabled(job.train):
        if job.train:
            run()
        else:
            model(clip)  # not `run`: inference mode hides operators inside operators
    return int(sum(parameter.nbytes for parameter in model.parameters()) + alive.peak)


def _warmup(first: float) -> int:
    """Warm-up runs after the first one, by its seconds: a slow model has warmed up enough."""
    return 3 if first < SLOW / 2 else 1 if first < 2 * SLOW else 0


def _times(job: Job, run: Callable[[], None]) -> list[float]:
    times: list[float] = []
    while not _enough(times, job.runs):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return times


def _enough(times: list[float], runs: int | None) -> bool:
    if runs is not None:
        return len(times) >= runs
    fewest = 3 if times and times[0] > SLOW else FEWEST
    return len(times) >= MOST or (len(times) >= fewest and sum(times) >= SECONDS)


def percentiles(times: list[float]) -> tuple[float, float, float]:
    """The 10th, 50th and 90th percentile, interpolated between neighbours."""
    if len(times) == 1:
        return times[0], times[0], times[0]
    tenths = statistics.quantiles(times, n=10, method="inclusive")
    return tenths[0], tenths[4], tenths[8]


def _noise(times: list[float], low: float, middle: float, high: float, busy: float | None) -> str:
    """Why the median may be off by more than a tenth, in words; empty where it may not."""
    reasons = []
    if len(times) < 3:
        reasons.append(f"{len(times)} run{'s' * (len(times) > 1)} only")
    elif high - low > SPREAD * middle:
        reasons.append(f"p10 to p90 is {(high - low) / middle:.0%} of the median")
    if busy is not None and busy > BUSY:
        reasons.append(f"other work took {busy:.0%} of the time")
    return ", ".join(reasons)
