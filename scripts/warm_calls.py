"""Measure calls of a ready `Classifier`: `python -m scripts.warm_calls [VIDEO]`.

In each of 100 rounds, one after another: the clip decoded in a decoder that is ready, the model on
those frames, the call that does both, and in every tenth round `classify(VIDEO, model=loaded)`. Then
1,000 calls, with what the process and its children hold: a growth is an error.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import timesformer_cli
from timesformer_cli.benchmark.machine import device_name
from timesformer_cli.inference.classify import ClassifyOptions
from timesformer_cli.inference.predictor import Predictor
from timesformer_cli.inference.scorer import clips_for
from timesformer_cli.video import Decoded, DecodePool

EXAMPLE = Path(__file__).parents[1] / "examples" / "pan_right.mp4"
ALLOWED = 30  # milliseconds of a call beside decoding and the model
GROWTH = 1.05  # of memory, from call 200 to the last


def main() -> None:
    """Print a table in Markdown, and what 1,000 calls hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?", default=str(EXAMPLE))
    parser.add_argument("--model", default="camera-motion")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--calls", type=int, default=1000)
    asked = parser.parse_args()
    loaded = timesformer_cli.load_model(asked.model, dtype=asked.dtype)
    with timesformer_cli.Classifier(loaded) as classifier, DecodePool(1) as pool:
        predictor = Predictor(loaded)
        clips = clips_for(predictor.description, ClassifyOptions(model=loaded))
        (decoded,) = pool.decode([asked.video], *clips)
        assert isinstance(decoded, Decoded), decoded
        works: dict[str, Callable[[], object]] = {
            "decoding alone": lambda: list(pool.decode([asked.video], *clips)),
            "the model alone": lambda: predictor.start(decoded.frames)(),
            "a call of a ready Classifier": lambda: list(classifier(asked.video)),
            "classify with a loaded model": lambda: list(
                timesformer_cli.classify(asked.video, model=loaded)
            ),
        }
        times: dict[str, list[float]] = {name: [] for name in works}
        for number in range(-3, asked.rounds):
            for name, work in works.items():
                if name.startswith("classify") and number % 10:
                    continue
                began = time.perf_counter()
                work()
                if number >= 0:
                    times[name].append(1000 * (time.perf_counter() - began))
        print(f"{device_name(torch.device('cpu'))}, {predictor.dtype}; {asked.video}\n")
        print("| | calls | median ms | p95 ms |\n| --- | ---: | ---: | ---: |")
        for name, found in times.items():
            p95 = np.percentile(found, 95)
            print(f"| {name} | {len(found)} | {statistics.median(found):.1f} | {p95:.1f} |")
        decode, model, call, _ = times.values()
        beside = statistics.median(c - d - m for d, m, c in zip(decode, model, call, strict=True))
        print(f"\nbeside decoding and the model, median of the rounds: {beside:.1f} ms")
        assert beside <= ALLOWED
        _hold_steady(lambda: list(classifier(asked.video)), asked.calls)


def _hold_steady(call: Callable[[], object], calls: int) -> None:
    """Call so often; raises AssertionError where what is held grows."""
    held = []
    for number in range(1, calls + 1):
        call()
        if number % (calls // 10) == 0:
            held.append(_held())
            print(
                f"after {number:>5} calls: {held[-1][0] / 2**20:,.0f} MB in all, "
                f"{held[-1][1]} processes, {held[-1][2]} open files, {held[-1][3]} threads"
            )
    settled = held[1:]
    assert settled[-1][0] <= GROWTH * settled[0][0], "memory grows"
    for what in (1, 2, 3):
        assert len({each[what] for each in settled}) == 1, "processes, files or threads grow"


def _held() -> tuple[int, int, int, int]:
    """Resident bytes and number of this process and its children, open files and threads of all."""
    own = Path("/proc/self")
    children = {
        int(word) for task in own.glob("task/*/children") for word in task.read_text().split()
    }
    every = [own, *(Path(f"/proc/{child}") for child in children)]
    memory = sum(int((each / "statm").read_text().split()[1]) * 4096 for each in every)
    files, threads = (
        sum(len(list((each / part).iterdir())) for each in every) for part in ("fd", "task")
    )
    return memory, len(every), files, threads


if __name__ == "__main__":
    main()
