"""Measure what is saved where windows that overlap share what single frames give by themselves.

Each window is scored twice by the same model with random weights: sharing, as `tsf timeline` does
it, and as a clip of its own. Schemes take turns, and are compared with the first one at the same
step. Pictures are random too, and made before the clock starts.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from scripts.peers.turns import alternate, spread
from timesformer_cli.benchmark.machine import device_name
from timesformer_cli.config import ModelConfig, Sampling
from timesformer_cli.inference.device import find_device, find_dtype
from timesformer_cli.inference.fast.model import make_fast
from timesformer_cli.inference.outputs import Floats
from timesformer_cli.inference.predictor import Predictor
from timesformer_cli.inference.process_tuning import keep_freed_memory
from timesformer_cli.inference.window_scores import WindowScorer
from timesformer_cli.model import TimeSformer
from timesformer_cli.sizes import SIZES
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.sample import span
from timesformer_cli.video.stream import StreamedWindow
from timesformer_cli.video.windows import Shot, Window, WindowPicker, WindowPlan

RATE = 30
FRAMES, STRIDE = 8, 8
SCHEMES = ("divided", "space", "vivit-2")
HEAD = f"""\
| a window every | scheme | CPU ms a window, shared | whole | shared is faster | {SCHEMES[0]} takes | scores differ by |
|---|---|---|---|---|---|---|
"""


class Collected:
    """Keeps the windows that a picker makes."""

    def __init__(self) -> None:
        self.windows: list[StreamedWindow] = []

    def window(self, window: Window, fresh: Sequence[tuple[int, Pixels]]) -> None:
        self.windows.append(StreamedWindow(window, dict(fresh)))

    def shot(self, shot: Shot) -> None:
        pass


def windows_of(sampling: Sampling, every: float, count: int, side: int) -> list[StreamedWindow]:
    """The first windows over a video of random pictures."""
    rng, collected = np.random.default_rng(0), Collected()
    plan = WindowPlan(sampling=sampling, every=every, cuts=False)
    picker = WindowPicker(plan, collected, 1 / RATE)
    number = 0
    while len(collected.windows) < count:
        picker.offer(
            number / RATE,
            lambda: {"center": rng.integers(0, 256, (side, side, 3), np.uint8)},
            lambda: np.zeros((1, 1, 3), np.uint8),
        )
        number += 1
    return collected.windows[:count]


def scored(
    predictor: Predictor, windows: Sequence[StreamedWindow], batch_size: int, shares: bool
) -> tuple[float, Floats]:
    """Seconds of processor time that the windows take, and their scores."""
    scorer = WindowScorer(predictor, batch_size)
    if not shares:
        scorer._frames = None
    began = time.process_time()
    scores = [
        scorer.score(windows[first : first + batch_size]).scores
        for first in range(0, len(windows), batch_size)
    ]
    return time.process_time() - began, np.concatenate(scores)


def made(scheme: str, options: argparse.Namespace) -> Predictor:
    """A model with random weights."""
    device = find_device("cpu")
    torch.manual_seed(0)
    config = ModelConfig.of_size(options.size, attention=scheme, frames=FRAMES)
    sampling = Sampling(frames=FRAMES, stride=STRIDE)
    dtype = find_dtype(options.dtype, device)
    return Predictor(make_fast(TimeSformer(config, sampling=sampling), device, dtype), "")


def rows(options: argparse.Namespace) -> Iterator[str]:
    """One line of the table per step and scheme."""
    predictors = {scheme: made(scheme, options) for scheme in SCHEMES}
    sampling = Sampling(frames=FRAMES, stride=STRIDE)
    side = ModelConfig.of_size(options.size).height
    length = span(sampling)
    assert length is not None
    step = length / (FRAMES - 1)
    for name, every in {
        "half of the span": length / 2,
        "4 steps (of 7)": 4 * step,
        "quarter of the span": length / 4,
        "2 steps": 2 * step,
        "1 step": step,
    }.items():
        windows = windows_of(sampling, every, options.windows, side)
        done = alternate(
            {
                (scheme, shares): partial(scored, predictor, windows, options.batch_size, shares)
                for scheme, predictor in predictors.items()
                for shares in (True, False)
            },
            runs=options.runs,
            warmup=1,
            doing=name,
        )
        taken = {
            key: spread(seconds / len(windows) * 1e3 for seconds, _ in runs)
            for key, runs in done.items()
        }
        for scheme in SCHEMES:
            shared, whole = taken[scheme, True], taken[scheme, False]
            off = (done[scheme, True][0][1] - done[scheme, False][0][1]).abs().max().item()
            yield (
                f"| {name}, {every:.2f} s | {scheme} | "
                f"{shared.median:.0f} ({shared.least:.0f} to {shared.most:.0f}) | "
                f"{whole.median:.0f} ({whole.least:.0f} to {whole.most:.0f}) | "
                f"{whole.median / shared.median:.2f} times | "
                f"{taken[SCHEMES[0], True].median / shared.median:.2f} times | {off:.1e} |"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--windows", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(arguments)
    keep_freed_memory()
    torch.set_num_threads(1)  # so that processor time is time
    print(
        f"TimeSformer-{options.size}, {options.windows} windows, batches of {options.batch_size}; "
        f"{device_name(find_device('cpu'))}, {os.cpu_count()} processors, "
        f"one thread, load {os.getloadavg()[0]:.1f}\n"
    )
    print(HEAD, end="")
    for line in rows(options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
