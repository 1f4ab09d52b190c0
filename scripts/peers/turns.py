"""Contenders take turns, so that what else the machine does disturbs all of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from timesformer_cli.cli.progress import with_progress

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Spread:
    """Seconds of several runs: the median, the fastest, the slowest."""

    median: float
    least: float
    most: float


def spread(seconds: Iterable[float]) -> Spread:
    """The spread of these runs."""
    times = sorted(seconds)
    return Spread(statistics.median(times), times[0], times[-1])


def alternate(
    contenders: Mapping[Key, Callable[[], Result]], *, runs: int, warmup: int, doing: str
) -> dict[Key, list[Result]]:
    """Run each once, then each again, and so on; return the results without the warm-up."""
    turns = [key for _ in range(warmup + runs) for key in contenders]
    results: dict[Key, list[Result]] = {key: [] for key in contenders}
    ran = ((key, contenders[key]()) for key in turns)
    for key, result in with_progress(ran, len(turns), doing):
        results[key].append(result)
    return {key: every[warmup:] for key, every in results.items()}
