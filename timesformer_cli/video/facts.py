"""What is known of a video before it is decoded: size, rate, length, orientation."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from timesformer_cli.errors import VideoError

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 7680 * 4320  # 8K UHD, 33 million
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
    duration: float  # seconds
    frames: int | None  # None when the container does not count them
    codec: str
    container: str  # FFmpeg's name, such as "mov,mp4,m4a,3gp,3g2,mj2"; "unknown" from OpenCV
    rotation: int = 0  # degrees counter-clockwise, after mirroring, from stored to shown picture
    mirrored: bool = False  # left to right, before rotation
    pixel_aspect: float = 1.0  # width of a stored pixel over its height
    hdr: str | None = None  # "PQ" or "HLG"; None for ordinary video
    interlaced: bool = False
    video_streams: int = 1  # with more than one, decoders may choose different ones

    @property
    def orientation(self) -> Orientation:
        """How to show a stored picture."""
        return Orientation(self.rotation // 90, self.mirrored)


def require_pixels_within_limit(width: int, height: int) -> None:
    """Raise VideoError for a picture that is too large for the memory of a decode worker."""
    if width * height > MAX_PIXELS:
        message = f"has frames of {width}x{height}; the limit is {MAX_PIXELS / 1e6:.0f} megapixels"
        raise VideoError("too_large", message)
