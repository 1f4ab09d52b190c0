"""What evaluating yields: a verdict on each video, a model's scores, two models compared."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from timesformer_cli.dataset import metrics
from timesformer_cli.inference.classify import Classified, Fault, Prediction, Result

TOP = 5


@dataclass(frozen=True, slots=True)
class Judged:
    """A video that was read, its label in the model's words; the best prediction comes first."""

    video: str
    status: str
    label: str
    predicted: str
    correct: bool
    predictions: tuple[Prediction, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """A video that could not be read, and its label."""

    video: str
    status: str
    label: str
    error: Fault


Verdict = Judged | Unread


@dataclass(frozen=True, slots=True)
class ClassScores:
    """One class; no precision where it was never predicted, no recall where it has no videos."""

    label: str
    videos: int
    precision: float | None
    recall: float | None


@dataclass(frozen=True, slots=True)
class Cell:
    """How many videos of a label got a prediction."""

    label: str
    predicted: str
    videos: int


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationScores:
    """Shares, from 0 to 1, of the videos that could be read; all None where none could, and `top5`
    for models of no more than five classes. `confusion` holds what occurs.
    """

    videos: int
    readable: int
    correct: int
    top1: float | None = None
    top1_interval: tuple[float, float] | None = None
    top5: float | None = None
    mean_class_accuracy: float | None = None
    calibration_error: float | None = None
    classes: tuple[ClassScores, ...]
    confusion: tuple[Cell, ...]
    unreadable: tuple[Unread, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A video that one model alone, the `first` or the `second`, gets right, and what each says."""

    video: str
    label: str
    right: str
    first: str
    second: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Two models on the videos that both could read; `p_value` is of McNemar's exact test."""

    both: int
    only_first: int
    only_second: int
    neither: int
    p_value: float
    differences: tuple[Difference, ...]


def judge(result: Result, truth: int, labels: Sequence[str]) -> Verdict:
    """What a classified video says of the model, `truth` being the number of its label."""
    if not isinstance(result, Classified):
        return Unread(result.video, result.status, labels[truth], result.error)
    best = result.predictions[0]
    return Judged(
        video=result.video,
        status=result.status,
        label=labels[truth],
        predicted=best.label,
        correct=best.index == truth,
        predictions=result.predictions,
        warnings=result.warnings,
    )


def score_verdicts(
    verdicts: Sequence[Verdict], truths: Sequence[int], labels: Sequence[str]
) -> EvaluationScores:
    """The scores of a model with these classes, from its verdicts and the numbers of their labels."""
    read = [
        (truth, verdict.predictions)
        for truth, verdict in zip(truths, verdicts, strict=True)
        if isinstance(verdict, Judged)
    ]
    confusion = Counter((truth, found[0].index) for truth, found in read)
    right = [truth == found[0].index for truth, found in read]
    shares: dict[str, Any] = {}
    if read:
        shares = {
            "top1": sum(right) / len(read),
            "top1_interval": metrics.interval(sum(right), len(read)),
            "mean_class_accuracy": metrics.mean_class_accuracy(confusion),
            "calibration_error": metrics.calibration_error([f[0].score for _, f in read], right),
        }
        if len(labels) > TOP:
            among = [truth in [one.index for one in found] for truth, found in read]
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
        unreadable=tuple(one for one in verdicts if isinstance(one, Unread)),
    )


def compare_verdicts(first: Sequence[Verdict], second: Sequence[Verdict]) -> Comparison:
    """Two models' verdicts on the same videos."""
    pairs = [
        (one, other)
        for one, other in zip(first, second, strict=True)
        if isinstance(one, Judged) and isinstance(other, Judged)
    ]
    hits = Counter((one.correct, other.correct) for one, other in pairs)
    only_first, only_second = hits[True, False], hits[False, True]
    return Comparison(
        both=hits[True, True],
        only_first=only_first,
        only_second=only_second,
        neither=hits[False, False],
        p_value=metrics.mcnemar(only_first, only_second),
        differences=tuple(
            Difference(
                video=one.video,
                label=one.label,
                right="first" if one.correct else "second",
                first=one.predicted,
                second=other.predicted,
            )
            for one, other in pairs
            if one.correct != other.correct
        ),
    )


def verdict_to_dict(verdict: Verdict) -> dict[str, Any]:
    """The verdict, field for field; `warnings` only where there are some."""
    values = asdict(verdict)
    if not values.get("warnings", True):
        del values["warnings"]
    return values


def _classes(confusion: metrics.Confusion, labels: Sequence[str]) -> tuple[ClassScores, ...]:
    """The classes that occur, as labels or as predictions, in the model's order."""
    recall, precision = metrics.recall(confusion), metrics.precision(confusion)
    videos: Counter[int] = Counter()
    for (truth, _), count in confusion.items():
        videos[truth] += count
    return tuple(
        ClassScores(labels[one], videos[one], precision.get(one), recall.get(one))
        for one in sorted({*recall, *precision})
    )
