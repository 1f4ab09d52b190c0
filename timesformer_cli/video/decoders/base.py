"""What the decoders share: their errors, their result, and how frames are chosen by time."""

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from timesformer_cli.installing import how_to_install
from timesformer_cli.video.facts import Pixels, Probe
from timesformer_cli.video.safe_file import VideoFile
from timesformer_cli.video.tensor_picture import TensorPicture

if TYPE_CHECKING:
    from timesformer_cli.video.decoders.frame_index import IndexedVideo

EPSILON = 1e-3  # seconds; containers round times to a millisecond, so a frame may begin this late
MISSING = {
    "decord": "decord is not installed; where it has no wheel (macOS and Linux on ARM), decord2"
    " offers the same: pip install decord2, or leave --decoder at auto",
    "av": "PyAV is not installed: pip install av",
    "cv2": "OpenCV cannot be imported: install the system's libgl1, or pip install"
    " opencv-python-headless in the place of opencv-python",
}
PLACE = re.compile(r".*\.cpp:\d+, ")  # in the source of torchcodec, before what happened there
EXTRAS = {"torchcodec": "gpu"}  # decoders that come with one of our extras only


class ReaderDeclined(Exception):
    """This decoder must not or cannot read this file; another one may."""


class DecoderMissing(ReaderDeclined):
    """This decoder cannot be imported."""


class NoFrames(ReaderDeclined):
    """This decoder found no picture in this file."""


class Unordered(Exception):
    """Times ran backwards, or a seek went too far: read again, and trust the file less."""


def time_after(before: float, time: float | None, interval: float) -> float:
    """A frame's time, or one interval after the frame before; raises Unordered if it ran backwards."""
    time = before + interval if time is None else time
    if time < before - EPSILON:
        raise Unordered
    return time


def import_decoder(module: str) -> Any:
    """Import a decoder's module; raises DecoderMissing with advice on how to install it."""
    try:
        return importlib.import_module(module)
    # A native library that is missing may raise OSError or RuntimeError instead of ImportError.
    except (ImportError, OSError, RuntimeError) as error:
        if module in EXTRAS:
            advice = f"{module} cannot be imported: {how_to_install(EXTRAS[module])}"
        else:
            advice = MISSING[module]
        raise DecoderMissing(f"{advice} ({first_line(error)})") from None


def first_line(error: BaseException) -> str:
    """A native library's message without its place, time and stack: one short line."""
    text = PLACE.sub("", str(error)).strip().split("\n")[0]
    return text.rsplit("] ", 1)[-1][:160] or type(error).__name__


def require_picture(picture: Pixels, width: int, height: int) -> Pixels:
    """Return a decoder's picture once it is `(height, width, 3)`; raises ReaderDeclined.

    decord gives 4 to 48 channels for some narrow widths, and reports nothing.
    """
    if picture.shape != (height, width, 3):
        raise ReaderDeclined(
            f"gives pictures of shape {picture.shape} in the place of {(height, width, 3)}"
        )
    return picture


@dataclass(slots=True)
class Reading:
    """The result of one pass over a file."""

    pictures: list[Any]  # one per wanted moment, in order; fewer when the file ended before
    chosen: list[int]  # a number per picture; two pictures with one number are the same frame
    end: float | None = None  # seconds at which the last frame ends; None if it was not reached
    decoded: int = 0  # pictures that were decoded, wanted or not
    damaged: list[str] = field(default_factory=list)  # one reason per packet that failed
    lost: int = 0  # pictures that were in the file and never came out of the decoder
    mended: int = 0  # pictures that the decoder says are damaged, and made up in part


class Beat(Protocol):
    """Told that a file moves on: with the name of a decoder that begins, or with every picture."""

    def __call__(self, decoder: str | None = None) -> None: ...


def no_beat(decoder: str | None = None) -> None:
    """For whoever does not wait."""


class Prepare(Protocol):
    """Turns a stored picture into what is kept of it, such as its crops."""

    def __call__(self, picture: Pixels | TensorPicture, *, pixel_aspect: float) -> Any:
        """`pixel_aspect` is the picture's own: it may change in the middle of a video."""
        ...


class FramePicker(Protocol):
    """Takes what it wants of the frames that a decoder offers in order, one pass over a file."""

    reading: Reading
    last: tuple[float, Callable[[], Any]] | None  # the frame before; None after a seek

    @property
    def next(self) -> float | None:
        """The moment up to which no frame is wanted; None where no more are."""
        ...

    def offer(self, time: float | None, picture: Callable[[], Any], small: "SmallPicture") -> bool:
        """Offer the next frame; returns False where no more are wanted. Raises Unordered."""
        ...

    def finish(self) -> Reading:
        """Close the reading at the end of the file."""
        ...


@dataclass(frozen=True, slots=True)
class ReadJob:
    """What a decoder is asked for: the frames on screen at the wanted moments of one file."""

    opened: VideoFile | None  # None for a folder of pictures
    probe: Probe
    wanted: Sequence[float]  # seconds from the first frame, sorted
    prepare: Prepare
    beat: Beat = no_beat
    # Makes another picker than that of the moments, from the frames' interval and the last one's
    # length.
    follow: "Callable[[float, float], FramePicker] | None" = None
    indexed: "IndexedVideo | None" = None  # where the packets of the file are known

    @property
    def file(self) -> VideoFile:
        """The file; a folder of pictures has none."""
        assert self.opened is not None
        return self.opened

    def picker(self) -> "FramePicker":
        """What takes the frames of one pass, offered in order."""
        interval, tail = 1 / self.probe.fps, self.probe.tail
        if self.follow is not None:
            return self.follow(interval, tail)
        return Picker(self.wanted, interval, tail, self.beat)


Reader = Callable[[ReadJob], Reading]
SmallPicture = Callable[[], Pixels]  # BGR, small enough to compare with its neighbours at once


class Picker:
    """Chooses, from frames offered in order, the one that is on screen at each wanted moment.

    That is the last frame that began at or before the moment. Frames come as functions, so that
    only the chosen ones are converted. `wanted` is sorted; `interval` is the time of one frame and
    `tail` that of the last one.
    """

    def __init__(
        self,
        wanted: Sequence[float],
        interval: float,
        tail: float = 0.0,
        beat: Beat = no_beat,
    ) -> None:
        self.wanted, self.interval, self.tail = wanted, interval, max(tail, interval)
        self.beat = beat
        self.reading = Reading([], [])
        self.last: tuple[float, Callable[[], Any]] | None = None
        self.index = -1

    @property
    def next(self) -> float | None:
        """The first moment that has no picture yet."""
        done = len(self.reading.pictures)
        return self.wanted[done] if done < len(self.wanted) else None

    def offer(
        self,
        time: float | None,
        picture: Callable[[], Any],
        small: "SmallPicture | None" = None,
    ) -> bool:
        """Offer the next frame; returns False once there is a picture for every moment.

        A frame without a time counts as one interval later than the last. Raises Unordered when
        time runs backwards.
        """
        self.beat()
        if self.last is not None:
            time = time_after(self.last[0], time, self.interval)
            self._take_before(time)
        self.last = (time or 0.0, picture)
        self.index += 1
        self.reading.decoded += 1
        return self.next is not None

    def finish(self) -> Reading:
        """Close the reading at the end of the file, where the last frame stays for its `tail`.

        Moments up to one more interval later are still given this frame.
        """
        if self.last is not None:
            self.reading.end = self.last[0] + self.tail
            self._take_before(self.reading.end + self.interval)
        return self.reading

    def _take_before(self, time: float) -> None:
        taken = None
        while self.next is not None and self.next < time - EPSILON:
            assert self.last is not None
            taken = self.last[1]() if taken is None else taken
            self.reading.pictures.append(taken)
            self.reading.chosen.append(self.index)
