"""The results of an evaluation: a verdict per video, scores per model, two models compared."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from timesformer_cli.dataset import metrics
from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.dataset.multi_label import MultiLabelScores, join_labels, score_labels
from timesformer_cli.inference.classified import Classified, Fault, Result
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.results import IF_ANY

TOP = 5  # predictions that are kept per video


@dataclass(frozen=True, slots=True)
class Judged:
    """A video that was read and classified."""

    video: str
    status: Literal["ok"]
    label: str  # as the model spells it
    predicted: str  # label of the best prediction
    correct: bool
    predictions: tuple[Prediction, ...]  # best first
    # Seconds; None means the whole video.
    part: tuple[float, float | None] | None = field(default=None, metadata=IF_ANY)
    warnings: tuple[str, ...] = field(default=(), metadata=IF_ANY)


@dataclass(frozen=True, slots=True)
class Unread:
    """A video that could not be read."""

    video: str
    status: Literal["error"]
    label: str  # as the model spells it
    error: Fault
    # Seconds; None means the whole video.
    part: tuple[float, float | None] | None = field(default=None, metadata=IF_ANY)


Verdict = Judged | Unread
Truth = int | tuple[int, ...]  # the number of a video's class, or of all where it may have several


@dataclass(frozen=True, slots=True)
class ClassScores:
    """The scores of one class, from 0 to 1."""

    label: str
    videos: int  # of this class
    precision: float | None  # None where the class was never predicted
    recall: float | None  # None where the class has no videos


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the confusion matrix."""

    label: str
    predicted: str
    videos: int  # of this label that got this prediction


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationScores:
    """The scores of one model.

    Shares are from 0 to 1, of the videos that could be read; None where none could. Where videos
    may have several labels, `several` stands for the shares and there is no confusion.
    """

    videos: int
    readable: int
    correct: int  # of several labels: all of them and no other
    multi_label: bool = False  # whether videos may have several labels
    several: MultiLabelScores | None = None  # None too where no video could be read
    top1: float | None = None
    top1_interval: tuple[float, float] | None = None  # 95 %, Wilson
    top5: float | None = None  # None too for models of five classes or fewer
    mean_class_accuracy: float | None = None  # mean recall over classes that have videos
    calibration_error: float | None = None  # expected distance of confidence from accuracy
    classes: tuple[ClassScores, ...]  # those that occur, as labels or as predictions
    confusion: tuple[Cell, ...]  # without cells that are zero
    unreadable: tuple[Unread, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A video that only one of two models gets right."""

    video: str
    label: str
    right: str  # "first" or "second"
    first: str  # what the first model predicts
    second: str  # what the second model predicts
    # Seconds; None means the whole video.
    part: tuple[float, float | None] | None = field(default=None, metadata=IF_ANY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two models compared on the videos that both could read."""

    both: int  # videos that both get right
    only_first: int
    only_second: int
    neither: int
    p_value: float  # of McNemar's exact two-sided test
    differences: tuple[Difference, ...]


def judge(
    result: Result, truth: Truth, labels: Sequence[str], clip: LabelledClip | None = None
) -> Verdict:
    """The verdict on one result.

    `truth` is the number of the video's label among `labels`, or all of its numbers. Of a `clip`
    that is a part of its video the verdict says which, and an error the line that lists it.
    """
    part = (clip.start, clip.end) if clip is not None and clip.is_part else None
    several = isinstance(truth, tuple)
    numbers = truth if isinstance(truth, tuple) else (truth,)
    named = [labels[number] for number in numbers]
    label = join_labels(named) if several else named[0]
    if not isinstance(result, Classified):
        error = result.error
        if clip is not None and part is not None and clip.where is not None:
            error = replace(error, message=f"{error.message} ({clip.where})")
        return Unread(result.video, result.status, label, error, part)
    best = result.predictions[0]
    return Judged(
        video=result.video,
        status=result.status,
        label=label,
        predicted=join_labels(result.labels) if several else best.label,
        correct=sorted(result.labels) == sorted(named) if several else best.index == truth,
        predictions=result.predictions,
        part=part,
        warnings=result.warnings,
    )


def mistakes_in(
    truths: Sequence[Truth], labels: Sequence[str]
) -> Callable[[int, Classified], bool]:
    """A function that is true of a result, and its number, where it is wrong."""

    def wrong(number: int, result: Classified) -> bool:
        verdict = judge(result, truths[number], labels)
        return isinstance(verdict, Judged) and not verdict.correct

    return wrong


def score_verdicts(
    verdicts: Sequence[Verdict], truths: Sequence[int], labels: Sequence[str], answers: int = 0
) -> EvaluationScores:
    """The scores of a model from its verdicts.

    `truths` are the numbers of the videos' labels among `labels`, which are the model's classes. It
    may give so many different `answers`; 0 stands for all classes.
    """
    read = [
        (truth, verdict.predictions)
        for truth, verdict in zip(truths, verdicts, strict=True)
        if isinstance(verdict, Judged)
    ]
    confusion = Counter((truth, best[0].index) for truth, best in read)
    right = [truth == best[0].index for truth, best in read]
    shares: dict[str, Any] = {}
    if read:
        shares = {
            "top1": sum(right) / len(read),
            "top1_interval": metrics.interval(sum(right), len(read)),
            "mean_class_accuracy": metrics.mean_class_accuracy(confusion),
            "calibration_error": metrics.calibration_error([p[0].score for _, p in read], right),
        }
        if (answers or len(labels)) > TOP:
            among = [truth in [guess.index for guess in best] for truth, best in read]
            shares["top5"] = sum(among) / len(read)
    return EvaluationScores(
        videos=len(verdicts),
        readable=len(read),
        correct=sum(right),
        **shares,
        classes=_classes(confusion, labels),
        confusion=tuple(
            Cell(labels[truth], labels[guess], videos)
            for (truth, guess), videos in sorted(confusion.items())
        ),
        unreadable=tuple(verdict for verdict in verdicts if isinstance(verdict, Unread)),
    )


def score_several(
    verdicts: Sequence[Verdict],
    truths: Sequence[tuple[int, ...]],
    labels: Sequence[str],
    thresholds: Sequence[float],
) -> EvaluationScores:
    """The scores of a model of several labels; its verdicts hold the predictions of all classes."""
    read = [
        (truth, verdict)
        for truth, verdict in zip(truths, verdicts, strict=True)
        if isinstance(verdict, Judged)
    ]
    known = np.zeros((len(read), len(labels)), dtype=bool)
    scores = np.zeros((len(read), len(labels)))
    for row, (truth, verdict) in enumerate(read):
        known[row, list(truth)] = True
        for guess in verdict.predictions:
            scores[row, guess.index] = guess.score
    several = score_labels(known, scores, labels, thresholds) if read else None
    rows = () if several is None else several.classes
    return EvaluationScores(
        videos=len(verdicts),
        readable=len(read),
        correct=sum(verdict.correct for _, verdict in read),
        multi_label=True,
        several=several,
        classes=tuple(
            ClassScores(row.label, row.clips, row.precision, row.recall)
            for row in rows
            if row.clips or row.precision is not None
        ),
        confusion=(),
        unreadable=tuple(verdict for verdict in verdicts if isinstance(verdict, Unread)),
    )


def compare_verdicts(first: Sequence[Verdict], second: Sequence[Verdict]) -> Comparison:
    """Compare two models by their verdicts on the same videos."""
    pairs = [
        (by_first, by_second)
        for by_first, by_second in zip(first, second, strict=True)
        if isinstance(by_first, Judged) and isinstance(by_second, Judged)
    ]
    hits = Counter((by_first.correct, by_second.correct) for by_first, by_second in pairs)
    only_first, only_second = hits[True, False], hits[False, True]
    return Comparison(
        both=hits[True, True],
        only_first=only_first,
        only_second=only_second,
        neither=hits[False, False],
        p_value=metrics.mcnemar(only_first, only_second),
        differences=tuple(
            Difference(
                video=by_first.video,
                label=by_first.label,
                right="first" if by_first.correct else "second",
                first=by_first.predicted,
                second=by_second.predicted,
                part=by_first.part,
            )
            for by_first, by_second in pairs
            if by_first.correct != by_second.correct
        ),
    )


def _classes(confusion: metrics.Confusion, labels: Sequence[str]) -> tuple[ClassScores, ...]:
    """The classes that occur, as labels or as predictions, in the model's order."""
    recall, precision = metrics.recall(confusion), metrics.precision(confusion)
    videos: Counter[int] = Counter()
    for (truth, _), count in confusion.items():
        videos[truth] += count
    return tuple(
        ClassScores(labels[number], videos[number], precision.get(number), recall.get(number))
        for number in sorted({*recall, *precision})
    )
