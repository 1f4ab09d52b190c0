"""Make clips of known camera motion: a virtual camera films still pictures.

A camera path (`paths`) moves the view over a picture, things that move by themselves pass in front,
and what happens to a film on its way (`wear`) disturbs the result. The label is known, because the
path was drawn for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.camera_motion.paths import (
    FRAMES,
    LABELS,
    SIDE,
    Camera,
    Ease,
    Floats,
    draw_camera,
    draw_ease,
    log_uniform,
)
from scripts.camera_motion.wear import Clip, degrade, expose

Picture = NDArray[np.uint8]


def view_matrix(state: Floats, centre: Floats, view: float, keystone: Floats) -> Floats:
    """Matrix from frame coordinates (-0.5..0.5, y down) to picture pixels for one camera state.

    The frame's axes turn with the camera, so a clockwise camera turns the content the other way.
    """
    right, down, magnification, roll = state
    scale = view * np.exp(-magnification)
    cos, sin = np.cos(roll) * scale, np.sin(roll) * scale
    x, y = centre + view * np.array([right, down])
    lens = np.array([[1, 0, 0], [0, 1, 0], [keystone[0], keystone[1], 1]])
    return np.array([[cos, -sin, x], [sin, cos, y], [0, 0, 1]]) @ lens


def pixel_to_frame(side: int) -> Floats:
    """Matrix from pixel indices of a square frame to frame coordinates."""
    return np.array([[1 / side, 0, 0.5 / side - 0.5], [0, 1 / side, 0.5 / side - 0.5], [0, 0, 1]])


def warp(picture: Picture, matrix: Floats, side: int, border: int) -> Picture:
    """Sample a picture through a frame-to-picture matrix."""
    full = matrix @ pixel_to_frame(side)
    if np.any(full[2, :2]):  # only a keystone takes the full perspective
        return cv2.warpPerspective(
            picture,
            full,
            (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=border,
        )
    return cv2.warpAffine(
        picture,
        full[:2],
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=border,
    )


@dataclass(frozen=True, slots=True)
class Thing:
    """Something in front of the picture that moves by itself, with the scene, or with the camera."""

    image: Picture
    mask: Picture
    start: Floats  # its middle half way through its travel, in frame coordinates
    travel: Floats  # how far it goes by itself, in frame widths
    size: float  # in frame widths
    growth: float  # of the logarithm of its size, over the clip
    turn: float  # radians, over the clip
    wobble: Floats  # how far it swings along x, along y and in its turn
    beat: float  # swings per clip
    coupling: float  # 0 moves with the camera, 1 with the scene, above 1 is nearer than the scene
    ease: Ease

    def place(self, t: float, state: Floats) -> Floats:
        """Matrix from frame coordinates to this thing's own pixels at time `t` (0..1)."""
        p = float(self.ease(np.array([t]))[0])
        sway, sway_down, rock = self.wobble * np.sin(2 * np.pi * self.beat * t)
        right, down, magnification, roll = state * self.coupling
        size = self.size * np.exp(self.growth * p + magnification)
        cos, sin = np.cos(-roll), np.sin(-roll)
        own = self.start + self.travel * (p - 0.5) + (sway, sway_down)
        x, y = (own - (right, down)) * np.exp(magnification)
        x, y = cos * x - sin * y, sin * x + cos * y
        angle = self.turn * p + rock - roll
        side = self.image.shape[0]
        c, s = np.cos(-angle) * side / size, np.sin(-angle) * side / size
        return np.array(
            [[c, -s, side / 2 - c * x + s * y], [s, c, side / 2 - s * x - c * y], [0, 0, 1]]
        )


def draw_thing(rng: np.random.Generator, pictures: Sequence[Picture], room: float) -> Thing:
    """Draw an ellipse, polygon or rough shape cut from another picture.

    `room` is the largest share of the frame that it covers.
    """
    side = 96
    source = pictures[rng.integers(len(pictures))]
    extent = int(min(*source.shape[:2], rng.integers(48, 256)))
    y, x = (int(rng.integers(n - extent + 1)) for n in source.shape[:2])
    patch = cv2.resize(source[y : y + extent, x : x + extent], (side, side))
    if rng.random() < 0.15:
        patch = np.full_like(patch, rng.integers(0, 256, 3))
    mask = np.zeros((side, side), np.uint8)
    kind, aspect = rng.integers(3), rng.uniform(0.35, 1)
    if kind == 0:
        axes = (side // 2 - 2, int((side // 2 - 2) * aspect))
        cv2.ellipse(mask, (side // 2, side // 2), axes, rng.uniform(0, 180), 0, 360, 255, -1)
    else:
        corners = int(rng.integers(3, 6) if kind == 1 else rng.integers(8, 16))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radius = rng.uniform(0.5, 1, corners) * (side / 2 - 2)
        ring = np.stack([np.cos(angles), np.sin(angles) * aspect], 1) * radius[:, None] + side / 2
        cv2.fillPoly(mask, [ring.astype(np.int32)], 255)
    area = float((mask > 0).mean())
    size = float(np.sqrt(rng.uniform(0.01, room) / max(area, 0.05)))
    heading, speed = (
        rng.uniform(0, 2 * np.pi),
        rng.choice([0, 1], p=[0.2, 0.8]) * log_uniform(rng, 0.05, 1.3),
    )
    growth = rng.normal(0, 0.25) if rng.random() < 0.4 else 0.0
    return Thing(
        image=patch,
        mask=mask,
        start=rng.uniform(-0.5, 0.5, 2),
        travel=np.array([np.cos(heading), np.sin(heading)]) * speed,
        size=size,
        growth=float(np.clip(growth, -0.5, 0.3)),
        turn=rng.normal(0, 0.6) if rng.random() < 0.4 else 0.0,
        wobble=rng.normal(0, (0.06, 0.06, 0.3)) * (rng.random() < 0.4),
        beat=rng.uniform(0.5, 7),
        coupling=float(rng.choice([0, 1, rng.uniform(1, 1.6)], p=[0.3, 0.5, 0.2])),
        ease=draw_ease(rng),
    )


def shows_texture(frame: Picture) -> bool:
    """Whether motion could be seen in enough places of a frame, in both directions.

    A place is one of 36 tiles. The smaller eigenvalue of a tile's structure tensor says whether it
    has edges in two directions: with one direction only, motion along the edge is invisible.
    """
    grey = cv2.resize(
        cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (SIDE, SIDE), interpolation=cv2.INTER_AREA
    )
    across = cv2.Sobel(grey, cv2.CV_32F, 1, 0) / 8
    down = cv2.Sobel(grey, cv2.CV_32F, 0, 1) / 8
    tiles = [
        (a.reshape(6, 16, 6, 16)).mean(axis=(1, 3)) for a in (across**2, down**2, across * down)
    ]
    xx, yy, xy = tiles
    weakest = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return bool((weakest > 4).sum() >= 15)


def render(
    picture: Picture,
    camera: Callable[[Floats], Floats],
    *,
    centre: Floats,
    view: float,
    times: Floats,
    side: int,
    things: Sequence[Thing] = (),
    keystone: Floats | None = None,
    shutter: float = 0.0,
) -> Clip:
    """Film a picture; the result is `(frames side side 3)`.

    `view` picture pixels fill the frame when the camera is at rest. `times` and `shutter` are
    shares of the clip; a shutter above 0 averages three exposures per frame.
    """
    lens = np.zeros(2) if keystone is None else keystone
    # A large view is averaged down first: sampling it directly would alias.
    level = max(1, int(view / side / 1.3))
    if level > 1:
        picture = cv2.resize(
            picture, None, fx=1 / level, fy=1 / level, interpolation=cv2.INTER_AREA
        )
        centre, view = (centre + 0.5) / level - 0.5, view / level
    exposures = 1 if shutter == 0 else 3
    frames = []
    for t in times:
        exposed = []
        for moment in t + shutter * np.linspace(-0.5, 0.5, exposures) if shutter else [t]:
            state = camera(np.array([moment]))[0]
            frame = warp(
                picture, view_matrix(state, centre, view, lens), side, cv2.BORDER_REFLECT_101
            )
            for thing in things:
                place = thing.place(float(moment), state)
                mask = warp(thing.mask, place, side, cv2.BORDER_CONSTANT)
                cv2.copyTo(warp(thing.image, place, side, cv2.BORDER_CONSTANT), mask, frame)
            exposed.append(frame)
        if exposures > 1:
            frames.append(np.mean(exposed, axis=0).astype(np.uint8))
        else:
            frames.append(exposed[0])
    return np.stack(frames)


class Maker:
    """Makes numbered clips; the same seed and number always give the same clip."""

    def __init__(self, seed: int, pictures: Sequence[Picture], drawn: Sequence[Picture]) -> None:
        self.seed = seed
        self.pictures = list(pictures)
        self.drawn = list(drawn)
        self.noise = np.random.default_rng(seed).standard_normal(2_000_000, np.float32)

    def scene(
        self, rng: np.random.Generator, camera: Camera
    ) -> tuple[Picture, Floats, float, Floats]:
        """Choose a picture, the camera's place over it, its view and its keystone.

        The camera must see texture at its beginning, half way, and at its end: without texture
        there is no motion to see, and the label would be a lie.
        """
        path = camera(np.array([0.0, 0.5, 1.0]))
        while True:
            shelf = self.pictures if self.pictures and rng.random() < 0.8 else self.drawn
            picture = shelf[rng.integers(len(shelf))]
            height, width = picture.shape[:2]
            widest = 0.95 * min(height, width)
            view = log_uniform(rng, min(110, 0.6 * widest), widest)
            centre = np.array([rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height])
            keystone = rng.uniform(-0.3, 0.3, 2) if rng.random() < 0.25 else np.zeros(2)
            films = (
                warp(
                    picture,
                    view_matrix(state, centre, view, keystone),
                    SIDE,
                    cv2.BORDER_REFLECT_101,
                )
                for state in path
            )
            if all(shows_texture(frame) for frame in films):
                return picture, centre, view, keystone

    def __call__(
        self, number: int, label: int | None = None, *, hardness: float = 1.0
    ) -> tuple[Clip, int, float]:
        """Make clip `number`: its frames, its label, and the size of its move in its range (0..1).

        `hardness` is the chance that a kind of disturbance is let in at all; its ranges stay as
        the model's card says.
        """
        rng = np.random.default_rng([self.seed, number])
        label = number % len(LABELS) if label is None else label
        camera, size = draw_camera(rng, label)
        picture, centre, view, keystone = self.scene(rng, camera)
        things: list[Thing] = []
        if rng.random() < (0.75 if label == 0 else 0.55) * hardness:
            count = int(rng.choice([1, 2, 3], p=[0.55, 0.3, 0.15]))
            shelf = self.pictures or self.drawn
            things = [draw_thing(rng, shelf, 0.35 / count) for _ in range(count)]
        times = np.linspace(0, 1, FRAMES)
        if rng.random() < 0.05 and label != 9:
            coarse = int(rng.integers(5, 10))
            times = np.floor(times * coarse) / coarse
        side = int(rng.choice([96, 128, 160, 192], p=[0.2, 0.3, 0.2, 0.3]))
        shutter = rng.uniform(0, 0.025) if rng.random() < 0.25 else 0.0
        clip = render(
            picture,
            camera,
            centre=centre,
            view=view,
            times=times,
            side=side,
            things=things,
            keystone=keystone,
            shutter=shutter,
        )
        if rng.random() < hardness:
            clip = degrade(rng, clip)
        if side != SIDE:
            clip = np.stack(
                [cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for frame in clip]
            )
        if rng.random() < hardness:
            clip = expose(rng, clip, self.noise)
        if label == 0 and rng.random() < 0.1:
            clip[:] = clip[rng.integers(len(clip))]
        return clip, label, size
