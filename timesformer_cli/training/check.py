"""Checks all clips before the first step: which can be read, which occur twice, how long they are.

A clip that cannot be read would otherwise be met in the middle of the training, and the same clip
in two splits would make the validation a test of memory.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import fmean, median

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.dataset.metrics import interval
from timesformer_cli.dataset.repeated import overlapping
from timesformer_cli.dataset.split_names import SPLITS
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.files import regular_file
from timesformer_cli.training.imbalance import uneven_warning
from timesformer_cli.training.shortcuts import Shortcut, given_away
from timesformer_cli.video import Decoded, DecodePool, VideoPath
from timesformer_cli.video.decoders.pillow import pictures_of
from timesformer_cli.video.tar_members import TarPart, member_pieces
from timesformer_cli.weights.digest import SHA256

FEW = 100  # validation clips, below which their number is remarked on
# Not `\b`, to which an underscore is a letter: `turn_left` says a direction, `leftover` does not.
DIRECTION = re.compile(r"(?<![a-z])(left|right)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CheckedClip:
    """What the check found out about one clip."""

    item: LabelledClip
    error: str | None = None  # why it could not be read; the rest is then empty
    seconds: float = 0.0  # length of the video
    decoded_bytes: int = 0  # of the frames of one draw
    digest: str = ""  # SHA-256 of the file
    width: int = 0  # of the video as shown, in pixels
    height: int = 0
    fps: float = 0.0


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Readable clips of a class in each split; a clip of several classes counts in each."""

    label: str
    train: int
    val: int
    test: int
    weight: float | None = None  # in the loss, where classes are weighed
    taken: int | None = None  # training clips an epoch, where each class is taken equally often


@dataclass(frozen=True, slots=True)
class SeveralCount:
    """How many labels the readable clips have, where they may have several."""

    fewest: int
    mean: float
    most: int
    without: int  # clips that have none


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What the check found out about all clips."""

    classes: tuple[ClassCount, ...]
    clips: dict[str, int]  # readable ones, per split
    several: SeveralCount | None  # None where each clip has one label
    unreadable: tuple[tuple[str, str], ...]  # paths, each with the reason
    duplicates: tuple[tuple[str, ...], ...]  # paths of one content in several splits or classes
    lengths: tuple[float, float, float]  # seconds of the shortest, the median and the longest clip
    warnings: tuple[str, ...]
    shortcuts: tuple[Shortcut, ...] = ()  # what those get on the held-out clips who see no motion
    picture: str | None = None  # path of the picture that shows the first batch


def check_clips(
    clips: Sequence[LabelledClip],
    pool: DecodePool,
    sampling: Sampling,
    preprocessing: Preprocessing,
    watch: Callable[[int, int], None],
) -> Iterator[CheckedClip]:
    """Decode and hash every clip once; `watch(done, total)` is called after each."""
    decoded = pool.decode((clip.video for clip in clips), sampling, preprocessing, crops=0)
    digest = cache(_digest)  # a video may have many parts
    for done, (clip, result) in enumerate(zip(clips, decoded, strict=True), start=1):
        yield _checked(clip, result, digest)
        watch(done, len(clips))


def _checked(
    clip: LabelledClip, result: Decoded | VideoError, digest: Callable[[VideoPath], str]
) -> CheckedClip:
    if isinstance(result, VideoError):
        listed = f"; {clip.where}" if clip.is_part and clip.where else ""
        return CheckedClip(clip, f"{result.kind}: {result}{listed}")
    length = result.probe.duration
    return CheckedClip(
        clip,
        seconds=(length if clip.end is None else min(length, clip.end)) - clip.start,
        decoded_bytes=result.frames.nbytes,
        digest=digest(replace(clip, start=0.0, end=None).video),
        width=result.probe.width,
        height=result.probe.height,
        fps=result.probe.fps,
    )


def _digest(video: VideoPath) -> str:
    """A hash of the file, of a member of a tar file, or of all files of a folder of pictures."""
    hasher = SHA256.start(0)
    if video.member is not None:
        shard, *part = video.member
        with regular_file(Path(shard)) as (file, _):
            for piece in member_pieces(shard, file.fileno(), TarPart(*part)):
                hasher.update(piece)
        return hasher.hexdigest()
    if not os.path.isdir(video.path):
        return SHA256.of_file(Path(video.path))
    for picture in pictures_of(video.path):
        hasher.update(SHA256.of_file(Path(picture)).encode())
    return hasher.hexdigest()


def summarise_checks(
    checked: Sequence[CheckedClip],
    labels: Sequence[str],
    *,
    flip: bool,
    weights: Mapping[str, float] | None = None,
    balanced: bool = False,
) -> Findings:
    """The findings of all clips; `flip` says whether training mirrors clips.

    `weights` are those of the classes in the loss, `balanced` whether an epoch takes each class
    equally often. Raises UsageError for a class that has no readable clip to train on.
    """
    good = [clip for clip in checked if clip.error is None]
    counts = Counter((label, clip.item.split) for clip in good for label in clip.item.classes)
    each = sum(clip.item.split == "train" for clip in good) // len(labels) if balanced else None
    classes = tuple(
        ClassCount(
            label=label,
            train=counts[label, "train"],
            val=counts[label, "val"],
            test=counts[label, "test"],
            weight=(weights or {}).get(label),
            taken=each,
        )
        for label in labels
    )
    for row in classes:
        if not row.train:
            raise UsageError(f"class '{row.label}' has no readable clip to train on")
    alike: defaultdict[str, list[LabelledClip]] = defaultdict(list)
    for clip in good:
        alike[clip.digest].append(clip.item)
    seconds = [clip.seconds for clip in good]
    clips = {split: sum(clip.item.split == split for clip in good) for split in SPLITS}
    return Findings(
        classes=classes,
        clips=clips,
        several=_several(good),
        unreadable=tuple(
            (clip.item.name, clip.error) for clip in checked if clip.error is not None
        ),
        duplicates=tuple(filter(None, map(_named_twice, alike.values()))),
        lengths=(min(seconds), median(seconds), max(seconds)),
        warnings=(
            *_warnings(classes, flip),
            *_uneven(classes),
            *_few(clips["val"]),
            *_divided(alike.values()),
        ),
    )


def with_shortcuts(findings: Findings, shortcuts: tuple[Shortcut, ...]) -> Findings:
    """The findings with what those get who see no motion, and a warning where that is much."""
    warning = given_away(shortcuts)
    warnings = (*findings.warnings, warning) if warning else findings.warnings
    return replace(findings, shortcuts=shortcuts, warnings=warnings)


def _uneven(classes: Sequence[ClassCount]) -> Iterator[str]:
    if all(row.weight is None and row.taken is None for row in classes):
        warning = uneven_warning([(row.label, row.train) for row in classes])
        yield from filter(None, [warning])


def _named_twice(same: Sequence[LabelledClip]) -> tuple[str, ...]:
    """Those clips of one content that stand in several splits or classes."""
    if len({(clip.split, clip.label) for clip in same}) == 1:
        return ()
    pairs = (
        pair for pair in overlapping(same) if len({(clip.split, clip.label) for clip in pair}) > 1
    )
    return tuple(dict.fromkeys(clip.name for pair in pairs for clip in pair))


def _divided(alike: Iterable[Sequence[LabelledClip]]) -> Iterator[str]:
    """A warning of videos whose parts are in several splits: they show the same scene."""
    divided = [
        clips[0].path
        for clips in alike
        if any(clip.is_part for clip in clips) and len({clip.split for clip in clips}) > 1
    ]
    if divided:
        yield (
            f"parts of one video are in several splits ({len(divided)} videos, such as "
            f"{divided[0]}): they show the same scene"
        )


def _several(clips: Sequence[CheckedClip]) -> SeveralCount | None:
    if any(clip.item.labels is None for clip in clips):
        return None
    counts = [len(clip.item.classes) for clip in clips]
    return SeveralCount(min(counts), fmean(counts), max(counts), counts.count(0))


def _warnings(classes: Sequence[ClassCount], flip: bool) -> Iterator[str]:
    directed = [row.label for row in classes if DIRECTION.search(row.label)]
    if directed and flip:
        names = ", ".join(f"'{label}'" for label in directed[:3])
        yield f"half of the clips are mirrored, and {names} says a direction; --no-flip stops it"
    if any(row.val for row in classes):
        for row in classes:
            if not row.val:
                yield f"class '{row.label}' has no clip to validate on ({row.train} to train on)"


def _few(clips: int) -> Iterator[str]:
    """A warning where so few clips validate that their share of right ones says little."""
    if 0 < clips < FEW:
        low, high = interval(clips // 2, clips)
        yield (
            f"{clips} validation clips are few: {clips // 2} right would mean {low:.0%} to "
            f"{high:.0%} (95 % interval); --folds 5 validates on every clip"
        )


def readable(checked: Sequence[CheckedClip]) -> tuple[LabelledClip, ...]:
    """The clips that training goes on with."""
    return tuple(clip.item for clip in checked if clip.error is None)
