"""Where one shot ends and the next begins, found frame by frame while a video is read.

scenedetect's adaptive detector does it: a cut is a frame that differs from the one before much more
than its neighbours do, so that a moving camera is no cut. It looks two frames ahead, hence the lag.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from timesformer_cli.video.facts import Pixels

LAG = 2  # frames after which a frame is known to begin a shot or not
SMALL = 144  # pixels along the long side of what the detector sees, as scenedetect shrinks pictures
SHORTEST = 0.4  # seconds from one cut to the next; flashes are shorter


class CutFinder:
    """Says of each frame, `LAG` frames later, whether it begins a new shot."""

    def __init__(self, fps: float) -> None:
        from scenedetect import FrameTimecode
        from scenedetect.detectors import AdaptiveDetector

        self._timecode: Callable[[int], Any] = lambda number: FrameTimecode(number, fps)
        self._detector = AdaptiveDetector(
            min_scene_len=max(1, round(SHORTEST * fps)), window_width=LAG
        )
        self._count = 0

    def feed(self, small: Pixels) -> list[int]:
        """Take the next frame, BGR `(h w 3)`; returns the numbers of frames that begin a shot."""
        found = self._detector.process_frame(self._timecode(self._count), small)
        self._count += 1
        return [int(timecode.frame_num) for timecode in found]


def small_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of what the detector sees of a picture."""
    scale = min(1.0, SMALL / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def shrink(picture: Pixels) -> Pixels:
    """An RGB picture as the detector sees it, for decoders that cannot do it as they decode."""
    import cv2

    size = small_size(picture.shape[1], picture.shape[0])
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small[:, :, ::-1], np.uint8)
