"""All pictures of a part of a video, each with its time, so that any moment of it may be taken later.

What is taken of them is what decoding the file for these moments would give: the times are those at
which a decoder offers its pictures, and `Picker` chooses among them.
"""

from collections.abc import Callable
from functools import partial
from math import ceil
from typing import Any

import numpy as np

from timesformer_cli.errors import VideoError
from timesformer_cli.video.decode import READERS, decode, reader_order, taken_from
from timesformer_cli.video.decoders.base import (
    EPSILON,
    Beat,
    ReaderDeclined,
    Reading,
    ReadJob,
    Unordered,
    no_beat,
)
from timesformer_cli.video.decoders.pillow import pictures_of, probe_pictures, read_pictures
from timesformer_cli.video.facts import Pixels, Probe
from timesformer_cli.video.messages import Decoded, DecodeRequest, View
from timesformer_cli.video.probe import probe
from timesformer_cli.video.safe_file import VideoFile
from timesformer_cli.video.transform import prepare_frame, resized_size

LARGEST = 256 << 20  # bytes of all pictures of a part


class _Unkept(Exception):
    """The pictures are too many, or not certain enough, to be taken later."""


class _KeepAll:
    """A `FramePicker` that takes all frames that are on screen from the start to the end."""

    def __init__(self, request: DecodeRequest, interval: float, tail: float, beat: Beat) -> None:
        self.start, self.end, self.beat = request.start, request.end, beat
        self.interval, self.tail = interval, max(tail, interval)
        self.reading = Reading([], [])
        self.last: tuple[float, Callable[[], Any]] | None = None
        self.times: list[float] = []
        self.size = 0

    @property
    def next(self) -> float:
        """The first moment that is wanted; a seek to it is made where it is far."""
        return self.start

    def offer(self, time: float | None, picture: Callable[[], Any], small: Any = None) -> bool:
        """Offer the next frame; returns False for the first one behind the end."""
        self.beat()
        if self.last is not None:
            before = self.last[0]
            time = before + self.interval if time is None else time
            if time < before - EPSILON:
                raise Unordered
            if self.start < time - EPSILON:
                self._keep()
            if self.end is not None and self.end < time - EPSILON:
                self.times.append(time)
                return False
        self.last = (time or 0.0, picture)
        self.reading.decoded += 1
        return True

    def finish(self) -> Reading:
        """Close the reading at the end of the file, as `Picker` does."""
        if self.last is not None:
            self.reading.end = self.last[0] + self.tail
            if self.start < self.reading.end + self.interval - EPSILON:
                self._keep()
        return self.reading

    def _keep(self) -> None:
        assert self.last is not None
        time, picture = self.last
        self.times.append(time)
        self.reading.pictures.append(picture()["whole"])
        self.size += self.reading.pictures[-1].nbytes
        if self.size > LARGEST:
            raise _Unkept


def decode_every(request: DecodeRequest, beat: Beat = no_beat) -> Decoded:
    """All pictures of the part that a request of one jittered clip lies in, as one view.

    Its times are those of the pictures, and behind them that of the next one where the file goes on
    behind the part. Where the pictures are too many, or the file is damaged, it is the clip that was
    asked for, and `holds_every` says no. Raises VideoError.
    """
    try:
        return _every(request, beat)
    except (_Unkept, ReaderDeclined, Unordered, VideoError):
        return decode(request, beat)


def _every(request: DecodeRequest, beat: Beat) -> Decoded:
    pickers: list[_KeepAll] = []

    def follow(interval: float, tail: float) -> _KeepAll:
        pickers.append(_KeepAll(request, interval, tail, beat))
        return pickers[-1]

    shape = partial(prepare_frame, preprocessing=request.preprocessing, crops=0)
    if request.fps is not None:
        pictures = pictures_of(request.path)
        described, name = probe_pictures(pictures, request.fps), "pillow"
        _require_few(request, described)
        job = ReadJob(None, described, (), shape, beat, follow)
        reading = read_pictures(pictures, job)
    else:
        with VideoFile(request.path, request.part) as file:
            described = probe(file)
            _require_few(request, described)
            beat()
            name = next(iter(reader_order(request.decoder, request.without, described)))
            beat(name)
            upright = partial(shape, orientation=described.orientation)
            reading = READERS[name](ReadJob(file, described, (), upright, beat, follow))
    # A second pass trusts the file less than a shorter look at it might, and so gives other times.
    if len(pickers) != 1 or reading.damaged or reading.lost or reading.mended:
        raise _Unkept
    if not reading.pictures or len({picture.shape for picture in reading.pictures}) > 1:
        raise _Unkept
    (picker,) = pickers
    view = View(picker.times[0], picker.times[-1], "every", tuple(picker.times))
    frames = np.stack(reading.pictures)[np.newaxis]
    return Decoded(
        frames=frames, views=(view,), decoder=name, warnings=(), seconds=0.0, probe=described
    )


def _require_few(request: DecodeRequest, described: Probe) -> None:
    last = described.duration if request.end is None else request.end
    width, height = resized_size(described.width, described.height, request.preprocessing)
    if 3 * width * height * ceil((last - request.start) * described.fps) > LARGEST:
        raise _Unkept


def holds_every(views: tuple[View, ...]) -> bool:
    """Whether what was decoded is all pictures of a part."""
    return views[0].crop == "every"


def take_clip(
    request: DecodeRequest, header: Decoded, count: int, picture: Callable[[int], Pixels]
) -> Decoded:
    """The clip that a request asks for, of all pictures of its part: `count`, each by its number.

    `header` says all of them but the pixels. Raises VideoError and NoFrames where it is not in them.
    """

    def read(job: ReadJob) -> Reading:
        picker = job.picker()
        times = header.views[0].times
        for number, time in enumerate(times):
            prepared = partial(lambda number: {"whole": picture(number)}, number)
            if not picker.offer(time, prepared, _unseen):
                return picker.reading
        return picker.reading if len(times) > count else picker.finish()

    return taken_from(request, header.decoder, header.probe, read)


def _unseen() -> Pixels:
    raise AssertionError("nobody looks for cuts here")
