"""Things in front of the scene: cut-out shapes, and people who walk, gesture and come closer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from scripts.camera_motion.paths import SECONDS, Ease, Floats, draw_ease, log_uniform

Picture = NDArray[np.uint8]
SPRITE = 96  # pixels along each side of a thing's own picture
POSES = 12  # in one cycle of a person's movement
NEAREST = 3.0  # how many times as near as the scene something may be
NEAREST_WALKED_UP_TO = 1.6  # where the camera walks, or it would fill the frame


@dataclass(frozen=True, slots=True)
class Thing:
    """Something in front of the picture that moves by itself, with the scene, or with the camera."""

    images: Sequence[Picture]  # one pose after another
    masks: Sequence[Picture]
    cycles: float  # of all poses, over the clip
    start: Floats  # its middle half way through its travel, in frame coordinates
    travel: Floats  # how far it goes by itself, in frame widths
    size: float  # in frame widths
    growth: float  # of the logarithm of its size, over the clip
    turn: float  # radians, over the clip
    wobble: Floats  # how far it swings along x, along y and in its turn
    beat: float  # swings per clip
    coupling: float  # 0 moves with the camera, 1 with the scene, above 1 is nearer than the scene
    ease: Ease

    def pose(self, t: float) -> tuple[Picture, Picture]:
        """Its picture and its mask at time `t` (0..1)."""
        which = int(self.cycles * t * len(self.images)) % len(self.images)
        return self.images[which], self.masks[which]

    def place(self, t: float, state: Floats) -> Floats:
        """Matrix from frame coordinates to this thing's own pixels at time `t` (0..1)."""
        p = float(self.ease(np.array([t]))[0])
        sway, sway_down, rock = self.wobble * np.sin(2 * np.pi * self.beat * t)
        most = (np.inf, np.inf, NEAREST_WALKED_UP_TO, 1)  # what is near turns no faster
        right, down, magnification, roll = state * np.minimum(self.coupling, most)
        size = self.size * np.exp(self.growth * p + magnification)
        cos, sin = np.cos(-roll), np.sin(-roll)
        own = self.start + self.travel * (p - 0.5) + (sway, sway_down)
        x, y = (own - (right, down)) * np.exp(magnification)
        x, y = cos * x - sin * y, sin * x + cos * y
        angle = self.turn * p + rock - roll
        c, s = np.cos(-angle) * SPRITE / size, np.sin(-angle) * SPRITE / size
        return np.array(
            [[c, -s, SPRITE / 2 - c * x + s * y], [s, c, SPRITE / 2 - s * x - c * y], [0, 0, 1]]
        )


def _cut_out(rng: np.random.Generator, pictures: Sequence[Picture]) -> Picture:
    """A piece of one of the pictures, as large as a sprite; now and then a single colour."""
    source = pictures[rng.integers(len(pictures))]
    extent = int(min(*source.shape[:2], rng.integers(48, 256)))
    y, x = (int(rng.integers(n - extent + 1)) for n in source.shape[:2])
    patch = cv2.resize(source[y : y + extent, x : x + extent], (SPRITE, SPRITE))
    return np.full_like(patch, rng.integers(0, 256, 3)) if rng.random() < 0.15 else patch


def draw_thing(rng: np.random.Generator, pictures: Sequence[Picture], room: float) -> Thing:
    """Draw an ellipse, polygon or rough shape cut from another picture.

    `room` is the largest share of the frame that it covers.
    """
    middle = SPRITE / 2
    patch = _cut_out(rng, pictures)
    mask = np.zeros((SPRITE, SPRITE), np.uint8)
    kind, aspect = rng.integers(3), rng.uniform(0.35, 1)
    if kind == 0:
        axes = (SPRITE // 2 - 2, int((SPRITE // 2 - 2) * aspect))
        cv2.ellipse(mask, (int(middle),) * 2, axes, rng.uniform(0, 180), 0, 360, 255, -1)
    else:
        corners = int(rng.integers(3, 6) if kind == 1 else rng.integers(8, 16))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radius = rng.uniform(0.5, 1, corners) * (middle - 2)
        ring = np.stack([np.cos(angles), np.sin(angles) * aspect], 1) * radius[:, None] + middle
        cv2.fillPoly(mask, [ring.astype(np.int32)], 255)
    area = float((mask > 0).mean())
    size = float(np.sqrt(rng.uniform(0.01, room) / max(area, 0.05)))
    heading, speed = (
        rng.uniform(0, 2 * np.pi),
        rng.choice([0, 1], p=[0.2, 0.8]) * log_uniform(rng, 0.05, 1.3),
    )
    growth = rng.normal(0, 0.25) if rng.random() < 0.4 else 0.0
    return Thing(
        images=[patch],
        masks=[mask],
        cycles=0,
        start=rng.uniform(-0.5, 0.5, 2),
        travel=np.array([np.cos(heading), np.sin(heading)]) * speed,
        size=size,
        growth=float(np.clip(growth, -0.5, 0.3)),
        turn=rng.normal(0, 0.6) if rng.random() < 0.4 else 0.0,
        wobble=rng.normal(0, (0.06, 0.06, 0.3)) * (rng.random() < 0.4),
        beat=rng.uniform(0.5, 7),
        coupling=float(rng.choice([0, 1, log_uniform(rng, 1, NEAREST)], p=[0.3, 0.5, 0.2])),
        ease=draw_ease(rng),
    )


@dataclass(frozen=True, slots=True)
class Joints:
    """How far a person's limbs swing (radians), and about which angles; 0 hangs down."""

    legs: float
    knees: float
    arms: float
    elbows: float
    arm_rest: Floats  # left and right
    lean: float
    beat: int  # gestures per cycle: arms may move faster than legs


def _figure(joints: Joints, phase: float, build: float) -> dict[str, Picture]:
    """Masks of a standing person's clothes and skin, over all of a sprite, at a phase (0..2 pi)."""
    masks = {part: np.zeros((SPRITE, SPRITE), np.uint8) for part in ("far", "legs", "body", "skin")}
    tall = SPRITE * 0.94

    def at(x: float, y: float) -> tuple[int, int]:  # in sixteenths of a pixel
        return int(16 * (SPRITE / 2 + tall * x)), int(16 * (SPRITE * 0.03 + tall * y))

    def limb(part: str, x: float, y: float, width: float, *bones: tuple[float, float]) -> None:
        for length, angle in bones:
            end_x, end_y = x + length * np.sin(angle), y + length * np.cos(angle)
            thick = max(1, round(width * build * tall))
            cv2.line(masks[part], at(x, y), at(end_x, end_y), 255, thick, cv2.LINE_AA, 4)
            x, y, width = end_x, end_y, 0.85 * width
        if part in ("far", "body") and len(bones) == 2:  # a hand
            cv2.circle(masks["skin"], at(x, y), int(16 * 0.02 * tall), 255, -1, cv2.LINE_AA, 4)

    lean = joints.lean + 0.03 * np.sin(phase)
    shoulder_x, shoulder_y = 0.3 * np.sin(lean), 0.5 - 0.3 * np.cos(lean)
    for side, part in ((0, "far"), (1, "body")):
        swing = phase + np.pi * side
        hip = joints.legs * np.sin(swing)
        knee = joints.knees * max(0.0, float(np.sin(swing + 1.9)))
        legs = "far" if side == 0 else "legs"
        limb(legs, (0.03 if side else -0.03), 0.5, 0.085, (0.24, hip), (0.25, hip - knee))
        arm = joints.arm_rest[side] + joints.arms * np.sin(joints.beat * (swing + np.pi))
        bend = joints.elbows * (1 + 0.6 * np.sin(joints.beat * swing + 1))
        limb(part, shoulder_x + (0.06 if side else -0.06) * build, shoulder_y + 0.02, 0.055,
             (0.16, arm), (0.16, arm + bend))  # fmt: skip
    limb("body", 0, 0.48, 0.15, (0.29, np.pi - lean))
    head = at(shoulder_x + 0.07 * np.sin(lean), shoulder_y - 0.1)
    cv2.circle(masks["skin"], head, int(16 * 0.068 * tall), 255, -1, cv2.LINE_AA, 4)
    return masks


def draw_person(rng: np.random.Generator, pictures: Sequence[Picture], room: float) -> Thing:
    """Draw a person who crosses, comes closer, goes away, or stays and gestures.

    The person may be seen whole, or so near that only a part fits. `room` is the largest share of
    the frame that is covered, about.
    """
    walks = rng.random() < 0.55
    joints = Joints(
        legs=rng.uniform(0.25, 0.7) if walks else rng.uniform(0, 0.12),
        knees=rng.uniform(0.3, 1.2) if walks else rng.uniform(0, 0.3),
        arms=rng.uniform(0.2, 1.0) if walks else rng.uniform(0, 1.6),
        elbows=rng.uniform(0.05, 1.3),
        arm_rest=rng.uniform(-2.6, 2.6, 2) * (rng.random() < (0.15 if walks else 0.6)),
        lean=rng.normal(0, 0.12) if rng.random() < 0.8 else rng.normal(0, 0.6),
        beat=1 if walks else int(rng.integers(1, 4)),
    )
    build = rng.uniform(0.7, 1.7)
    body, legs = _cut_out(rng, pictures), _cut_out(rng, pictures)
    skin = (np.array([225, 180, 150]) * rng.uniform(0.3, 1.05) + rng.normal(0, 8, 3)).clip(0, 255)
    # Lit from one side: without shades, cloth of one colour would show nothing of its movement.
    shade = np.linspace(*rng.uniform(0.6, 1.2, 2), SPRITE)[None, :, None]
    parts = [("far", legs * 0.7), ("legs", legs), ("body", body), ("skin", skin)]
    clothes = {part: (cloth * shade).clip(0, 255).astype(np.uint8) for part, cloth in parts}
    images, masks = [], []
    for pose in range(POSES):
        figure = _figure(joints, 2 * np.pi * pose / POSES, build)
        image = clothes["body"].copy()
        for part, cloth in clothes.items():
            cv2.copyTo(
                np.ascontiguousarray(np.broadcast_to(cloth, image.shape)), figure[part], image
            )
        images.append(image)
        masks.append(np.maximum.reduce(list(figure.values())))
    covers = float(np.mean([(mask > 0).mean() for mask in masks]))
    near = rng.random() < 0.4
    size = log_uniform(rng, 1.2, 3.0) if near else log_uniform(rng, 0.3, 1.3)
    # What of a near person is outside of the frame covers nothing of it.
    size = min(size, float(np.sqrt(room / covers)) * (1.5 if near else 1.0))
    start = np.array([rng.uniform(-0.45, 0.45), rng.uniform(-0.1, 0.35)])
    if near:  # the head and shoulders stay in the picture
        start[1] = rng.uniform(-0.35, 0.15) + 0.4 * size
    cadence = rng.uniform(0.6, 1.4) * SECONDS  # cycles of two steps
    travel, growth = np.zeros(2), 0.0
    if walks:
        way = rng.random()
        if way < 0.6:
            heading = rng.choice([-1, 1])
            travel = np.array([heading, rng.normal(0, 0.1)]) * log_uniform(rng, 0.1, 1.8)
        if way > 0.45:
            growth = rng.choice([-1, 1]) * rng.uniform(0.1, 0.8)
    elif rng.random() < 0.5:
        travel = rng.normal(0, 0.12, 2)
    return Thing(
        images=images,
        masks=masks,
        cycles=cadence,
        start=start,
        travel=travel,
        size=size * float(np.exp(-max(growth, 0))),
        growth=growth,
        turn=rng.normal(0, 0.25) if rng.random() < 0.15 else 0.0,
        wobble=np.array([rng.normal(0, 0.015), rng.normal(0, 0.015), rng.normal(0, 0.04)]),
        beat=2 * cadence,
        coupling=float(rng.choice([0, 1, log_uniform(rng, 1, NEAREST)], p=[0.25, 0.45, 0.3])),
        ease=draw_ease(rng),
    )


def draw_things(rng: np.random.Generator, pictures: Sequence[Picture]) -> list[Thing]:
    """Draw what is in front: one to four things or people, over at most 60 % of the frame, about."""
    count = int(rng.choice([1, 2, 3, 4], p=[0.45, 0.3, 0.15, 0.1]))
    people = rng.random() < 0.65
    room = rng.uniform(0.1, 0.6) / count
    return [
        (draw_person if people and rng.random() < 0.85 else draw_thing)(rng, pictures, room)
        for _ in range(count)
    ]
