"""Split clips into training and validation: every class in proportion, no group in both."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.errors import UsageError


def split_clips(clips: Sequence[LabelledClip], fraction: float, seed: int) -> list[LabelledClip]:
    """The clips, each with a split; those that have one keep it.

    Where no clip is for validation, about `fraction` of each class is drawn for it. Groups are
    never divided; a clip without a group is a group of its own, and so are the parts of one video.
    A class that has only one group stays in training.
    """
    named = [replace(clip, split=clip.split or "train") for clip in clips]
    if fraction == 0 or any(clip.split == "val" for clip in named):
        return named
    groups = _groups(named, ("train",))
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


def fold_clips(clips: Sequence[LabelledClip], folds: int, seed: int) -> list[list[LabelledClip]]:
    """The clips once for each fold: each clip validates in one fold and is trained on in the others.

    Groups are never divided, and each class is spread over the folds. Clips for a test stay there.
    Raises UsageError for fewer groups than folds, and for a class of one group, which some fold
    could not learn.
    """
    groups = _groups(clips, (None, "train", "val"))
    if len(groups) < folds:
        raise UsageError(f"--folds {folds}: there are {len(groups)} clips or groups to divide")
    for label in sorted({label for clip in clips for label in _classes(clip)}):
        if _groups_of(label, clips, groups) < 2:
            raise UsageError(
                f"--folds {folds}: class '{label}' has one clip or group, which cannot be in training "
                "and validation"
            )
    drawn = np.random.default_rng([seed, 1]).permutation(sorted(groups))
    have = [Counter[str]() for _ in range(folds)]
    fold_of: dict[int, int] = {}
    for key in sorted(drawn, key=lambda key: -len(groups[key])):  # what is large finds room first
        inside = Counter(label for index in groups[key] for label in _classes(clips[index]))
        best = min(
            range(folds),
            key=lambda fold: (
                sum(have[fold][label] * count for label, count in inside.items()),
                have[fold].total(),
            ),
        )
        have[best].update(inside)
        fold_of |= dict.fromkeys(groups[key], best)
    return [
        [
            replace(clip, split="val" if fold_of[index] == fold else "train")
            if index in fold_of
            else clip
            for index, clip in enumerate(clips)
        ]
        for fold in range(folds)
    ]


def _groups(clips: Sequence[LabelledClip], splits: tuple[str | None, ...]) -> dict[str, list[int]]:
    """The places of the clips of these splits by group; without one, the parts of a video are one."""
    groups: defaultdict[str, list[int]] = defaultdict(list)
    first: dict[str, int] = {}
    for index, clip in enumerate(clips):
        if clip.split in splits:
            own = f"clip {first.setdefault(clip.path, index)}"
            groups[f"group {clip.group}" if clip.group else own].append(index)
    return groups


def _groups_of(label: str, clips: Sequence[LabelledClip], groups: dict[str, list[int]]) -> int:
    return sum(
        any(label in _classes(clips[index]) for index in inside) for inside in groups.values()
    )


def _classes(clip: LabelledClip) -> tuple[str, ...]:
    """The classes in which a clip counts; clips of none are like those of a class of their own."""
    return clip.classes or ("",)
