"""Blank parts of a clip and look what becomes of its score: occlusion, proofs, and frames.

What is blank shows no grey, whose edges alone upset a model; in a proof, whole places stand still,
because a patch that is blank for a moment is a motion of its own (docs/explain.md compares ways).
Nothing here knows the model: `Score` gives one label's score for each of some clips.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import product

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from timesformer_cli.explain.results import Curve, Map, MapProof
from timesformer_cli.grouping import Grid
from timesformer_cli.video.facts import Pixels

Score = Callable[[Iterator[Pixels]], npt.NDArray[np.float32]]
Shown = npt.NDArray[np.bool_]  # (t h w)

BLUR = 1 / 8  # of the picture's height: the blur's standard deviation
BOX = (1, 2, 2)  # frames, rows and columns of patches that occlusion blanks at once
STEPS = 12  # of a deletion or insertion curve
RANDOM_ORDERS = 3
SEED = 0


def blurred(frames: Pixels) -> Pixels:
    """The frames `(frames height width 3)` as seen from far away."""
    blur = ImageFilter.GaussianBlur(frames.shape[1] * BLUR)
    return np.stack([np.asarray(Image.fromarray(frame).filter(blur)) for frame in frames])


def standing_still(frames: Pixels) -> Pixels:
    """The first frame throughout: its picture is left, and nothing that happens in time."""
    return np.broadcast_to(frames[:1], frames.shape)


def with_only(frames: Pixels, shown: Shown, blank: Pixels) -> Pixels:
    """The frames where their patches are shown, and elsewhere the blank ones, or one colour."""
    tall, wide = (
        side // count for side, count in zip(frames.shape[1:3], shown.shape[1:], strict=True)
    )
    whole = shown.repeat(len(frames) // len(shown), 0).repeat(tall, 1).repeat(wide, 2)
    return np.where(whole[..., None], frames, blank)


def occlusion(frames: Pixels, grid: Grid, score: Score) -> Map:
    """By how much the score falls when boxes of BOX patches are blurred (arXiv 1311.2901)."""
    blank = blurred(frames)
    boxes = [
        tuple(slice(start, start + size) for start, size in zip(corner, BOX, strict=True))
        for corner in product(*(range(0, n, size) for n, size in zip(grid, BOX, strict=True)))
    ]

    def blanked() -> Iterator[Pixels]:
        yield frames
        for box in boxes:
            shown = np.ones(grid, bool)
            shown[box] = False
            yield with_only(frames, shown, blank)

    whole, *others = score(blanked())
    fallen = np.zeros(grid, np.float32)
    for box, other in zip(boxes, others, strict=True):
        fallen[box] = max(0.0, float(whole - other))
    return fallen


def carried_by_frames(frames: Pixels, rows: int, score: Score) -> tuple[float, ...]:
    """By how much the score falls when a row of the map shows its neighbour; see `Explained`."""
    parts = np.split(frames, rows)
    pairs = [
        (row, other) for row in range(rows) for other in (row - 1, row + 1) if 0 <= other < rows
    ]

    def replaced() -> Iterator[Pixels]:
        yield frames
        for row, other in pairs:
            yield np.concatenate([*parts[:row], parts[other], *parts[row + 1 :]])

    whole, *others = score(replaced())
    fallen = [0.0] * rows
    for (row, _), other in zip(pairs, others, strict=True):
        fallen[row] = max(fallen[row], round(float(whole - other), 6))
    return tuple(fallen)


def prove_map(frames: Pixels, map: Map, score: Score) -> MapProof:
    """The curves of the map, of chance, and of the picture's centre, where places stand still."""
    random = np.random.default_rng(SEED)
    places = map.sum(0, keepdims=True)
    rows, columns = (np.abs(np.arange(n) - (n - 1) / 2) / n for n in map.shape[1:])
    near = -np.hypot(rows[:, None], columns[None])
    orders: list[Map] = [
        places,
        *(random.random(places.shape, np.float32) for _ in range(RANDOM_ORDERS)),
        near[None].astype(np.float32),
    ]
    own, *chance, centre = curves_of(frames, orders, standing_still(frames), score, random)
    return MapProof(map=own, random=tuple(chance), centre=centre)


def curves_of(
    frames: Pixels,
    orders: Sequence[Map],
    blank: Pixels,
    score: Score,
    random: np.random.Generator,
) -> tuple[Curve, ...]:
    """Deletion and insertion curves (arXiv 1806.07421) of each order, the largest patches first.

    An order `(1 h w)` is one of places, which are blank in all frames together.
    """
    # Equal patches come in random order: a map of zeros is then no better than chance.
    ranks = [_ranks(order, random.random(order.shape, np.float32)) for order in orders]
    ends = [round(step * orders[0].size / STEPS) for step in range(STEPS + 1)]

    def masked() -> Iterator[Pixels]:
        for rank in ranks:
            for end in ends:
                yield with_only(frames, rank >= end, blank)
            for end in ends:
                yield with_only(frames, rank < end, blank)

    scores = score(masked()).reshape(len(ranks), 2, len(ends)).round(6).tolist()
    return tuple(Curve(deletion=tuple(d), insertion=tuple(i)) for d, i in scores)


def scorings(rows: int, grid: Grid, *, occluded: bool, proved: bool) -> int:
    """How many clips the functions above score together."""
    boxes = int(np.prod([-(-n // size) for n, size in zip(grid, BOX, strict=True)]))
    return (
        (1 + 2 * (rows - 1))
        + (1 + boxes if occluded else 0)
        + ((2 + RANDOM_ORDERS) * 2 * (STEPS + 1) if proved else 0)
    )


def _ranks(order: Map, among_equals: Map) -> npt.NDArray[np.intp]:
    """The place of each patch when those with the largest numbers come first."""
    ranks = np.empty(order.size, np.intp)
    ranks[np.lexsort((among_equals.ravel(), -order.ravel()))] = np.arange(order.size)
    return ranks.reshape(order.shape)
