"""From scores over time to segments: the labels that explain the scores best, changes being dear."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

import numpy as np
import numpy.typing as npt

from timesformer_cli.inference.label_choice import LabelChoice, Prediction
from timesformer_cli.timelines.results import Segment
from timesformer_cli.video.windows import Shot

Scores = npt.NDArray[np.float32]
LEAST = 1e-6  # a score below this counts as this: no single window rules a label out
# Nats that a change of label costs for each window that overlaps the next. On made footage every
# price from 2 to 8 nats, at windows that overlap by half, gave the same segments.
PRICE = 2.0
NOTHING = -1  # the number of no label


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentRules:
    """How scores become segments."""

    price: float  # nats for a change of label; 0 takes the best label of each window
    threshold: float = 0.0  # a label whose score is below this is none
    # Of each label, where several may hold at once; empty where they share the time out.
    thresholds: tuple[float, ...] = ()


def automatic_price(span: float, every: float) -> float:
    """The price of a change where windows of `span` seconds begin `every` seconds apart.

    Windows that overlap say the same thing more than once, so the price grows with their number.
    """
    return PRICE * max(1.0, span / every)


def best_path(
    scores: Scores, nothing: npt.NDArray[np.float32], rules: SegmentRules
) -> npt.NDArray[np.int64]:
    """The label of each window `(windows,)`, or NOTHING, from scores `(windows labels)`.

    `nothing` `(windows,)` is what no label scores; zeros rule it out. Labels come first, then, within
    each stretch of one label, the parts where it is too weak to be named. At once, one long "nothing"
    would be cheaper than two sure labels and the change between.
    """
    evidence = _evidence(scores)
    found = _cheapest(evidence, rules.price)
    nothing = np.maximum(nothing, rules.threshold)
    if nothing.any():
        none, path = _evidence(nothing), found.copy()
        for label, group in groupby(range(len(path)), key=lambda index: int(path[index])):
            rows = list(group)
            either = np.stack([evidence[rows, label], none[rows]], axis=1)
            found[rows] = np.where(_cheapest(either, rules.price), NOTHING, found[rows])
    return found


def paths_of_several(scores: Scores, rules: SegmentRules) -> list[npt.NDArray[np.int64]]:
    """For each label that holds somewhere, where it does: its number or NOTHING `(windows,)`.

    Each label is on or off by itself, whatever the others are.
    """
    paths = []
    for label, least in enumerate(np.clip(rules.thresholds, LEAST, 1 - LEAST)):
        if scores[:, label].max() < least:
            continue
        on = scores[:, label].astype(np.float64)
        evidence = np.log(np.clip([on, 1 - on], LEAST, 1)) - np.log([[least], [1 - least]])
        off = _cheapest(evidence.T, rules.price) == 1
        paths.append(np.where(off, NOTHING, label))
    return paths


def _evidence(scores: Scores) -> npt.NDArray[np.float64]:
    return np.log(np.maximum(scores.astype(np.float64), LEAST))


def _cheapest(evidence: npt.NDArray[np.float64], price: float) -> npt.NDArray[np.int64]:
    """The column of each row `(rows,)` of log scores `(rows columns)`, each change at a price.

    Viterbi's algorithm (1967): of all sequences, the one with the greatest sum of log scores, less
    the prices of its changes.
    """
    total, before = evidence[0], []
    for row in evidence[1:]:
        best = int(total.argmax())
        stays = total >= total[best] - price
        before.append(np.where(stays, np.arange(len(total)), best))
        total = np.where(stays, total, total[best] - price) + row
    path = [int(total.argmax())]
    for origin in reversed(before):
        path.append(int(origin[path[-1]]))
    return np.array(path[::-1])


def segments_of(
    shot: Shot,
    number: int,
    centres: Sequence[float],
    outputs: Scores,
    choice: LabelChoice,
    rules: SegmentRules,
) -> list[Segment]:
    """The segments of one shot, from its windows' centres in seconds and a model's outputs for them.

    A change lies in the middle between two centres; the first and the last segment reach to the
    shot's ends. Segments of a model of several labels may overlap.
    """
    if not len(outputs) or not choice.labels:
        return []
    scores, fits = choice.scores(outputs), choice.similarity(outputs)
    several = bool(rules.thresholds)
    if several:
        paths = paths_of_several(scores, rules)
    else:
        paths = [best_path(scores, choice.nothing(outputs), rules)]
    segments = []
    for label, rows in chain.from_iterable(map(_stretches, paths)):
        first, last = rows[0], rows[-1]
        start = shot.start if first == 0 else (centres[first - 1] + centres[first]) / 2
        end = shot.end if last == len(centres) - 1 else (centres[last] + centres[last + 1]) / 2
        mean = scores[rows].mean(axis=0)
        segments.append(
            Segment(
                start=round(start, 3),
                end=round(end, 3),
                label=choice.labels[label],
                index=choice.numbers[label],
                score=round(float(mean[label]), 6),
                peak=round(float(scores[rows, label].max()), 6),
                runner_up=None if several else _runner_up(mean, label, choice),
                windows=len(rows),
                shot=number,
                similarity=round(float(fits[rows, label].mean()), 6) if choice.given else None,
            )
        )
    return sorted(segments, key=lambda segment: segment.start)


def _stretches(path: npt.NDArray[np.int64]) -> Iterator[tuple[int, list[int]]]:
    """The label and the windows of each stretch that has one."""
    for label, group in groupby(range(len(path)), key=lambda index: int(path[index])):
        if label != NOTHING:
            yield label, list(group)


def _runner_up(mean: Scores, label: int, choice: LabelChoice) -> Prediction | None:
    if len(mean) < 2:
        return None
    rest = mean.copy()
    rest[label] = -1.0
    second = int(rest.argmax())
    return Prediction(choice.labels[second], choice.numbers[second], round(float(mean[second]), 6))
