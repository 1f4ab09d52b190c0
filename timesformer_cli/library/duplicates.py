"""Pairs of videos that show the same pictures, and by how much one is behind the other.

1. Every window has a look (`video.look`). Two windows are alike where the product of their looks is
   large enough; two videos are looked at more closely where any of their windows are alike.
2. Each window of the shorter video votes for the time of the window in the other that is most like
   it. Votes that lie on one line, for one of a few paces, say which window belongs to which.
3. The videos are a pair where most windows of the shorter one are alike to their partners on that
   line. A scene that is alike here and there, at times that do not fit, is none.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from timesformer_cli.errors import UsageError
from timesformer_cli.library.store import Library
from timesformer_cli.results import IF_ANY
from timesformer_cli.video.look import WIDTH

Floats = npt.NDArray[np.floating]
Whole = npt.NDArray[np.intp]
# Seconds of a copy that one second of the video takes. The line of pace 1 is left only for one that
# more votes lie on: a second pace is worth a look for what was recorded anew at another rate.
PACES = (1.0, 0.96, 1.0417, 0.98, 1.02, 0.94, 1.06, 0.92, 1.08, 0.9, 1.1, 0.8, 1.25, 0.5, 2.0)
MOST = 0.5  # of the shorter video's windows must be alike to their partners
AT_ONCE = 1 << 24  # products in memory at a time


@dataclass(frozen=True, slots=True)
class Pair:
    """Two videos that show the same."""

    video: str
    other: str
    # What `video` shows at its start is at this second of the other.
    offset: float | None = field(metadata=IF_ANY)
    pace: float | None = field(metadata=IF_ANY)  # seconds of the other for one of `video`
    similarity: float  # mean cosine of the looks of windows that belong together
    shared: float  # share of the shorter one's windows that are alike to their partners


@dataclass(frozen=True, slots=True)
class Aligned:
    """Which moment of one video is which of another: `other = offset + pace * moment`."""

    offset: float
    pace: float
    similarity: float
    shared: float


def duplicates_in(
    library: Library,
    least: float,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[Pair]:
    """The pairs of a library, the most alike first; `tell` hears how many windows are done.

    All looks are held in memory, 0.5 GB for a million. Raises UsageError for a library without them.
    """
    dataset = library.dataset()
    if "look" not in dataset.schema.names:
        raise UsageError(
            f"{library.path}: an earlier release made it, without what copies are known by; fill a "
            "new library with tsf embed"
        )
    table = dataset.to_table(columns=["video", "start", "look"])
    table = table.sort_by([("video", "ascending"), ("start", "ascending")])
    column = table.column("look").combine_chunks()
    looks = column.fill_null([0.0] * WIDTH) if column.null_count else column
    return duplicates_of(
        looks.flatten().to_numpy().reshape(-1, WIDTH).astype(np.float32),
        table.column("video").to_pylist(),
        table.column("start").to_numpy(),
        least,
        library.making.every,
        tell,
    )


def duplicates_of(
    looks: Floats,
    videos: Sequence[str],
    starts: Floats,
    least: float,
    hop: float | None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> list[Pair]:
    """The pairs among windows with these looks, of length 1 or 0; the most alike first.

    The windows of a video follow one another. `hop` is the seconds from one window to the next;
    None means that each video has one, and that there are no offsets.
    """
    names = list(dict.fromkeys(videos))
    numbers = {name: number for number, name in enumerate(names)}
    owner = np.array([numbers[video] for video in videos])
    firsts = np.searchsorted(owner, np.arange(len(names) + 1))
    found = []
    for one, other in _candidates(looks, owner, firsts, least, tell):
        a, b = (slice(firsts[n], firsts[n + 1]) for n in (one, other))
        line = align(looks[a] @ looks[b].T, starts[a], starts[b], least, hop or 0.0)
        if line is not None:
            offset, pace = (None, None) if hop is None else (line.offset, line.pace)
            pair = Pair(names[one], names[other], offset, pace, line.similarity, line.shared)
            found.append(pair)
    return sorted(found, key=lambda pair: (-pair.similarity, pair.video, pair.other))


def _candidates(
    looks: Floats,
    owner: Whole,
    firsts: Whole,
    least: float,
    tell: Callable[[int, int], None],
) -> Iterator[tuple[int, int]]:
    """Pairs of videos that have windows which are alike, the first number the smaller one."""
    count = len(owner)
    step = max(1, AT_ONCE // max(1, count))
    begun = 0
    seen: set[tuple[int, int]] = set()
    while begun < count:
        rows = slice(begun, min(count, begun + step))
        tell(begun, count)
        later = int(owner[begun]) + 1  # each pair once
        if later < len(firsts) - 1:
            after = looks[firsts[later] :]
            best = np.maximum.reduceat(looks[rows] @ after.T, firsts[later:-1] - firsts[later], 1)
            alike, others = np.nonzero(best >= least)
            found = zip(owner[rows][alike].tolist(), (others + later).tolist(), strict=True)
            seen.update(pair for pair in found if pair[0] < pair[1])
        begun = rows.stop
    yield from sorted(seen)


def align(
    alike: Floats, starts: Floats, others: Floats, least: float, hop: float
) -> Aligned | None:
    """The line on which two videos' windows belong together; None where they are no pair.

    `alike` holds the cosine of each window of the one with each of the other; both begin at
    `starts` and `others`, in order.
    """
    if len(starts) > len(others):  # the shorter one votes
        line = align(alike.T, others, starts, least, hop)
        if line is None:
            return None
        return Aligned(
            round(-line.offset / line.pace, 3),
            round(1 / line.pace, 4),
            line.similarity,
            line.shared,
        )
    best = alike.argmax(axis=1)
    voting = np.flatnonzero(alike[np.arange(len(best)), best] >= least)
    if len(voting) <= MOST * len(starts):
        return None
    width = hop or 1.0
    lines, most = [(1.0, 0.0)], 0
    for pace in PACES:
        offsets = others[best[voting]] - pace * starts[voting]
        near = np.abs(offsets[:, None] - offsets[None, :]) <= width if len(offsets) < 500 else None
        if near is None:  # too many to compare each with each
            bins, counts = np.unique(np.round(offsets / width), return_counts=True)
            votes, middle = int(counts.max()), float(bins[counts.argmax()] * width)
        else:
            votes, middle = int(near.sum(1).max()), float(offsets[near.sum(1).argmax()])
        if votes > 1.1 * most:
            close = offsets[np.abs(offsets - middle) <= width]
            lines.append((pace, float(np.median(close))))
            most = votes
    found = [_along(alike, starts, others, line, least, width) for line in lines]
    line = max(found, key=lambda each: (round(each.shared, 2), round(each.similarity, 2)))
    return line if line.shared > MOST else None


def _along(
    alike: Floats,
    starts: Floats,
    others: Floats,
    line: tuple[float, float],
    least: float,
    width: float,
) -> Aligned:
    """How alike the windows are to their partners on a line."""
    pace, offset = line
    wanted = offset + pace * starts
    after = np.searchsorted(others, wanted)
    best = np.full(len(starts), -1.0)
    for place in (after - 1, after):
        near = np.clip(place, 0, len(others) - 1)
        fits = np.abs(others[near] - wanted) <= width
        best = np.maximum(best, np.where(fits, alike[np.arange(len(starts)), near], -1.0))
    right = best >= least
    similarity = float(best[right].mean()) if right.any() else 0.0
    return Aligned(round(offset, 3), pace, round(similarity, 6), round(float(right.mean()), 4))
