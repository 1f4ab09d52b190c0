"""What a flat picture lacks: depth, parts that move by themselves, and a sensor read row by row.

A scene point's nearness is the inverse of its distance, 1 at the picture's own: a camera that moves
sideways shifts it that many times as far, and one that walks forward magnifies it so much faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.camera_motion.paths import Floats, log_uniform

Grid = NDArray[np.float32]

EXTENT = 4.0  # frame widths of the scene that a grid spans, about the camera's centre at rest
CELLS = 64
COARSE = 4  # pixels between two points whose place in the scene is computed; the rest lies between


@dataclass(frozen=True, slots=True)
class Flow:
    """A part of the scene that moves in its place: leaves and water sway, a screen's picture runs."""

    region: Grid  # how much each place of the scene takes part, 0 to 1
    sway: Floats  # amplitude, in frame widths
    waves: Floats  # per frame width, along x and y
    beat: float  # swings per clip
    phase: float
    run: Floats  # frame widths over the clip

    def __call__(self, x: Grid, y: Grid, t: float) -> tuple[Grid, Grid]:
        part = _look_up(self.region, x, y)
        swing = np.sin(
            2 * np.pi * (self.waves[0] * x + self.waves[1] * y + self.beat * t) + self.phase
        )
        return tuple(part * (self.sway[i] * swing + self.run[i] * t) for i in (0, 1))  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class World:
    """A scene in depth; the plain one is a flat picture, seen all at once."""

    nearness: Grid | None = None
    walks: bool = False  # whether it is walking that magnifies, and not the lens
    flows: Sequence[Flow] = ()
    delay: float = 0.0  # between the first and the last row's exposure, as a share of the clip
    combed: bool = False  # whether it is every other row that is late, as in interlaced films

    @property
    def flat(self) -> bool:
        """Whether one matrix says where everything is."""
        return self.nearness is None and not self.flows and not self.delay

    def places(self, state: Floats, t: float, side: int, lens: Floats) -> tuple[Grid, Grid]:
        """Where in the scene each pixel of a square frame looks, in frame widths."""
        right, down, magnification, roll = state.astype(np.float32)
        cells = side // COARSE + 2
        line = ((np.arange(cells, dtype=np.float32) - 0.5) * COARSE) / side - 0.5
        x, y = np.meshgrid(line, line)
        if lens.any():
            x, y = (axis / (1 + lens[0] * x + lens[1] * y).astype(np.float32) for axis in (x, y))
        x, y = np.cos(roll) * x - np.sin(roll) * y, np.sin(roll) * x + np.cos(roll) * y
        near: Grid | np.float32 = np.float32(1)
        for _ in range(1 if self.nearness is None else 3):  # what is near is known once it is seen
            scale = np.exp(-magnification * (near if self.walks else 1)).astype(np.float32)
            scene_x, scene_y = x * scale + near * right, y * scale + near * down
            if self.nearness is not None:
                near = _look_up(self.nearness, scene_x, scene_y)
        shifts = [flow(scene_x, scene_y, t) for flow in self.flows]
        for shift_x, shift_y in shifts:
            scene_x, scene_y = scene_x + shift_x, scene_y + shift_y
        size, inside = cells * COARSE, slice(COARSE, -COARSE)
        fine = [cv2.resize(axis, (size, size)) for axis in (scene_x, scene_y)]
        return tuple(axis[inside, inside].astype(np.float32) for axis in fine)  # type: ignore[return-value]

    def rows_late(self, side: int) -> Grid:
        """How much of `delay` each row is late, `(side 1)`."""
        rows = np.arange(side, dtype=np.float32)[:, None]
        return rows % 2 if self.combed else rows / side


PLAIN = World()


def _look_up(grid: Grid, x: Grid, y: Grid) -> Grid:
    place = [(axis / EXTENT + 0.5) * CELLS - 0.5 for axis in (x, y)]
    found: Grid = cv2.remap(
        grid,
        *(a.astype(np.float32) for a in place),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return found


def _noise(rng: np.random.Generator, cells: int) -> Grid:
    """Smooth noise between -1 and 1."""
    drawn = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return cv2.resize(drawn, (CELLS, CELLS), interpolation=cv2.INTER_CUBIC)


def _box(rng: np.random.Generator, widths: tuple[float, float]) -> tuple[slice, slice]:
    """A box near the middle of a grid, its sides between these numbers of frame widths."""
    cell = CELLS / EXTENT
    high, wide = (log_uniform(rng, *widths) * cell for _ in range(2))
    y, x = CELLS / 2 + rng.uniform(-0.6, 0.6, 2) * cell
    return (
        slice(int(max(0, y - high / 2)), int(y + high / 2) + 1),
        slice(int(max(0, x - wide / 2)), int(x + wide / 2) + 1),
    )


def _draw_nearness(rng: np.random.Generator) -> Grid:
    """Draw a ground that comes nearer below, rolling shapes, and things that stand in the scene."""
    down = np.linspace(-EXTENT / 2, EXTENT / 2, CELLS, dtype=np.float32)[:, None]
    near = np.zeros((CELLS, CELLS), np.float32)
    if rng.random() < 0.6:
        near += np.clip((down - rng.uniform(-0.4, 0.3)) * rng.uniform(0.5, 2), 0, 1.5)
    if rng.random() < 0.6:
        near += _noise(rng, int(rng.integers(4, 20))) * rng.uniform(0.2, 1)
    for _ in range(rng.integers(0, 6)):
        near[_box(rng, (0.1, 1.2))] = rng.uniform(0, 1.6)
    middle = slice(CELLS * 3 // 8, CELLS * 5 // 8)
    near = (near - near[middle, middle].mean()) * log_uniform(rng, 0.1, 0.7)
    return np.clip(1 + near, 0.35, 1.9).astype(np.float32)


def _draw_flow(rng: np.random.Generator) -> Flow:
    region = np.zeros((CELLS, CELLS), np.float32)
    sways = rng.random() < 0.6
    if sways:
        shape = _noise(rng, int(rng.integers(8, 24)))
        region = np.clip((shape - rng.uniform(0, 0.5)) * rng.uniform(2, 8), 0, 1)
    else:
        region[_box(rng, (0.2, 0.7))] = 1
    angle = rng.uniform(0, 2 * np.pi)
    run = 0.0 if sways and rng.random() < 0.6 else log_uniform(rng, 0.05, 1.0)
    return Flow(
        region=region.astype(np.float32),
        sway=rng.normal(0, 1, 2) * log_uniform(rng, 0.002, 0.02) * sways,
        waves=rng.normal(0, 3, 2),
        beat=rng.uniform(0.4, 8),
        phase=rng.uniform(0, 2 * np.pi),
        run=np.array([np.cos(angle), np.sin(angle)]) * run,
    )


def draw_world(rng: np.random.Generator, moving: float) -> World:
    """Draw a scene; `moving` is the chance that parts of it move by themselves."""
    late = rng.random()
    return World(
        nearness=_draw_nearness(rng) if rng.random() < 0.55 else None,
        walks=rng.random() < 0.75,
        flows=[_draw_flow(rng) for _ in range(rng.integers(1, 3))] if rng.random() < moving else (),
        delay=rng.uniform(0.003, 0.02) if late < 0.15 else 0.008 if late < 0.19 else 0.0,
        combed=bool(0.15 <= late < 0.19),
    )
