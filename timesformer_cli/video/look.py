"""How a clip looks, in a few numbers: another coding, a small crop or a logo hardly change them.

1. Each picture is made small and grey, and taken apart into waves (a cosine transform); the slow
   ones are kept.
2. The waves of the first half of a clip's pictures are averaged, and those of the second half.
3. Quick waves, which are weak in all pictures, are made as strong as the slow ones, and the mean
   brightness is left out. What then has length 1 is compared by its cosine.

A model's features will not do for this: those of `camera-motion` say how the camera moves,
whatever it shows.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.stream import StreamedWindow

Look = npt.NDArray[np.float32]
SIDE, KEPT = 32, 6  # px a picture is made small to; waves kept, across and down
WIDTH = 2 * (KEPT * KEPT - 1)  # numbers of a look
# A clip of less contrast, in grey levels, shows nothing by which it could be known: black, or fog.
FAINT = 2.0


def waves_of(picture: Pixels) -> Look:
    """How much of each slow wave there is in a picture's brightness, `(KEPT KEPT)`."""
    small = Image.fromarray(picture).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    waves, _ = _tables()
    return waves @ np.asarray(small, np.float32) @ waves.T


def look_of(waves: Sequence[Look]) -> Look:
    """The look of a clip from the waves of its pictures, `(WIDTH)`: of length 1, or 0 where faint."""
    stacked = np.stack(waves)
    middle = max(1, len(stacked) // 2)
    halves = np.stack([stacked[:middle].mean(0), stacked[-middle:].mean(0)])
    _, strength = _tables()
    # Without the first wave, which is the mean; the others' squares add up to the variance.
    if np.sqrt((halves**2).sum((1, 2)) - halves[:, 0, 0] ** 2).max() < FAINT * SIDE:
        return np.zeros(WIDTH, np.float32)
    look: Look = (halves * strength).reshape(2, -1)[:, 1:].ravel()
    return look / np.linalg.norm(look)


def look_of_clip(pictures: Pixels) -> Look:
    """The look of pictures `(t h w 3)`."""
    return look_of([waves_of(picture) for picture in pictures])


class WindowLooks:
    """The looks of a video's windows; make a new one for the next video.

    Windows share pictures, and each is made small once.
    """

    def __init__(self) -> None:
        self._waves: dict[int, Look] = {}  # of pictures that a later window may have, by number

    def of(self, windows: Sequence[StreamedWindow]) -> Look:
        """The looks of the next windows, `(windows WIDTH)`."""
        for window in windows:
            self._waves.update((n, waves_of(picture)) for n, picture in window.fresh.items())
        looks = np.stack(
            [look_of([self._waves[n] for n in each.window.frames]) for each in windows]
        )
        oldest = windows[-1].window.oldest
        self._waves = {n: waves for n, waves in self._waves.items() if n >= oldest}
        return looks


@cache
def _tables() -> tuple[Look, Look]:
    """The slowest waves over `SIDE` pixels, `(KEPT SIDE)`, and what each counts, `(KEPT KEPT)`."""
    angle = np.outer(np.arange(KEPT), np.arange(SIDE) + 0.5) * np.pi / SIDE
    waves = np.cos(angle) * np.sqrt(2 / SIDE)
    waves[0] /= np.sqrt(2)
    strength = np.hypot(*np.meshgrid(np.arange(KEPT), np.arange(KEPT)))
    return waves.astype(np.float32), strength.astype(np.float32)
