"""Rare classes: weights in the loss, and an order that takes every class equally often."""

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.dataset.label_matching import shown_label
from timesformer_cli.dataset.table_text import read_text
from timesformer_cli.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

BALANCED, NONE, SHUFFLE = "balanced", "none", "shuffle"
HEADING = ["label", "weight"]
UNEVEN = 3  # times as many clips in one class as in another, from which it is remarked on


def class_weights(
    asked: str, clips: Sequence[LabelledClip], labels: Sequence[str], *, multi_label: bool
) -> tuple[float, ...]:
    """The weight of each class in the loss, for these training clips; empty where all count alike.

    `asked` is `balanced`, `none` or a file. Balanced weights are clips / (classes x clips of the
    class), so that their mean over the clips is 1. Where clips may have several labels the weight
    is that of having the class: clips without it / clips with it. Raises UsageError.
    """
    if asked == NONE:
        return ()
    if asked != BALANCED:
        return _read_weights(Path(asked), labels)
    counts = Counter(dict.fromkeys(labels, 0))
    counts.update(label for clip in clips for label in clip.classes)
    counts = +counts | Counter(
        dict.fromkeys(labels, 1)
    )  # a class without any ends the command later
    if multi_label:
        return tuple((len(clips) - counts[label]) / counts[label] for label in labels)
    return tuple(len(clips) / (len(labels) * counts[label]) for label in labels)


def require_balance(class_weights: str, sampler: str, *, multi_label: bool) -> None:
    """Raise UsageError where classes would be balanced twice, or cannot be drawn equally often."""
    if sampler == BALANCED and class_weights == BALANCED:
        raise UsageError("--sampler balanced and --class-weights balanced: take one of them")
    if sampler == BALANCED and multi_label:
        raise UsageError(
            "--sampler balanced takes each class equally often, which clips of several labels do not "
            "allow; --class-weights balanced weighs them"
        )


def balanced_order(classes: Sequence[Hashable], random: "np.random.Generator") -> list[int]:
    """As many numbers as there are clips, as many of each class; in random order.

    A clip that is taken again has its number and the number of all clips added, once for each time.
    None is taken twice before all of its class were taken once.
    """
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    for number, label in enumerate(classes):
        members[label].append(number)
    total, kinds = len(classes), list(members)
    each, more = divmod(total, len(kinds))
    extra = set(random.permutation(len(kinds))[:more].tolist())
    taken: list[int] = []
    for place, label in enumerate(kinds):
        wanted, inside, times = each + (place in extra), members[label], 0
        while wanted > 0:
            drawn = random.permutation(inside)[:wanted] + times * total
            taken += drawn.tolist()
            wanted, times = wanted - len(drawn), times + 1
    return [taken[place] for place in random.permutation(total)]


def uneven_warning(counts: Sequence[tuple[str, int]]) -> str | None:
    """What to say of classes with few training clips beside others; None where they are alike."""
    (most, many), (least, few) = (by(counts, key=lambda one: one[1]) for by in (max, min))
    if many < UNEVEN * few:
        return None
    return (
        f"class '{shown_label(most)}' has {many} clips to train on and '{shown_label(least)}' {few}; "
        "--class-weights balanced, or --sampler balanced, lets both count alike"
    )


def _read_weights(path: Path, labels: Sequence[str]) -> tuple[float, ...]:
    """The weights of a table `label,weight`; raises UsageError that says file and line."""
    rows = list(csv.reader(read_text(path).splitlines(), skipinitialspace=True))
    weights: dict[str, float] = {}
    if not rows or [cell.strip().lower() for cell in rows[0]] != HEADING:
        raise UsageError(f"{path}:1: a table of weights begins with label,weight")
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        where, (label, text) = f"{path}:{number}", (row if len(row) == 2 else ("", ""))
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if not (math.isfinite(weight) and weight > 0):
            raise UsageError(f"{where}: not a label and a weight above 0")
        if label in weights or label not in labels:
            what = "is there twice" if label in weights else "is no class of the training clips"
            raise UsageError(f"{where}: '{shown_label(label)}' {what}")
        weights[label] = weight
    if missing := [label for label in labels if label not in weights]:
        raise UsageError(f"{path}: no weight for class '{shown_label(missing[0])}'")
    return tuple(weights[label] for label in labels)
