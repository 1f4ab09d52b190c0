"""A look at all the clips before the first step: what is there, what cannot be read or is double."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.dataset.labelled import SPLITS, LabelledClip
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.video import Decoded, DecodePool
from timesformer_cli.weights.digest import SHA256

DIRECTION = re.compile(r"(?<![a-z])(left|right)(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class CheckedClip:
    """One clip as it was found: seconds, bytes of its decoded frames, hash of its file."""

    item: LabelledClip
    error: str | None = None
    seconds: float = 0.0
    decoded_bytes: int = 0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ClassCount:
    """Readable clips of a class in each split."""

    label: str
    train: int
    val: int
    test: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What the check found. `duplicates` are paths of the same content in different splits or
    classes; `lengths` the shortest, middle and longest clip in seconds; `picture` shows the first
    batch as the model will see it.
    """

    classes: tuple[ClassCount, ...]
    unreadable: tuple[tuple[str, str], ...]
    duplicates: tuple[tuple[str, ...], ...]
    lengths: tuple[float, float, float]
    warnings: tuple[str, ...]
    picture: str | None = None


def check_clips(
    items: Sequence[LabelledClip],
    pool: DecodePool,
    sampling: Sampling,
    preprocessing: Preprocessing,
    watch: Callable[[int, int], None],
) -> Iterator[CheckedClip]:
    """Decode and hash every clip once; `watch` hears how many are done, of how many."""
    decoded = pool.decode((item.path for item in items), sampling, preprocessing, crops=0)
    for done, (item, result) in enumerate(zip(items, decoded, strict=True), start=1):
        yield _looked(item, result)
        watch(done, len(items))


def _looked(item: LabelledClip, result: Decoded | VideoError) -> CheckedClip:
    if isinstance(result, VideoError):
        return CheckedClip(item, f"{result.kind}: {result}")
    return CheckedClip(
        item,
        seconds=result.probe.duration,
        decoded_bytes=result.frames.nbytes,
        digest=SHA256.of_file(Path(item.path)),
    )


def summarise_checks(
    looked: Sequence[CheckedClip], labels: Sequence[str], *, flip: bool
) -> Findings:
    """Sum up; raises UsageError for a class that has no clip to train on."""
    good = [one for one in looked if one.error is None]
    counts = Counter((one.item.label, one.item.split) for one in good)
    classes = tuple(ClassCount(label, *(counts[label, s] for s in SPLITS)) for label in labels)
    for row in classes:
        if not row.train:
            raise UsageError(f"class '{row.label}' has no readable clip to train on")
    alike: defaultdict[str, list[LabelledClip]] = defaultdict(list)
    for one in good:
        alike[one.digest].append(one.item)
    seconds = [one.seconds for one in good]
    return Findings(
        classes=classes,
        unreadable=tuple((one.item.path, one.error) for one in looked if one.error is not None),
        duplicates=tuple(
            tuple(item.path for item in same)
            for same in alike.values()
            if len({(item.split, item.label) for item in same}) > 1
        ),
        lengths=(min(seconds), median(seconds), max(seconds)),
        warnings=tuple(_warnings(classes, flip)),
    )


def _warnings(classes: Sequence[ClassCount], flip: bool) -> Iterator[str]:
    directed = [row.label for row in classes if DIRECTION.search(row.label)]
    if directed and flip:
        names = ", ".join(f"'{label}'" for label in directed[:3])
        yield f"half of the clips are mirrored, and {names} says a direction; --no-flip stops it"
    if any(row.val for row in classes):
        for row in classes:
            if not row.val:
                yield f"class '{row.label}' has no clip to validate on ({row.train} to train on)"


def readable(looked: Sequence[CheckedClip]) -> tuple[LabelledClip, ...]:
    """The clips that training goes on with."""
    return tuple(one.item for one in looked if one.error is None)
