"""What is known of a video before it is decoded: size, rate, length, orientation."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from timesformer_cli.errors import VideoError

Pixels = npt.NDArray[np.uint8]


MAX_PIXELS = 7680 * 4320  # 8K UHD, 33 million


UNTIMED = 25.0  # frames a second of a file that has no times at all, as FFmpeg assumes


class Orientation(NamedTuple):
    """How a stored picture becomes the shown one: mirrored left to right, then turned."""

    turns: int = 0  # quarter turns counter-clockwise
    mirrored: bool = False


UPRIGHT = Orientation()


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """One video stream as its container describes it; lengths in seconds.

    `width` and `height` are those shown, after rotation and pixel shape. The stored picture is
    mirrored (where `mirrored`), then turned `rotation` degrees counter-clockwise to be shown.
    """

    width: int
    height: int
    fps: float
    duration: float
    frames: int | None
    codec: str
    container: str
    rotation: int = 0
    mirrored: bool = False
    pixel_aspect: float = 1.0
    hdr: str | None = None
    interlaced: bool = False
    video_streams: int = 1

    @property
    def orientation(self) -> Orientation:
        """How a stored picture becomes the shown one."""
        return Orientation(self.rotation // 90, self.mirrored)


def require_pixels_within_limit(width: int, height: int) -> None:
    """Refuse a picture that would take more memory than a decode worker is given."""
    if width * height > MAX_PIXELS:
        message = f"has frames of {width}x{height}; the limit is {MAX_PIXELS / 1e6:.0f} megapixels"
        raise VideoError("too_large", message)
