"""Clips into training and validation: every class in proportion, no group in both."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from timesformer_cli.dataset.labelled import LabelledClip


def split_clips(items: Sequence[LabelledClip], fraction: float, seed: int) -> list[LabelledClip]:
    """The items, each with its split; those that have one keep it.

    Where none is for validation, about `fraction` of each class is drawn for it, groups as wholes
    (a clip without a group is one of its own); a class that has one group only stays in training.
    """
    named = [replace(item, split=item.split or "train") for item in items]
    if fraction == 0 or any(item.split == "val" for item in named):
        return named
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index, item in enumerate(named):
        if item.split == "train":
            groups[f"group {item.group}" if item.group else f"clip {index}"].append(index)
    wanted = Counter(item.label for item in named if item.split == "train")
    quota = {label: fraction * count for label, count in wanted.items()}
    left = Counter({label: _groups_of(label, named, groups) for label in wanted})
    for key in np.random.default_rng([seed, 0]).permutation(sorted(groups)):
        inside = Counter(named[index].label for index in groups[key])
        # A group goes where it brings every class of its own closer to its share.
        if all(quota[label] >= count / 2 and left[label] > 1 for label, count in inside.items()):
            for index in groups[key]:
                named[index] = replace(named[index], split="val")
            for label, count in inside.items():
                quota[label] -= count
                left[label] -= 1
    return named


def _groups_of(label: str, items: Sequence[LabelledClip], groups: dict[str, list[int]]) -> int:
    return sum(any(items[index].label == label for index in inside) for inside in groups.values())
