"""How well predictions agree with labels: shares, confusion, calibration, and a test of two models.

Classes are numbers; a confusion maps `(label, prediction)` to how many videos had them.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import NormalDist, fmean

Confusion = Mapping[tuple[int, int], int]
BINS = 15  # of confidence, as in Guo et al. 2017
LABEL, PREDICTION = 0, 1  # places in a key of a confusion


def interval(right: int, total: int, *, level: float = 0.95) -> tuple[float, float]:
    """Bounds of the share `right / total` by Wilson's score (1927), which also holds near 0 and 1."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = right / total
    middle = share + z * z / (2 * total)
    reach = z * math.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    scale = 1 + z * z / total
    # Rounding must not leave the share itself outside, nor a bound beyond 0 or 1.
    low, high = max(0.0, (middle - reach) / scale), min(1.0, (middle + reach) / scale)
    return min(share, low), max(share, high)


def recall(confusion: Confusion) -> dict[int, float]:
    """For each class that has videos: the share of them that was recognised."""
    return _right_of(confusion, LABEL)


def precision(confusion: Confusion) -> dict[int, float]:
    """For each class that was predicted: the share of those predictions that is right."""
    return _right_of(confusion, PREDICTION)


def mean_class_accuracy(confusion: Confusion) -> float:
    """Recall averaged over the classes that have videos; rare classes count like common ones."""
    return fmean(recall(confusion).values())


def calibration_error(
    confidences: Sequence[float], right: Sequence[bool], bins: int = BINS
) -> float:
    """Expected calibration error (Guo et al. 2017, eq. 3): |accuracy - confidence|, weighted by
    videos, over equal bins of confidence, each closed above.
    """
    gaps: defaultdict[int, float] = defaultdict(float)
    for confidence, hit in zip(confidences, right, strict=True):
        gaps[max(0, math.ceil(confidence * bins) - 1)] += hit - confidence
    return sum(map(abs, gaps.values())) / len(confidences)


def mcnemar(only_first: int, only_second: int) -> float:
    """McNemar's test, exact and two-sided: how likely such uneven counts are by chance alone.

    The counts are the videos that one model alone gets right. Chance means that both models are
    equally good.
    """
    # In whole numbers: 2 to the power of `total` is beyond a float from 1024 videos on.
    total, least = only_first + only_second, min(only_first, only_second)
    ways = term = 1
    for drawn in range(least):
        term = term * (total - drawn) // (drawn + 1)
        ways += term
    return min(1.0, 2 * ways / (1 << total))


def _right_of(confusion: Confusion, axis: int) -> dict[int, float]:
    totals: Counter[int] = Counter()
    for cell, videos in confusion.items():
        totals[cell[axis]] += videos
    return {number: confusion.get((number, number), 0) / total for number, total in totals.items()}
