"""Clips that have several labels, or none: how labels are written, and how well scores agree.

`run|walk` in a cell is two labels; a bar that belongs to a name is written `\\|`.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt

from timesformer_cli.config import EVEN

BAR = "|"
_BARE_BAR = re.compile(r"(?<!\\)\|")
Truth = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelScores:
    """How well one class is found; shares are from 0 to 1."""

    label: str
    clips: int  # that have it
    average_precision: float | None  # None where no clip has it, as for recall and f1
    precision: float | None  # None where no clip is said to have it
    recall: float | None
    f1: float | None
    threshold: float  # the score from which a clip is said to have it


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiLabelScores:
    """How well several labels a clip are found; the means are over classes that some clip has."""

    mean_average_precision: float | None
    f1: float | None
    exact: float  # share of the clips that are said to have their labels and no other
    classes: tuple[LabelScores, ...]


def split_labels(text: str) -> tuple[str, ...]:
    r"""The labels of a cell, each once: `run|walk` is two, `a\|b` the one that is called `a|b`.

    An empty label is left in, for the caller to refuse.
    """
    parts = (part.strip().replace(r"\|", BAR) for part in _BARE_BAR.split(text))
    return tuple(dict.fromkeys(parts))


def join_labels(labels: Iterable[str]) -> str:
    """The inverse of `split_labels`."""
    return BAR.join(label.replace(BAR, r"\|") for label in labels)


def seem_several(labels: Iterable[str]) -> str | None:
    """One of different labels that seems to be several: a part of it stands in another one, too."""
    split = {label: split_labels(label) for label in labels}
    seen: dict[str, str] = {}
    for label, parts in split.items():
        for part in parts:
            if (other := seen.setdefault(part, label)) != label:
                return label if len(parts) > 1 else other
    return None


def average_precision(truth: Truth, scores: Scores) -> float | None:
    """Precision at each score, weighted by the recall that is gained there; None without positives.

    Clips of equal scores count together, because which of them comes first would be chance.
    """
    hits, seen, _ = _steps(truth, scores)
    if not len(hits) or not hits[-1]:
        return None
    gained = np.diff(hits, prepend=0)
    return float((hits / seen * gained).sum() / hits[-1])


def best_threshold(truth: Truth, scores: Scores) -> float:
    """The threshold of the highest F1; of several equally good ones, that nearest to a half.

    It lies in the middle between two scores. Without positives there is nothing to go by: a half.
    """
    hits, seen, values = _steps(truth, scores)
    if not len(hits) or not hits[-1]:
        return EVEN
    f1 = 2 * hits / (seen + hits[-1])
    middles = (values + np.append(values[1:], 0.0)) / 2
    good = middles[f1 >= f1.max() - 1e-12]
    return float(good[np.abs(good - EVEN).argmin()])


def score_labels(
    truth: Truth,
    scores: Scores,
    labels: Sequence[str],
    thresholds: Sequence[float] | None = None,
) -> MultiLabelScores:
    """The agreement of scores `(clips classes)` with the truth of that shape.

    Without thresholds, those of the highest F1 on these clips are taken.
    """
    if thresholds is None:
        thresholds = [best_threshold(truth[:, n], scores[:, n]) for n in range(len(labels))]
    said = scores >= np.asarray(thresholds)
    classes = tuple(
        _class(label, truth[:, number], scores[:, number], said[:, number], threshold)
        for number, (label, threshold) in enumerate(zip(labels, thresholds, strict=True))
    )
    known = [row for row in classes if row.clips]
    return MultiLabelScores(
        mean_average_precision=_mean(row.average_precision for row in known),
        f1=_mean(row.f1 for row in known),
        exact=float((said == truth).all(axis=1).mean()) if len(truth) else 0.0,
        classes=classes,
    )


def _class(label: str, truth: Truth, scores: Scores, said: Truth, threshold: float) -> LabelScores:
    hits, clips, told = int((truth & said).sum()), int(truth.sum()), int(said.sum())
    return LabelScores(
        label=label,
        clips=clips,
        average_precision=average_precision(truth, scores),
        precision=hits / told if told else None,
        recall=hits / clips if clips else None,
        f1=2 * hits / (told + clips) if clips else None,
        threshold=float(threshold),
    )


def _steps(
    truth: Truth, scores: Scores
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Scores]:
    """For each different score, from the highest: positives and clips down to it, and the score."""
    order = np.argsort(-scores, kind="stable")
    values = scores[order]
    last = np.append(np.diff(values) != 0, True)[: len(values)]
    hits = np.cumsum(truth[order], dtype=np.int64)[last]
    return hits, np.flatnonzero(last) + 1, values[last]


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
