"""How well predictions agree with labels: shares, confusion, calibration, and a test of two models.

Classes are numbers; a confusion maps `(label, prediction)` to how many videos had them.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from statistics import NormalDist, fmean

Confusion = Mapping[tuple[int, int], int]
BINS = 15
LABEL, PREDICTION = 0, 1


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
    """Of a class's videos, the share that was recognised; only classes that have videos."""
    return _right_of(confusion, LABEL)


def precision(confusion: Confusion) -> dict[int, float]:
    """Of the videos said to be of a class, the share that is; only classes that were predicted."""
    return _right_of(confusion, PREDICTION)


def mean_class_accuracy(confusion: Confusion) -> float:
    """Recall averaged over the classes that have videos, rare ones counting like common ones."""
    return fmean(recall(confusion).values())


def calibration_error(confidences: Sequence[float], right: Sequence[bool]) -> float:
    """Expected calibration error (Guo et al. 2017, eq. 3): |accuracy - confidence|, weighted by
    videos, over 15 equal bins of confidence, each closed above.
    """
    gaps: defaultdict[int, float] = defaultdict(float)
    for confidence, hit in zip(confidences, right, strict=True):
        gaps[max(0, math.ceil(confidence * BINS) - 1)] += hit - confidence
    return sum(map(abs, gaps.values())) / len(confidences)


def mcnemar(only_first: int, only_second: int) -> float:
    """Probability of counts this uneven if both models err alike: McNemar's test, exact, two-sided.

    The counts are of the videos that one model alone gets right.
    """
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
    return {one: confusion.get((one, one), 0) / total for one, total in totals.items()}
