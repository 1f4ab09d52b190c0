"""Split clips into training and validation: every class in proportion, no group in both."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from timesformer_cli.dataset.labelled import LabelledClip


def split_clips(clips: Sequence[LabelledClip], fraction: float, seed: int) -> list[LabelledClip]:
    """The clips, each with a split; those that have one keep it.

    Where no clip is for validation, about `fraction` of each class is drawn for it. Groups are
    never divided; a clip without a group is a group of its own. A class that has only one group
    stays in training.
    """
    named = [replace(clip, split=clip.split or "train") for clip in clips]
    if fraction == 0 or any(clip.split == "val" for clip in named):
        return named
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index, clip in enumerate(named):
        if clip.split == "train":
            groups[f"group {clip.group}" if clip.group else f"clip {index}"].append(index)
    wanted = Counter(label for clip in named if clip.split == "train" for label in _classes(clip))
    quota = {label: fraction * count for label, count in wanted.items()}
    left = Counter({label: _groups_of(label, named, groups) for label in wanted})
    for key in np.random.default_rng([seed, 0]).permutation(sorted(groups)):
        inside = Counter(label for index in groups[key] for label in _classes(named[index]))
        # A group is held out where that brings each of its classes closer to its share.
        if all(quota[label] >= count / 2 and left[label] > 1 for label, count in inside.items()):
            for index in groups[key]:
                named[index] = replace(named[index], split="val")
            for label, count in inside.items():
                quota[label] -= count
                left[label] -= 1
    return named


def _groups_of(label: str, clips: Sequence[LabelledClip], groups: dict[str, list[int]]) -> int:
    return sum(
        any(label in _classes(clips[index]) for index in inside) for inside in groups.values()
    )


def _classes(clip: LabelledClip) -> tuple[str, ...]:
    """The classes in which a clip counts; clips of none are like those of a class of their own."""
    return clip.classes or ("",)
