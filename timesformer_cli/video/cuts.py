"""Where one shot ends and the next begins, found frame by frame while a video is read.

A cut is a frame that differs from the one before much more than its neighbours do, so that a moving
camera is no cut. The rule and the measure are those of PySceneDetect's adaptive detector, which
itself would take as long again for each frame. It looks two frames ahead, hence the lag. A picture
is seen as few cells of one colour each, which small motions and noise hardly change.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from timesformer_cli.video.ahead import Starts
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.tensor_picture import TensorPicture

LAG = 2  # frames after which a frame is known to begin a shot or not
CELLS = 32  # along the long side of a picture
SAMPLES = 3  # pixels along each side of a cell
RATIO = 3.0  # of a cut's change to the mean change of the LAG frames on each side of it
# The least change of a cut, of 255, as the mean over all cells: of hue, saturation and brightness,
# and of red, green and blue. Where it is dark or gray, hues and saturations jump although hardly
# anything can be seen to change. A picture with wide black borders changes little at a cut.
LEAST, LEAST_RGB = 10.0, 6.0
SHORTEST = 0.4  # seconds from one cut to the next; flashes are shorter


class _Change(NamedTuple):
    """How far a frame is from the one before."""

    hsv: float
    rgb: float


class CutFinder:
    """Says of each frame, `LAG` frames later, whether it begins a new shot."""

    def __init__(self, fps: float) -> None:
        self._shortest = max(1, round(SHORTEST * fps))
        self._changes: deque[_Change] = deque(maxlen=2 * LAG + 1)
        self._seen: tuple[Any, Any] | None = None  # the frame before, as BGR and as HSV
        self._count = self._last = 0

    def feed(self, small: Pixels) -> int | None:
        """Take the next frame, BGR `(h w 3)`; returns the number of a frame that begins a shot."""
        self._changes.append(self._change(small))
        self._count += 1
        number = self._count - 1 - LAG
        if len(self._changes) <= 2 * LAG or number - self._last < self._shortest:
            return None
        change = self._changes[LAG]
        beside = (sum(each.hsv for each in self._changes) - change.hsv) / (2 * LAG)
        if change.hsv < max(LEAST, RATIO * beside) or change.rgb < LEAST_RGB:
            return None
        self._last = number
        return number

    def _change(self, small: Pixels) -> _Change:
        import cv2

        size = small.shape[1] // SAMPLES, small.shape[0] // SAMPLES
        cells = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
        seen = cells, cv2.cvtColor(cells, cv2.COLOR_BGR2HSV)
        before, self._seen = self._seen, seen
        if before is None:
            return _Change(0.0, 0.0)
        if before[0].shape != cells.shape:  # the video changes its shape here
            again = cv2.resize(before[0], size, interpolation=cv2.INTER_AREA)
            before = again, cv2.cvtColor(again, cv2.COLOR_BGR2HSV)
        rgb, hsv = (_distance(*both) for both in zip(before, seen, strict=True))
        return _Change(hsv, rgb)


class CutWatch:
    """Has the frames of a video looked at, and says of each whether it begins a new shot.

    So many frames as it is `behind` may be looked at while whoever decodes goes on.
    """

    def __init__(self, fps: float, start: Starts, behind: int) -> None:
        self.lag = LAG + behind  # frames that must have come before a frame is asked about
        self._finder, self._start = CutFinder(fps), start
        self._looks: deque[Callable[[], int | None]] = deque()
        self._heard = 0  # looks whose result is known
        self._found: set[int] = set()

    def look(self, small: Callable[[], Pixels]) -> None:
        """Begin to look at the next frame."""
        self._looks.append(self._start(lambda: self._finder.feed(small())))

    def begins_shot(self, number: int) -> bool:
        """Whether a frame does; asked once of each frame, in order."""
        while self._looks and self._heard <= number + LAG:
            self._heard += 1
            cut = self._looks.popleft()()
            if cut is not None:
                self._found.add(cut)
        found = number in self._found
        self._found.discard(number)
        return found


def _distance(one: Any, other: Any) -> float:
    import cv2

    return sum(cv2.mean(cv2.absdiff(one, other))) / 3


def small_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of what a decoder shows `CutFinder` of a picture."""
    scale = CELLS / max(width, height)
    return SAMPLES * max(1, round(width * scale)), SAMPLES * max(1, round(height * scale))


def shrink(picture: Pixels | TensorPicture) -> Pixels:
    """An RGB picture as `CutFinder` sees it, for decoders that cannot do it as they decode."""
    import cv2

    size = small_size(picture.shape[1], picture.shape[0])
    if isinstance(picture, TensorPicture):
        small = np.asarray(picture.resized(size, "bilinear"))
    else:
        small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
    return np.asarray(small[:, :, ::-1], np.uint8)
