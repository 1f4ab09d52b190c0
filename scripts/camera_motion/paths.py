"""Where the camera goes: the classes of motion, their ranges, and paths drawn from them.

A camera's state has four degrees of freedom: right, down, log magnification, roll.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOTIONS = (
    "static",
    "pan left",
    "pan right",
    "tilt up",
    "tilt down",
    "zoom in",
    "zoom out",
    "roll clockwise",
    "roll counter-clockwise",
    "shake",
)
UNCLEAR = len(MOTIONS)  # a cut inside, two moves at once, or nothing to see motion by
LABELS = (*MOTIONS, "unclear")
FRAMES = 8
SIDE = 96
SECONDS = 63 / 30  # eight frames, eight thirtieths of a second apart, with both ends

# What the camera does from the first frame to the last: least and most.
SHIFT = (0.05, 1.2)  # in frame widths
ZOOM = (1.08, 2.5)  # magnification
ROLL = (5.0, 120.0)  # degrees
SHAKE = (0.015, 0.08)  # root mean square, in frame widths at the frame's edge
STATIC_JITTER = 0.004  # peak, in frame widths
STATIC_DRIFT = 0.006  # in frame widths
HANDHELD = 0.05  # peak, in frame widths, and
HAND_SHARE = 0.3  # of the move, at most
HAND = (0.3, 8.0)  # Hz: a hand's tremor grows weaker as it gets faster
STABILISED = 1.0  # Hz: what is faster is taken out of a stabilised film
DRIFT = 0.33  # of the move: the most that goes on besides it in any other direction
BOTH = (0.65, 1.0)  # of the larger: the smaller one of two moves at once
# Mean distance of the frame's points from its centre, in frame widths: what a zoom or a roll of 1
# moves them by.
LEVER = 0.38
# By label: degree of freedom (camera right, down, log magnification, clockwise roll) and sign.
MOTION = {
    1: (0, -1),
    2: (0, 1),
    3: (1, -1),
    4: (1, 1),
    5: (2, 1),
    6: (2, -1),
    7: (3, 1),
    8: (3, -1),
}
# What moves the picture about as far in each degree of freedom.
UNIT = np.array([1, 1, 1 / LEVER, 1 / LEVER])
# What people call a move of the same size: a zoom by an eighth, as a shift by an eighth.
ALIKE = np.array([0.12, 0.12, 0.12, np.radians(8)])

# By degree of freedom: the least and the most of a move.
RANGES = (SHIFT, SHIFT, tuple(np.log(ZOOM)), tuple(np.radians(ROLL)))

# label -> label when the clip is mirrored, turned upside down, transposed, or played backwards
MIRROR = np.array([0, 2, 1, 3, 4, 5, 6, 8, 7, 9, 10])
UPEND = np.array([0, 1, 2, 4, 3, 5, 6, 8, 7, 9, 10])
TRANSPOSE = np.array([0, 3, 4, 1, 2, 5, 6, 8, 7, 9, 10])
REVERSE = np.array([0, 2, 1, 4, 3, 6, 5, 8, 7, 9, 10])


@dataclass(frozen=True, slots=True)
class Ease:
    """Progress from 0 to 1 that may begin late, end early and change speed on the way."""

    begin: float
    end: float
    power: float  # 1 is even; above 1 the change is slow at the soft ends
    soft: int  # 0 neither end, 1 the beginning, 2 the end, 3 both

    def __call__(self, t: Floats) -> Floats:
        p = np.clip((t - self.begin) / (self.end - self.begin), 0, 1)
        if self.soft == 1:
            return p**self.power
        if self.soft == 2:
            return 1 - (1 - p) ** self.power
        if self.soft == 3:
            return p**self.power / (p**self.power + (1 - p) ** self.power)
        return p


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera path: one intended move, slow drift, and oscillation in all degrees of freedom."""

    move: Floats  # per degree of freedom, over the whole clip
    ease: Ease
    drift: Floats  # likewise
    drift_ease: Ease
    amplitude: Floats  # of sines: (degree of freedom, sine)
    frequency: Floats  # periods per clip
    phase: Floats  # radians

    def __call__(self, t: Floats) -> Floats:
        """The state at times 0..1 as (time, degree of freedom); the move is centred on zero."""
        waves = np.sin(2 * np.pi * self.frequency * t[:, None, None] + self.phase)
        moved = np.outer(self.ease(t) - 0.5, self.move)
        drifted = np.outer(self.drift_ease(t) - 0.5, self.drift)
        return moved + drifted + (waves * self.amplitude).sum(-1)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """Draw a number between two bounds whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def draw_ease(rng: np.random.Generator) -> Ease:
    """Draw the timing of a move: half of all moves fill the clip, the rest at least 40 % of it."""
    begin, end = 0.0, 1.0
    if rng.random() < 0.5:
        length = rng.uniform(0.4, 1)
        begin = rng.uniform(0, 1 - length)
        end = begin + length
    return Ease(begin, end, rng.uniform(1.2, 2.5), int(rng.integers(4)))


def _draw_hand(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Amplitudes and frequencies `(4 6)` of a hand's tremor, whose peak is 1: one over f."""
    frequency = np.exp(rng.uniform(*np.log(HAND), (4, 6)))
    amplitude = rng.random((4, 6)) / frequency
    if rng.random() < 0.3:
        amplitude *= frequency < STABILISED
    return amplitude / np.maximum(amplitude.sum(1, keepdims=True), 1e-9), frequency * SECONDS


def draw_camera(rng: np.random.Generator, label: int) -> tuple[Camera, float]:
    """Draw a path for a label, with the size of its move as a share of the label's range (0..1).

    The path of UNCLEAR makes two moves at once.
    """
    if label == MOTIONS.index("shake"):
        return draw_shake(rng)
    move, size, drift = np.zeros(4), 0.0, np.zeros(4)
    amplitude, frequency = _draw_hand(rng)
    amplitude *= UNIT[:, None]
    if label == 0:
        amplitude *= (
            STATIC_JITTER * rng.choice([0, rng.random()]) * np.array([[1], [1], [0], [0.5]])
        )
        drift = rng.uniform(-1, 1, 4) * STATIC_DRIFT * rng.integers(2)
    else:
        axis, sign = MOTION[label if label in MOTION else int(rng.integers(1, 1 + len(MOTION)))]
        size = rng.random()
        low, high = RANGES[axis]
        move[axis] = sign * low * (high / low) ** size
        alike = abs(move[axis]) / ALIKE[axis]
        if label == UNCLEAR:
            other = int(rng.choice([degree for degree in range(4) if degree != axis]))
            second = min(alike * rng.uniform(*BOTH) * ALIKE[other], RANGES[other][1])
            move[other] = second * rng.choice([-1, 1])
        elif rng.random() < 0.75:
            drift = rng.uniform(-1, 1, 4) * ALIKE * min(DRIFT * alike, 1.5)
            drift[axis] = 0
        extent = abs(move[axis]) / UNIT[axis]
        hand = min(HANDHELD, HAND_SHARE * extent) * rng.choice([0, 1]) * rng.random()
        amplitude *= hand * np.array([[1], [1], [0.3], [1]])
    phase = rng.uniform(0, 2 * np.pi, amplitude.shape)
    return Camera(move, draw_ease(rng), drift, draw_ease(rng), amplitude, frequency, phase), size


def draw_shake(rng: np.random.Generator) -> tuple[Camera, float]:
    """Draw fast oscillation until the sampled frames show it without a net motion.

    Eight frames may sample an oscillation so that it looks like a pan; such draws are repeated.
    """
    still = Ease(0, 1, 1, 0)
    sampled = np.linspace(0, 1, FRAMES)
    slope = (sampled - 0.5) / np.linalg.norm(sampled - 0.5)
    while True:
        size = rng.random()
        target = SHAKE[0] * (SHAKE[1] / SHAKE[0]) ** size
        share = rng.random(4) * (rng.random(4) < 0.7) * np.array([1, 1, 0.2, 0.8])
        if share[[0, 1, 3]].max() < 0.2:
            continue
        amplitude = rng.dirichlet(np.ones(3), 4) * share[:, None] * UNIT[:, None]
        frequency = rng.uniform(1.5, 9, (4, 3)) * SECONDS
        phase = rng.uniform(0, 2 * np.pi, (4, 3))
        path = Camera(np.zeros(4), still, np.zeros(4), still, amplitude, frequency, phase)(sampled)
        path = (path - path.mean(0)) / UNIT
        trend = float(np.linalg.norm(slope @ path))
        spread = float(np.linalg.norm(path))
        if spread > 0 and trend < 0.6 * spread:
            scale = target * np.sqrt(FRAMES) / spread
            zero = np.zeros(4)
            return Camera(zero, still, zero, still, amplitude * scale, frequency, phase), size


def transform(
    clip: NDArray[np.uint8], label: int, path: Floats, which: int
) -> tuple[NDArray[np.uint8], int, Floats]:
    """Apply one of the sixteen exact symmetries (bits: mirror, upend, transpose, reverse).

    `path` is where the camera is at each frame, `(frame, degree of freedom)`.
    """
    if which & 1:
        clip, label, path = clip[:, :, ::-1], int(MIRROR[label]), path * (-1, 1, 1, -1)
    if which & 2:
        clip, label, path = clip[:, ::-1], int(UPEND[label]), path * (1, -1, 1, -1)
    if which & 4:
        clip, label = clip.transpose(0, 2, 1, 3), int(TRANSPOSE[label])
        path = path[:, [1, 0, 2, 3]] * (1, 1, 1, -1)
    if which & 8:
        clip, label, path = clip[::-1], int(REVERSE[label]), path[::-1]
    return clip, label, path
