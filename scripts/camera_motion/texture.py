"""What can be seen of motion in a frame: where it has edges, and in how many directions."""

from __future__ import annotations

import cv2
import numpy as np

from scripts.camera_motion.paths import SIDE, Floats
from scripts.camera_motion.things import Picture

TEXTURE = 4.0  # least edges of a tile that shows motion, in squared grey levels a pixel
TILES = 15  # of 36 that must show texture
STILL_TILES = 8  # of 36 that must have an edge where the camera stands still


def tiles_of(frame: Picture) -> tuple[Floats, Floats]:
    """For each of a frame's 36 tiles how strong its edges are: in their weakest direction, in all.

    The smaller eigenvalue of a tile's structure tensor says whether it has edges in two directions:
    with one direction only, motion along the edge is invisible. The other number is its trace.
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
    return (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2), xx + yy


def shows_texture(frame: Picture, contrast: float = 1.0) -> bool:
    """Whether motion could be seen in enough places of a frame, in both directions."""
    return bool((tiles_of(frame)[0] > TEXTURE * contrast**2).sum() >= TILES)


def shows_edges(frame: Picture, contrast: float = 1.0) -> bool:
    """Whether there is something in the frame by which one sees that it stands still."""
    return bool((tiles_of(frame)[1] > 1).sum() >= STILL_TILES)


def shows_nothing(frame: Picture, contrast: float = 1.0) -> bool:
    """Whether next to nothing in the frame could show motion."""
    return bool((tiles_of(frame)[0] > TEXTURE).sum() <= 1)
