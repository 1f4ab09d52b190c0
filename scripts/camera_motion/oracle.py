"""What the camera did in real footage, measured without a model.

From each frame to the next, corners are tracked forwards and back again. The most frequent shift,
zoom and turn among them (a similarity, by RANSAC) is the content's motion. Summed over a window the
motion is clear where nothing moved, or where one kind of motion is large, steady and far above the
others. All other windows have no name here, so a shaking camera has none either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import cv2
import numpy as np

from scripts.camera_motion.paths import Floats
from scripts.camera_motion.things import Picture
from timesformer_cli.video.decoders.base import (
    Reading,
    ReadJob,
    SmallPicture,
    time_after,
)
from timesformer_cli.video.decoders.indexed import read_av
from timesformer_cli.video.facts import UPRIGHT, Orientation
from timesformer_cli.video.probe import probe
from timesformer_cli.video.safe_file import VideoFile
from timesformer_cli.video.transform import upright

SHORT = 320  # pixels of the short side, at most
CORNERS, QUALITY, APART = 600, 0.005, 6  # most corners, the least of the best one's, pixels between
REACH, LEVELS = (21, 21), 4  # pixels around a corner, and how often they are halved
RETURN = 1.5  # pixels by which a corner may miss its place when it is tracked back
FEWEST_CORNERS, FEWEST_TRACKED = 25, 20
NEAR = 2.0  # pixels from where a similarity puts a corner, within which it agrees
AGREEING = 0.5  # share of the tracked corners; else something else fills the picture
FEWEST_FRAMES = 8  # fewer show no path
MANY, ENOUGH = 40, 32  # frames: of more than MANY, about ENOUGH are taken at even steps
# Content's shift in frame widths, right and down; logarithm of its growth; its turn in degrees.
UNITS = np.array([0.12, 0.12, 0.12, 8.0])  # a motion as large as this is a move
AT_REST = np.array([0.012, 0.012, 0.02, 1.5])  # a longer way, back and forth, is not standing still
OTHERS = 0.4  # of the largest motion in its unit: what the others may have
STEADY = 0.85  # least share of the way that is not taken back
# The camera moves against the content, and comes closer where content grows.
NAMES = (
    ("pan left", "pan right"),
    ("tilt up", "tilt down"),
    ("zoom in", "zoom out"),
    ("roll counter-clockwise", "roll clockwise"),
)
STATIC = "static"
ANSWERS = (STATIC, *(name for both in NAMES for name in both))


class Motion(NamedTuple):
    """A clear motion: the camera's name for it, and the content's motion over the window."""

    label: str
    right: float  # in frame widths
    down: float  # in frame widths
    growth: float  # logarithm of the magnification
    turn: float  # degrees clockwise

    @property
    def numbers(self) -> dict[str, float]:
        """The content's motion by name."""
        return {name: value for name, value in self._asdict().items() if name != "label"}


class Stretch(NamedTuple):
    """A part of a video, in seconds from its first frame."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class _Frame:
    number: int
    time: float
    grey: Picture


def grey_picture(
    picture: Picture, *, pixel_aspect: float = 1.0, orientation: Orientation = UPRIGHT
) -> Picture:
    """A frame as it is tracked: grey, upright, of square pixels, not larger than it has to be."""
    height, width = picture.shape[:2]
    wide = width * pixel_aspect
    scale = min(1.0, SHORT / min(height, wide))
    size = round(wide * scale), round(height * scale)
    if size != (width, height):
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(upright(grey, orientation))


def step_between(before: Picture, after: Picture) -> Floats | None:
    """The content's motion from one grey frame to the next; None where it cannot be told."""
    corners = cv2.goodFeaturesToTrack(before, CORNERS, QUALITY, APART)
    if corners is None or len(corners) < FEWEST_CORNERS:
        return None
    track = partial(cv2.calcOpticalFlowPyrLK, winSize=REACH, maxLevel=LEVELS)
    moved, found, _ = track(before, after, corners, None)
    back, again, _ = track(after, before, moved, None)
    good = (found[:, 0] == 1) & (again[:, 0] == 1)
    good &= np.linalg.norm(corners - back, axis=2)[:, 0] < RETURN
    if good.sum() < FEWEST_TRACKED:
        return None
    height, width = before.shape
    middle = np.array([width / 2, height / 2])
    fit, agreeing = cv2.estimateAffinePartial2D(
        corners[good] - middle, moved[good] - middle, ransacReprojThreshold=NEAR
    )
    if fit is None or agreeing.mean() < AGREEING:
        return None
    (across, _, right), (along, _, down) = fit
    growth, turn = np.log(np.hypot(across, along)), np.degrees(np.arctan2(along, across))
    return np.array([right / width, down / width, growth, turn])


def motion_of(steps: Sequence[Floats]) -> Motion | None:
    """The clear motion that these steps make together; None where it is not clear."""
    total, way = np.sum(steps, axis=0), np.abs(steps).sum(axis=0)
    if (way < AT_REST).all():
        return Motion(STATIC, *total.tolist())
    sizes = np.abs(total) / UNITS
    largest = int(sizes.argmax())
    rest = np.delete(sizes, largest).max()
    steady = abs(total[largest]) / max(way[largest], 1e-9)
    if sizes[largest] > 1 and rest < OTHERS * sizes[largest] and steady > STEADY:
        return Motion(NAMES[largest][0 if total[largest] > 0 else 1], *total.tolist())
    return None


class MotionPicker:
    """Measures the stretches of a video from the frames that a decoder offers in order.

    The stretches are sorted and of one length. Only the frames of one stretch are kept; a step that
    several stretches share is measured once.
    """

    def __init__(self, stretches: Sequence[Stretch], interval: float, tail: float) -> None:
        self.reading = Reading([], [])
        self.last: tuple[float, Callable[[], Any]] | None = None
        self.found: dict[Stretch, Motion] = {}
        self._left = deque(stretches)
        self._interval, self._tail = interval, max(tail, interval)
        self._frames: deque[_Frame] = deque()
        self._steps: dict[tuple[int, int], Floats | None] = {}

    @property
    def next(self) -> float | None:
        """Where the first stretch begins that is not measured yet."""
        return self._left[0].start if self._left else None

    def offer(self, time: float | None, picture: Callable[[], Any], small: SmallPicture) -> bool:
        """Take the next frame; returns False once all stretches are measured. Raises Unordered."""
        if self.last is not None:
            time = time_after(self.last[0], time, self._interval)
        time = time or 0.0
        self.last = time, picture
        self.reading.decoded += 1
        self._frames.append(_Frame(self.reading.decoded, time, picture()))
        while self._left and self._left[0].end <= time:
            self._measure()
        self._forget()
        return bool(self._left)

    def finish(self) -> Reading:
        """Measure what is left, at the end of the file."""
        while self._left and self._frames:
            self._measure()
        if self.last is not None:
            self.reading.end = self.last[0] + self._tail
        return self.reading

    def _forget(self) -> None:
        """Drop the frames that no stretch wants any more."""
        while len(self._frames) > 1 and self._left and self._frames[1].time <= self._left[0].start:
            self._frames.popleft()

    def _measure(self) -> None:
        """Measure the first stretch, from the frame nearest to its start to that nearest its end."""
        self._forget()
        stretch, frames = self._left.popleft(), list(self._frames)
        oldest = frames[0].number
        self._steps = {pair: step for pair, step in self._steps.items() if pair[0] >= oldest}
        first, last = (
            min(range(len(frames)), key=lambda n, moment=moment: abs(frames[n].time - moment))
            for moment in stretch
        )
        frames = frames[first : last + 1]
        if len(frames) < FEWEST_FRAMES:
            return
        if len(frames) > MANY:
            frames = frames[:: len(frames) // ENOUGH]
        steps = []
        for before, after in pairwise(frames):
            pair = before.number, after.number
            if pair not in self._steps:
                self._steps[pair] = step_between(before.grey, after.grey)
            step = self._steps[pair]
            if step is None:
                return
            steps.append(step)
        motion = motion_of(steps)
        if motion is not None:
            self.found[stretch] = motion


def clear_motions(path: str, stretches: Sequence[Stretch]) -> dict[Stretch, Motion]:
    """The stretches of a video whose motion is clear; they are sorted and of one length.

    Raises VideoError and ReaderDeclined for a video that cannot be read.
    """
    pickers: list[MotionPicker] = []

    def picker(interval: float, tail: float) -> MotionPicker:
        pickers.append(MotionPicker(stretches, interval, tail))
        return pickers[-1]

    with VideoFile(path) as file:
        described = probe(file)
        prepare = partial(grey_picture, orientation=described.orientation)
        read_av(ReadJob(file, described, (), prepare, follow=picker))
    return pickers[-1].found  # an earlier pass was given up
