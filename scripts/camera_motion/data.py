"""Make clips of known camera motion: a virtual camera films still pictures.

A camera path (`paths`) moves the view over a scene (`world`), people and things that move by
themselves are in front (`things`), and what happens to a film on its way (`wear`) disturbs the
result. The label is known, because the path was drawn for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from scripts.camera_motion.film import render, view_matrix, warp
from scripts.camera_motion.paths import (
    FRAMES,
    LABELS,
    MOTIONS,
    SECONDS,
    SIDE,
    UNCLEAR,
    Camera,
    Floats,
    draw_camera,
    log_uniform,
)
from scripts.camera_motion.pictures import bars
from scripts.camera_motion.texture import shows_edges, shows_nothing, shows_texture
from scripts.camera_motion.things import Picture, Thing, draw_things
from scripts.camera_motion.wear import Clip, degrade, expose, through_low_rate
from scripts.camera_motion.world import draw_world

SHAKES = MOTIONS.index("shake")
DRAWN = (*range(len(LABELS)), 0)  # labels in turn: static twice, for it is the most common one
TAUGHT = (*DRAWN, UNCLEAR, UNCLEAR)  # in training: of what is seldom one learns little
DISSOLVES = 0.04  # share of the static clips
# What makes a clip unclear, and how a report calls it.
KINDS = {
    "cut": "a cut inside",
    "two moves": "two moves at once",
    "blank": "nothing to see motion by",
}
SHARES = (0.45, 0.4, 0.15)  # of KINDS
SHARES_TAUGHT = (0.35, 0.45, 0.2)


class Made(NamedTuple):
    """A clip and what is known of it."""

    clip: Clip
    label: int
    size: float  # of its move, as a share of its range (0..1)
    path: Floats  # where the camera is at each frame, `(frame, degree of freedom)`; NaN: nowhere
    scene: frozenset[str] = frozenset()  # what is in it that makes it hard, by name


class Shot(NamedTuple):
    """One scene as it was filmed."""

    clip: Clip
    size: float
    path: Floats
    scene: frozenset[str]


class Maker:
    """Makes numbered clips; the same seed and number always give the same clip."""

    def __init__(
        self,
        seed: int,
        pictures: Sequence[Picture],
        drawn: Sequence[Picture],
        *,
        teaches: bool = False,
    ) -> None:
        self.seed = seed
        self.labels = TAUGHT if teaches else DRAWN
        self.shares = SHARES_TAUGHT if teaches else SHARES
        self.pictures = list(pictures)
        self.drawn = list(drawn)
        self.bars = bars(seed, 20)
        self.noise = np.random.default_rng(seed).standard_normal(2_000_000, np.float32)

    def scene(
        self,
        rng: np.random.Generator,
        camera: Camera,
        shows: Callable[[Picture, float], bool],
    ) -> tuple[Picture, Floats, float, Floats]:
        """Choose a picture, the camera's place over it, its view and its keystone.

        What the camera sees at its beginning, half way, and at its end must show its motion as far
        as `shows` asks, of a frame and its contrast: without texture there is no motion to see, and
        the label would be a lie. A third of the scenes has less contrast: floors and walls, before
        which people are easier to see than the scene.
        """
        path = camera(np.array([0.0, 0.5, 1.0]))
        while True:
            shelf = self.pictures if self.pictures and rng.random() < 0.8 else self.drawn
            shelf = self.bars if rng.random() < 0.04 else shelf
            contrast = log_uniform(rng, 0.25, 0.7) if rng.random() < 0.35 else 1.0
            picture = shelf[rng.integers(len(shelf))]
            if contrast < 1:
                grey = picture.mean((0, 1)) * (1 - contrast)
                picture = (picture * contrast + grey).astype(np.uint8)
            height, width = picture.shape[:2]
            widest = 0.95 * min(height, width)
            view = log_uniform(rng, min(110, 0.6 * widest), widest)
            centre = np.array([rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height])
            keystone = rng.uniform(-0.3, 0.3, 2) if rng.random() < 0.25 else np.zeros(2)
            if shows is shows_nothing:
                picture = blur(picture, rng.uniform(0.1, 0.4) * view)
            films = (
                warp(
                    picture,
                    view_matrix(state, centre, view, keystone),
                    SIDE,
                    cv2.BORDER_REFLECT_101,
                )
                for state in path
            )
            if all(shows(frame, contrast) for frame in films):
                return picture, centre, view, keystone

    def shot(
        self,
        rng: np.random.Generator,
        label: int,
        times: Floats,
        side: int,
        *,
        blank: bool = False,
    ) -> Shot:
        """Film one scene at these times."""
        camera, size = draw_camera(rng, label)
        still = label == 0
        shows = shows_nothing if blank else shows_edges if still else shows_texture
        picture, centre, view, keystone = self.scene(rng, camera, shows)
        things: Sequence[Thing] = ()
        if not blank and rng.random() < (0.8 if still else 0.55):
            things = draw_things(rng, self.pictures or self.drawn)
        world = draw_world(rng, moving=0.4 if still else 0.2)
        clip = render(
            picture,
            camera,
            centre=centre,
            view=view,
            times=times,
            side=side,
            things=things,
            keystone=keystone,
            shutter=rng.uniform(0, 0.025) if rng.random() < 0.25 else 0.0,
            world=world,
        )
        covered = coverage(things, camera)
        facts = {
            "depth": world.nearness is not None,
            "parts that move": bool(world.flows),
            "rows read one after another": bool(world.delay),
            "something in front, up to 20 %": 0 < covered <= 0.2,
            "something in front, 20 to 40 %": 0.2 < covered <= 0.4,
            "something in front, above 40 %": covered > 0.4,
        }
        return Shot(clip, size, camera(times), frozenset(name for name in facts if facts[name]))

    def __call__(self, number: int, label: int | None = None) -> Made:
        """Make clip `number`."""
        rng = np.random.default_rng([self.seed, number])
        label = self.labels[number % len(self.labels)] if label is None else label
        times = sampled_times(rng, shakes=label == SHAKES)
        side = int(rng.choice([96, 128, 160, 192], p=[0.2, 0.3, 0.2, 0.3]))
        film = partial(self.shot, rng, side=side)
        what = str(rng.choice(list(KINDS), p=self.shares))
        if label == 0 and rng.random() < DISSOLVES:
            clip, path, scene = self.dissolve(rng, film, times)
            size = 0.0
        elif label != UNCLEAR or what == "two moves":
            # What an encoder does between two frames of the clip is seen only with those between.
            between = 3 if rng.random() < 0.08 else 1
            clip, size, path, scene = film(label, filled_up(times, between))
            if between > 1:
                clip, scene = through_low_rate(rng, clip), scene | {"few bits"}
            clip, path = clip[::between], path[::between]
        else:
            motions = rng.integers(len(MOTIONS), size=2)
            if what == "blank":
                clip, size, *_ = film(int(motions[0]), times, blank=True)
            else:
                cut = int(rng.integers(1, FRAMES))
                halves = [
                    film(int(m), t) for m, t in zip(motions, np.split(times, [cut]), strict=True)
                ]
                clip, size = np.concatenate([half.clip for half in halves]), 0.0
            path, scene = np.full((FRAMES, 4), np.nan), frozenset[str]()
        if label == UNCLEAR:
            scene = frozenset({KINDS[what]})
        clip = degrade(rng, clip)
        if side != SIDE:
            clip = np.stack(
                [cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in clip]
            )
        clip = expose(rng, clip, self.noise)
        if label == 0 and rng.random() < 0.1:
            clip[:] = clip[rng.integers(len(clip))]
        return Made(clip, label, size, path, scene)

    @staticmethod
    def dissolve(
        rng: np.random.Generator, film: Callable[[int, Floats], Shot], times: Floats
    ) -> tuple[Clip, Floats, frozenset[str]]:
        """One still scene that fades into another: the camera stands still all the time."""
        one, other = film(0, times), film(0, times)
        begin, length = rng.uniform(-0.3, 0.9), rng.uniform(0.2, 0.7)
        share = np.clip((times - begin) / length, 0, 1)[:, None, None, None]
        blended = one.clip * (1 - share) + other.clip * share
        return blended.astype(np.uint8), one.path, frozenset({"a dissolve between still scenes"})


def sampled_times(rng: np.random.Generator, *, shakes: bool) -> Floats:
    """When the frames of a clip are taken, as shares of it: at a low rate, some late or repeated.

    A shake that is sampled seldom is none, so it is not.
    """
    times = np.linspace(0, 1, FRAMES)
    chance = rng.random()
    if chance < 0.05 and not shakes:
        coarse = int(rng.integers(5, 10))
        times = np.floor(times * coarse) / coarse
    elif chance < 0.35:  # the film's own rate
        steps = rng.uniform(8, 30) * SECONDS
        times = np.floor(times * steps) / steps
    if rng.random() < 0.08 and not shakes:
        late = rng.integers(1, FRAMES)
        times[late] = times[late - 1]
    return times


def coverage(things: Sequence[Thing], camera: Camera) -> float:
    """What share of the frame the things cover half way."""
    covered = np.zeros((SIDE, SIDE), np.uint8)
    for thing in things:
        place = thing.place(0.5, camera(np.array([0.5]))[0])
        covered |= warp(thing.pose(0.5)[1], place, SIDE, cv2.BORDER_CONSTANT)
    return float((covered > 127).mean())


def filled_up(times: Floats, between: int) -> Floats:
    """The times with others between them, `between` steps from each to the next."""
    places = np.arange((len(times) - 1) * between + 1) / between
    filled: Floats = np.interp(places, np.arange(len(times)), times)
    return filled


def blur(picture: Picture, sigma: float) -> Picture:
    """Blur a picture, however strongly, in about the same time."""
    small = max(1.0, sigma / 4)
    lesser = cv2.resize(picture, None, fx=1 / small, fy=1 / small, interpolation=cv2.INTER_AREA)
    lesser = cv2.GaussianBlur(lesser, (0, 0), 4)
    return cv2.resize(lesser, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC)
