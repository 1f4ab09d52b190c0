"""What is known of a video before it is decoded: size, rate, length, orientation."""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from timesformer_cli.errors import ErrorKind, VideoError

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 36_000_000  # 8192 x 4096, as 360-degree cameras record, and a little more
UNTIMED = 25.0  # frames per second when a file has no times at all; FFmpeg assumes the same


class Orientation(NamedTuple):
    """How to show a stored picture: first mirror it left to right, then turn it."""

    turns: int = 0  # quarter turns counter-clockwise
    mirrored: bool = False


UPRIGHT = Orientation()


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """One video stream as its container describes it: claims, not yet checked by decoding."""

    width: int  # as shown: after rotation and pixel shape
    height: int
    fps: float
    duration: float  # seconds, as the packets say where they could be read
    claimed: float = 0.0  # seconds, as the container says; 0 where it says nothing
    tail: float = 0.0  # seconds for which the last picture stays; 0 where that is not known
    longest: float = inf  # seconds; a step from one picture to the next beyond this is impossible
    steady: bool = True  # the clock never starts anew or jumps, so that seeks by time land
    restarts: int = 0  # how often the clock starts anew
    counted: bool = False  # the packets were read, so that all of the above is known
    ignore_edits: bool = False  # the edit list hides the pictures behind an impossible step
    frames: int | None  # None when the container does not count them
    codec: str
    container: str  # FFmpeg's name, such as "mov,mp4,m4a,3gp,3g2,mj2"; "unknown" from OpenCV
    rotation: int = 0  # degrees counter-clockwise, after mirroring, from stored to shown picture
    mirrored: bool = False  # left to right, before rotation
    pixel_aspect: float = 1.0  # width of a stored pixel over its height
    coded_width: int = 0  # of a stored picture; 0 where it is not known
    coded_height: int = 0
    pixel_format: str = ""  # FFmpeg's name, such as "yuv420p"
    hdr: str | None = None  # "PQ", "HLG" or "Dolby Vision"; None for ordinary video
    interlaced: bool = False
    notes: tuple[str, ...] = ()  # what a user should know, as the end of a sentence
    video_streams: int = 1  # with more than one, decoders may choose different ones

    @property
    def orientation(self) -> Orientation:
        """How to show a stored picture."""
        return Orientation(self.rotation // 90, self.mirrored)


def require_pixels_within_limit(width: int, height: int) -> None:
    """Raise VideoError for a picture that is too large for the memory of a decode worker."""
    if width * height > MAX_PIXELS:
        message = f"has frames of {width}x{height}; the limit is {MAX_PIXELS / 1e6:.0f} megapixels"
        raise VideoError(ErrorKind.TOO_LARGE, message)
