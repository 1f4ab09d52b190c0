"""What the decoders share: the order of their answers, and choosing frames by their times."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from timesformer_cli.video.facts import Pixels, Probe
from timesformer_cli.video.safe_file import VideoFile

EPSILON = 1e-3  # containers round times to a millisecond: a frame that much late is on screen
MISSING = {
    "decord": "decord is not installed; where it has no wheel (macOS and Linux on ARM), decord2"
    " offers the same: pip install decord2, or leave --decoder at auto",
    "av": "PyAV is not installed: pip install av",
    "cv2": "OpenCV cannot be imported: install the system's libgl1, or pip install"
    " opencv-python-headless in the place of opencv-python",
}


class ReaderDeclined(Exception):
    """This decoder must not or cannot read this file; another one may."""


class DecoderMissing(ReaderDeclined):
    """This decoder cannot be imported."""


class NoFrames(ReaderDeclined):
    """This decoder could not make a single picture of this file."""


class Unordered(Exception):
    """Times ran backwards, or a seek went too far: read again, trusting less."""


def import_decoder(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:
        raise DecoderMissing(f"{MISSING[module]} ({first_line(error)})") from None


def first_line(error: BaseException) -> str:
    """A native library's message without its place, time and stack: one short line."""
    text = str(error).strip().split("\n")[0]
    return text.rsplit("] ", 1)[-1][:160] or type(error).__name__


@dataclass(slots=True)
class Reading:
    """What one pass over a file gave: a picture for each wanted moment that the file reached."""

    pictures: list[Any]
    chosen: list[int]  # which frame of the pass each picture is: equal numbers, equal frames
    end: float | None = None  # where the last frame ends, when the pass met the end of the file
    damaged: list[str] = field(default_factory=list)  # why, for each packet that failed


Prepare = Callable[[Pixels], Any]
Reader = Callable[[VideoFile, Probe, Sequence[float], Prepare], Reading]


class Picker:
    """Takes, from frames offered in order, the last one that began before each wanted moment."""

    def __init__(self, wanted: Sequence[float], interval: float) -> None:
        self.wanted, self.interval = wanted, interval
        self.reading = Reading([], [])
        self.last: tuple[float, Callable[[], Any]] | None = None
        self.index = -1

    @property
    def next(self) -> float | None:
        """The first moment that has no picture yet."""
        done = len(self.reading.pictures)
        return self.wanted[done] if done < len(self.wanted) else None

    def offer(self, time: float | None, picture: Callable[[], Any]) -> bool:
        """Show the picker a frame; False when it has all it wanted. No time: one interval on."""
        if self.last is not None:
            before = self.last[0]
            time = before + self.interval if time is None else time
            if time < before - EPSILON:
                raise Unordered
            self._take_before(time)
        self.last = (time or 0.0, picture)
        self.index += 1
        return self.next is not None

    def finish(self) -> Reading:
        """The file has ended: its last frame stays on screen for one more interval."""
        if self.last is not None:
            self.reading.end = self.last[0] + self.interval
            self._take_before(self.reading.end + self.interval)
        return self.reading

    def _take_before(self, time: float) -> None:
        taken = None
        while self.next is not None and self.next < time - EPSILON:
            assert self.last is not None
            taken = self.last[1]() if taken is None else taken
            self.reading.pictures.append(taken)
            self.reading.chosen.append(self.index)
