"""Compare models alone: each contender is a process that scores one batch when its turn comes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from scripts.peers.contender import relative_flops, vit_flops
from scripts.peers.products import useful_macs
from scripts.peers.turns import Spread, alternate, spread
from timesformer_cli.children import ChildEnded, ChildProcess, Message
from timesformer_cli.weights.description import read_description

Name = tuple[str, str]  # contender and dtype
DTYPES = {
    "tsf": ("float32", "bfloat16", "int8"),
    "transformers": ("float32", "bfloat16"),
    "timesformer-pytorch": ("float32", "bfloat16"),
}
# All that one could use instead, on this kind of machine.
FIELD = {
    **DTYPES,
    "transformers compiled": ("float32", "bfloat16"),
    "onnxruntime": ("float32", "int8"),  # on our own export
    "onnxruntime on transformers": ("float32", "int8"),  # on transformers' export
    "OpenVINO": ("float32", "bfloat16"),  # on our own export
}
EXPORTED = ("onnxruntime", "onnxruntime on transformers", "OpenVINO")
PRODUCTS = "products"
DEFAULT = ("transformers", "float32")  # the default of transformers
# Whose answers cannot be compared with ours, and the operations of each for a clip.
OTHER_NETWORKS = {"timesformer-pytorch": relative_flops, "timm ViT": vit_flops}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelRow:
    """One contender at one batch size; None where there is nothing to compare it with."""

    contender: str
    dtype: str
    batch_size: int
    seconds: Spread  # per batch
    clips_per_second: float
    times_default: float | None  # how many times as fast as DEFAULT, by medians
    times_same_dtype: float | None  # likewise, as transformers in the same dtype
    # Likewise, as the fastest other runtime of the same network in this dtype; only of `tsf`.
    times_fastest: float | None
    useful_gflops: float  # per clip
    share_of_peak: float | None  # useful FLOP per second over those of the fastest matrix product
    peak_bytes: int | None
    same_top1: int | None  # clips whose best label is that of DEFAULT
    logit_difference: float | None  # the largest, in standard deviations of DEFAULT's logits


class Contender:
    """A contender's process, alive until its `with` block ends; a call makes it run once."""

    def __init__(self, name: Name, folder: Path, device: str, batch_size: int) -> None:
        self.name = name
        arguments = map(str, (*name, folder, device, batch_size))
        self.child = ChildProcess("scripts.peers.contender", *arguments, debug=True)

    def __enter__(self) -> Contender:
        return self

    def __exit__(self, *_: object) -> None:
        self.child.end()

    def __call__(self) -> dict[str, Any]:
        """`seconds` of one run, its `answer`, and the process's `peak_bytes` so far."""
        return self._checked(lambda: self.child.ask({}))

    def greeting(self) -> dict[str, Any]:
        """Its first message: empty, or with the reason why it is `missing`."""
        return self._checked(self.child.hear)

    def _checked(self, answer: Callable[[], Message]) -> dict[str, Any]:
        try:
            return answer()[0]
        except ChildEnded as ended:
            raise SystemExit(f"{' '.join(self.name)} ended ({ended}), see above") from None


def compare_models(
    folder: Path,
    *,
    device: str,
    dtypes: Sequence[str],
    batch_sizes: Sequence[int],
    runs: int,
    warmup: int,
    contenders: Mapping[str, Sequence[str]] = DTYPES,
) -> tuple[list[ModelRow], dict[str, float]]:
    """A row per contender and batch size; and, by dtype, FLOP per second of the fastest product."""
    names = [(name, dtype) for name, theirs in contenders.items() for dtype in theirs]
    names = [*(name for name in names if name[1] in dtypes), *((PRODUCTS, d) for d in dtypes)]
    peaks = dict.fromkeys(dtypes, 0.0)
    measured: dict[int, dict[Name, list[dict[str, Any]]]] = {}
    for batch_size in batch_sizes:
        with ExitStack() as stack:
            started = {
                name: stack.enter_context(Contender(name, folder, device, batch_size))
                for name in names
            }
            for name, contender in started.items():
                if why := contender.greeting().get("missing"):
                    print(f"left out: {' '.join(name)}: {why}", file=sys.stderr)
                    names.remove(name)
            ready = {name: started[name] for name in names}
            doing = f"model, batch {batch_size}"
            done = alternate(ready, runs=runs, warmup=warmup, doing=doing)
        for dtype in dtypes:
            rates = [rate for turn in done.pop((PRODUCTS, dtype), ()) for rate in turn["answer"]]
            peaks[dtype] = max([peaks[dtype], *rates])
        measured[batch_size] = done
    rows = [
        _row(name, batch_size, done, _flops(name[0], folder), peaks[name[1]])
        for batch_size, done in measured.items()
        for name in done
    ]
    return rows, peaks


@cache
def _flops(contender: str, folder: Path) -> int:
    """Floating-point operations that one clip's answer takes."""
    config = read_description(folder).config
    other = OTHER_NETWORKS.get(contender)
    return 2 * useful_macs(config) if other is None else other(config)


def _row(
    name: Name, batch_size: int, done: dict[Name, list[dict[str, Any]]], flops: int, peak: float
) -> ModelRow:
    seconds = {key: spread(turn["seconds"] for turn in ran) for key, ran in done.items()}
    own = seconds[name].median
    last, reference = done[name][-1], done.get(DEFAULT)
    same = difference = None
    if reference and name[0] not in OTHER_NETWORKS:
        same, difference = agreement(last["answer"], reference[-1]["answer"])

    others = [
        seconds[other].median
        for other in seconds
        if other[1] == name[1] and other[0] != "tsf" and other[0] not in OTHER_NETWORKS
    ]

    def times(other: Name) -> float | None:
        return seconds[other].median / own if other in seconds else None

    return ModelRow(
        contender=name[0],
        dtype=name[1],
        batch_size=batch_size,
        seconds=seconds[name],
        clips_per_second=batch_size / own,
        times_default=times(DEFAULT),
        times_same_dtype=times(("transformers", name[1])),
        times_fastest=min(others) / own if others and name[0] == "tsf" else None,
        useful_gflops=flops / 1e9,
        share_of_peak=flops * batch_size / own / peak if peak else None,
        peak_bytes=last["peak_bytes"],
        same_top1=same,
        logit_difference=difference,
    )


def agreement(scores: list[list[float]], reference: list[list[float]]) -> tuple[int, float]:
    """How many clips have the same best label, and how far apart logits are at most.

    In standard deviations of the reference's logits. Logits come back from the scores but for a
    constant, so each clip's mean is taken off.
    """
    ours, theirs = (np.log(values) for values in (scores, reference))
    ours, theirs = (logits - logits.mean(axis=1, keepdims=True) for logits in (ours, theirs))
    same = int((ours.argmax(axis=1) == theirs.argmax(axis=1)).sum())
    return same, float(np.abs(ours - theirs).max() / theirs.std())
