"""Small pictures of the frames that a model saw, side by side in one JPEG for each video.

For up to `SHEETS` videos each has up to `FRAMES` pictures, for up to `SINGLES` one, and for more
none: a page of a hundred videos has at most 4 MB of them, and so has one of a thousand.
"""

import heapq
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from timesformer_cli.video.facts import Pixels

if TYPE_CHECKING:
    from timesformer_cli.inference.classified import Classified, Result
    from timesformer_cli.video.stream import StreamedWindow

HIGH, WIDEST = 80, 160  # pixels of one picture
FRAMES, SHEETS, SINGLES = 8, 100, 1000
LARGEST = 30_000  # bytes of a sheet of several pictures; a single one has a tenth
QUALITIES = (75, 60, 45, 30, 15)
STRIP, STEP = 12, 0.25  # pictures of a timeline; seconds between two, at first


@dataclass(frozen=True, slots=True)
class Sheet:
    """Pictures of one video, from left to right in one JPEG."""

    times: tuple[float, ...]  # seconds, one for each picture
    width: int  # of one picture, in pixels; all are as high as `HIGH`
    jpeg: str  # in base64


class FramePictures:
    """Collects pictures of videos while a model sees them.

    `wrong`, of an evaluation, is true of a result, and its number, that is a mistake: where there
    are more than `SHEETS` videos, the most confident mistakes have pictures, and no other video.
    """

    def __init__(
        self, videos: int, wrong: "Callable[[int, Classified], bool] | None" = None
    ) -> None:
        self._wrong = wrong if videos > SHEETS else None
        self._frames, self._largest = _bounds(videos if wrong is None else 0)
        self._sheets: list[Sheet | None] = []  # one for each result
        self._worst: list[tuple[float, int]] = []  # mistakes that have a sheet, the least first

    def seen(self, result: "Result", pixels: Pixels | None) -> None:
        """Take pictures of a result's first view; `pixels` are all views, `(views t h w 3)`."""
        number = len(self._sheets)
        self._sheets.append(None)
        if pixels is None or not self._frames:
            return
        assert result.status == "ok"
        if self._wrong is not None:
            if not self._wrong(number, result):
                return
            heapq.heappush(self._worst, (result.predictions[0].score, number))
        view, count = result.views[0], min(self._frames, pixels.shape[1])
        chosen = [int((place + 0.5) * pixels.shape[1] / count) for place in range(count)]
        small = [_small(pixels[0, place]) for place in chosen]
        self._sheets[number] = _sheet([view.times[at] for at in chosen], small, self._largest)
        if len(self._worst) > SHEETS:
            self._sheets[heapq.heappop(self._worst)[1]] = None

    def last(self, count: int) -> list[Sheet | None]:
        """The sheets of the last results, in their order; None where one has none."""
        return self._sheets[-count:] if count else []


class FilmStrips:
    """Collects pictures of videos while they are followed, evenly from what their windows bring."""

    def __init__(self, videos: int) -> None:
        self._frames, self._largest = _bounds(videos)
        self._strips: dict[str, _Strip] = {}

    def window(self, video: str, window: "StreamedWindow") -> None:
        """Hear of a window of a video."""
        if self._frames:
            most = STRIP if self._frames > 1 else 1
            self._strips.setdefault(video, _Strip(most)).add(window)

    def of(self, videos: Sequence[str]) -> list[Sheet | None]:
        """For each video its sheet; None where there is none."""
        found = map(self._strips.get, videos)
        return [
            None if each is None else _sheet(each.times, each.pictures, self._largest)
            for each in found
        ]


def _bounds(videos: int) -> tuple[int, int]:
    """How many pictures each of so many videos has, and the most bytes that they take."""
    if videos <= SHEETS:
        return FRAMES, LARGEST
    return int(videos <= SINGLES), LARGEST // 10


def _sheet(times: Sequence[float], pictures: Sequence[Pixels], largest: int) -> Sheet:
    """The best quality that is small enough, or the lowest."""
    image = Image.fromarray(np.concatenate(pictures, axis=1))
    for quality in QUALITIES:
        file = BytesIO()
        image.save(file, "jpeg", quality=quality, optimize=True)
        if file.tell() <= largest:
            break
    return Sheet(
        times=tuple(round(time, 3) for time in times),
        width=pictures[0].shape[1],
        jpeg=b64encode(file.getvalue()).decode(),
    )


class _Strip:
    """Pictures at about even distances, of a video whose end is not known yet.

    When there are twice as many as are wanted, every second one goes, and the distance doubles.
    """

    def __init__(self, most: int) -> None:
        self.most, self.step = most, STEP
        self.times: list[float] = []
        self.pictures: list[Pixels] = []

    def add(self, streamed: "StreamedWindow") -> None:
        window = streamed.window
        for number, time in zip(window.frames, window.clip.times, strict=True):
            fresh = streamed.fresh.get(number)
            if fresh is None or (self.times and time < self.times[-1] + self.step):
                continue
            self.times.append(time)
            self.pictures.append(_small(fresh))
            if len(self.times) >= 2 * self.most:
                self.step *= 2
                self.times, self.pictures = self.times[::2], self.pictures[::2]


def _small(picture: Pixels) -> Pixels:
    """The picture made as high as `HIGH`, and not wider than `WIDEST`."""
    height, width = picture.shape[:2]
    size = max(1, min(WIDEST, round(width * HIGH / height))), HIGH
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
