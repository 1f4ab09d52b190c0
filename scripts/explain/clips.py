"""Clips of which is known what decides their class: one object, at one place, for three frames.

Nine bars of one patch stand on drifting blobs, each for three frames, equally bright in each. One of
them turns, by 45 degrees a frame; the class is which way. The others, the decoys, stand still or turn
by 90 degrees, which is no way. No single frame tells the class, and no contrast tells the place.

Frames alone (`in_time=False`) tell another class: one bar of nine leans, in its middle frame, and the
class is to which side.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from timesformer_cli.video.facts import Pixels

FRAMES, CELLS, PATCH = 8, 10, 8  # frames, cells along a side, and pixels along one
SIDE = CELLS * PATCH
DECOYS = 8
DURATION = 3  # frames for which a bar is there
CLASSES = ("left", "right", "neither")
STEPS = (1, -1)  # of the first two classes, in steps of 45 degrees a frame
STILL = np.array([(0, 0, 0), (0, 2, 0), (0, 0, 2), (0, 2, 2)])  # of decoys: the same, or 90 degrees
BLOBS = 5
BRIGHT = 110  # levels by which a bar stands out
MIDDLE = 90  # level of the background
NOISE = 4  # levels


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeClips:
    """Clips, their classes, and the patches that decide them."""

    frames: Pixels  # (n t height width 3)
    classes: NDArray[np.int64]
    decisive: NDArray[np.bool_]  # (n t h w): the bar that turns, and a patch around it on each side


def make_clips(
    random: np.random.Generator, count: int, *, in_time: bool, turning: int = 1
) -> MadeClips:
    """Some clips; with more bars that turn, all in the same way, there are fewer decoys."""
    classes = random.integers(0, len(CLASSES), count)
    bars = 1 + DECOYS
    places, begins = _places(random, count, bars), random.integers(0, FRAMES - 2, (count, bars))
    first = random.integers(0, 4, (count, bars, 1))
    turned = STILL[random.integers(0, len(STILL), (count, bars))]
    told = np.flatnonzero(classes < len(STEPS))
    step = np.array(STEPS)[classes[told], None, None]
    if in_time:
        turned[told, :turning] = step * np.arange(DURATION)
    else:  # upright or flat, but for the middle of what leans
        first -= first % 2
        turned[told, :turning, 1] = step[..., 0]
    turns = (first + turned) % 4
    frames = _background(random, count)
    cells = np.zeros((count, FRAMES, CELLS, CELLS, PATCH, PATCH), np.float32)
    rows, columns = np.divmod(places, CELLS)
    n = np.arange(count)[:, None]
    for frame in range(DURATION):
        cells[n, begins + frame, rows, columns] = BARS[turns[:, :, frame]]
    frames += BRIGHT * cells.transpose(0, 1, 2, 4, 3, 5).reshape(frames.shape)
    grey = frames.round().clip(0, 255).astype(np.uint8)
    return MadeClips(
        frames=grey[..., None].repeat(3, -1),
        classes=classes,
        decisive=_around(begins[:, 0], rows[:, 0], columns[:, 0]),
    )


def _places(random: np.random.Generator, count: int, bars: int) -> NDArray[np.int64]:
    """Cells `(count bars)` of a clip, none of which touch."""
    wish = random.random((count, CELLS * CELLS))
    found = []
    for _ in range(bars):
        found.append(wish.argmin(1))
        wish[TOUCHING[found[-1]]] = np.inf
    return np.stack(found, 1)


def _background(random: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Blobs that drift, brighter and darker than the background, and noise: `(count t side side)`."""
    shape = (count, BLOBS, 1)
    size = random.uniform(6, 12, (*shape, 1))
    level = np.float32(random.choice((-1, 1), shape) * random.uniform(25, 60, shape))
    time = np.arange(FRAMES)

    def along() -> NDArray[np.float32]:
        middle = random.uniform(0, SIDE, shape) + random.uniform(-3, 3, shape) * time
        return np.exp(-(((np.arange(SIDE) - middle[..., None]) / size) ** 2) / 2).astype(np.float32)

    blobs = np.einsum("nbty,nbtx->ntyx", along() * level[..., None], along(), optimize=True)
    noise: NDArray[np.float32] = random.standard_normal(blobs.shape, np.float32)
    return MIDDLE + NOISE * noise + blobs


def _around(
    begins: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """The three frames and the 3 x 3 patches around a cell, as far as there are any."""

    def near(middles: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
        return np.abs(np.arange(size) - middles[:, None]) <= 1

    t, h, w = near(begins + 1, FRAMES), near(rows, CELLS), near(columns, CELLS)
    return t[:, :, None, None] & h[:, None, :, None] & w[:, None, None, :]


def _bar(turns: int) -> NDArray[np.float32]:
    """A bar, turned by so many times 45 degrees; all of them are equally bright in sum."""
    down, across = np.mgrid[:PATCH, :PATCH] - (PATCH - 1) / 2
    angle = turns * np.pi / 4
    beside = np.abs(across * np.cos(angle) + down * np.sin(angle))
    drawn = (2 - beside).clip(0, 1) * (np.hypot(down, across) < PATCH / 2)
    return (drawn / drawn.sum() * 2 * PATCH).astype(np.float32)


BARS = np.stack([_bar(turns) for turns in range(4)])
_ROWS, _COLUMNS = np.divmod(np.arange(CELLS * CELLS), CELLS)
TOUCHING = (np.abs(_ROWS[:, None] - _ROWS) <= 1) & (np.abs(_COLUMNS[:, None] - _COLUMNS) <= 1)
