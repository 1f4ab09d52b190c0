"""Film a still picture: what a camera that follows a path sees of it, with things in front."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from scripts.camera_motion.paths import Floats
from scripts.camera_motion.things import Picture, Thing
from scripts.camera_motion.wear import Clip
from scripts.camera_motion.world import PLAIN, World


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
    world: World = PLAIN,
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

    def scene(moment: float) -> Picture:
        state = camera(np.array([moment]))[0]
        if world.flat:
            return warp(
                picture, view_matrix(state, centre, view, lens), side, cv2.BORDER_REFLECT_101
            )
        x, y = world.places(state, moment, side, lens)
        if world.delay:
            last = moment + world.delay
            late = world.places(camera(np.array([last]))[0], last, side, lens)
            share = world.rows_late(side)
            x, y = x + (late[0] - x) * share, y + (late[1] - y) * share
        x, y = (
            (view * axis + middle).astype(np.float32)
            for axis, middle in zip((x, y), centre, strict=True)
        )
        return cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)

    frames = []
    for t in times:
        exposed = []
        for moment in t + shutter * np.linspace(-0.5, 0.5, 3) if shutter else [t]:
            frame = scene(float(moment))
            state = camera(np.array([moment]))[0]
            for thing in things:
                place = thing.place(float(moment), state)
                image, mask = thing.pose(float(moment))
                there = warp(mask, place, side, cv2.BORDER_CONSTANT)
                cv2.copyTo(warp(image, place, side, cv2.BORDER_CONSTANT), there, frame)
            exposed.append(frame)
        frames.append(np.mean(exposed, axis=0).astype(np.uint8) if shutter else exposed[0])
    return np.stack(frames)
