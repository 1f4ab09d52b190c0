"""How models do on windows of real footage whose motion is clear: figures, and a table of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scripts.camera_motion.oracle import ANSWERS, STATIC
from timesformer_cli.dataset.metrics import calibration_error, mean_class_accuracy

BINS = 10  # of the score, for the calibration error
CONFIDENT = 0.8  # a score from which on an answer is relied upon
UNCLEAR = "unclear"  # the label of a model that will not say; the oracle's windows are all clear


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A window whose motion is clear, and what each model says of it."""

    video: str
    start: float  # seconds from the first frame
    end: float
    oracle: str  # the camera's motion
    right: float  # the content's shift over the window, in frame widths
    down: float  # likewise
    growth: float  # logarithm of the content's magnification
    turn: float  # degrees that the content turns clockwise
    answers: Mapping[str, tuple[str, float]]  # by model: its best label and that label's score


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """How one model does on the rows; shares are from 0 to 1, and None of nothing."""

    right: Counter[str]  # windows by the oracle's label
    wrong: Counter[tuple[str, str]]  # windows by the oracle's label and the model's
    accuracy: float
    class_mean: float  # of the accuracies of the labels that occur
    standing: float | None  # accuracy where the camera stands still
    moving: float | None  # accuracy where it moves
    calibration: float  # expected error of the score, unclear answers counted as wrong ones
    confident: float  # share of windows with a score of CONFIDENT or more and not called unclear
    precision: float | None  # accuracy of these
    unclear: int | None  # windows called so; None where the model has no such label
    otherwise: float | None  # accuracy of the other windows


def share(hits: Sequence[bool]) -> float | None:
    """The share of hits; None of nothing."""
    return sum(hits) / len(hits) if hits else None


def figures(rows: Sequence[Row], model: str, labels: Sequence[str]) -> Figures:
    """The figures of a model with these labels; there is at least one row."""
    truths = [row.oracle for row in rows]
    said, scores = zip(*(row.answers[model] for row in rows), strict=True)
    hits = [label == truth for label, truth in zip(said, truths, strict=True)]
    pairs = Counter(zip(truths, said, strict=True))
    told = [label != UNCLEAR for label in said]

    def accuracy_where(chosen: Sequence[bool]) -> float | None:
        return share([hit for hit, one in zip(hits, chosen, strict=True) if one])

    sure = [score >= CONFIDENT and one for score, one in zip(scores, told, strict=True)]
    standing = [truth == STATIC for truth in truths]
    numbers = {label: number for number, label in enumerate(labels)}
    return Figures(
        right=Counter({truth: count for (truth, label), count in pairs.items() if truth == label}),
        wrong=Counter({pair: count for pair, count in pairs.items() if pair[0] != pair[1]}),
        accuracy=sum(hits) / len(hits),
        class_mean=mean_class_accuracy(
            {(numbers[truth], numbers[label]): count for (truth, label), count in pairs.items()}
        ),
        standing=accuracy_where(standing),
        moving=accuracy_where([not one for one in standing]),
        calibration=calibration_error(scores, hits, BINS),
        confident=sum(sure) / len(sure),
        precision=accuracy_where(sure),
        unclear=told.count(False) if UNCLEAR in labels else None,
        otherwise=accuracy_where(told),
    )


def table(rows: Sequence[Row], models: Mapping[str, Sequence[str]]) -> str:
    """All figures as Markdown, a column for each model, and the wrong answers below.

    `models` has each model's labels by its name.
    """
    clear = Counter(row.oracle for row in rows)
    found = [figures(rows, model, labels) for model, labels in models.items()]

    def line(name: str, cells: Sequence[str], count: int | str = "") -> str:
        return "| " + " | ".join([name, str(count), *cells]) + " |"

    def percent(value: float | None) -> str:
        return "-" if value is None else f"{value:.1%}"

    lines = [
        line("what the oracle says", list(models), "clear windows"),
        line("---", ["--:"] * len(found), "--:"),
        *(
            line(label, [str(each.right[label]) for each in found], clear[label])
            for label in ANSWERS
            if clear[label]
        ),
        line(
            "all",
            [f"{each.right.total()}, {percent(each.accuracy)}" for each in found],
            len(rows),
        ),
        line("mean over classes", [percent(each.class_mean) for each in found]),
        line("standing camera", [percent(each.standing) for each in found], clear[STATIC]),
        line("moving camera", [percent(each.moving) for each in found], len(rows) - clear[STATIC]),
        line(f"calibration error, {BINS} bins", [f"{each.calibration:.3f}" for each in found]),
        line(f"right at a score from {CONFIDENT}", [percent(each.precision) for each in found]),
        line(f"share of scores from {CONFIDENT}", [percent(each.confident) for each in found]),
    ]
    if any(each.unclear is not None for each in found):
        told = ["-" if each.unclear is None else str(each.unclear) for each in found]
        lines += [
            line(f"called {UNCLEAR}", told),
            line(f"right without {UNCLEAR}", [percent(each.otherwise) for each in found]),
        ]
    for model, each in zip(models, found, strict=True):
        lines += ["", f"Wrong answers of {model}:", ""]
        for truth in ANSWERS:
            said = [(n, label) for (own, label), n in each.wrong.items() if own == truth]
            if said:
                answers = ", ".join(f"{label} {count}" for count, label in sorted(said)[::-1])
                lines.append(f"- {truth}: {answers}")
        if not each.wrong:
            lines.append("- none")
    return "\n".join(lines)
