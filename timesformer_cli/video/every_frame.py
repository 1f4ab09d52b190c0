"""All pictures of a part of a video, each with its time, so that any moment of it may be taken later.

What is taken of them is what decoding the file for these moments would give: the times are those at
which a decoder offers its pictures, and `Picker` chooses among them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from math import ceil
from typing import Any

import numpy as np

from timesformer_cli.errors import VideoError
from timesformer_cli.video.decode import READERS, decode, reader_order, taken_from
from timesformer_cli.video.decoders.base import (
    EPSILON,
    Beat,
    FramePicker,
    ReaderDeclined,
    Reading,
    ReadJob,
    Unordered,
    no_beat,
    time_after,
)
from timesformer_cli.video.decoders.pillow import pictures_of, probe_pictures, read_pictures
from timesformer_cli.video.decoders.pyav import LONG_GAP
from timesformer_cli.video.facts import Pixels, Probe
from timesformer_cli.video.messages import Decoded, DecodeRequest, View
from timesformer_cli.video.probe import examine
from timesformer_cli.video.safe_file import VideoFile
from timesformer_cli.video.transform import prepare_frame, resized_size

EVERY = "every"  # in the place of a view's crop
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
            time = time_after(self.last[0], time, self.interval)
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

    @property
    def offered(self) -> list[float]:
        """The times of all frames until the pass was given up, of a part that begins with the file."""
        return self.times if self.last is None else [*self.times, self.last[0]]

    def _keep(self) -> None:
        assert self.last is not None
        time, picture = self.last
        self.times.append(time)
        self.reading.pictures.append(picture()["whole"])
        self.size += self.reading.pictures[-1].nbytes
        if self.size > LARGEST:
            raise _Unkept


def decode_every(request: DecodeRequest, beat: Beat = no_beat) -> Decoded:
    """All pictures of the part that a request of one jittered clip lies in.

    The times of the first view are those of the pictures, and behind them that of the next one where
    the file goes on behind the part; further views have those of passes that were given up. Where the
    pictures are too many, or the file is damaged, it is the clip that was asked for, and
    `holds_every` says no. Raises VideoError.
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

    index: object | None = None
    shape = partial(prepare_frame, preprocessing=request.preprocessing, crops=0)
    if request.fps is not None:
        pictures = pictures_of(request.path)
        described, name = probe_pictures(pictures, request.fps), "pillow"
        _require_few(request, described)
        job = ReadJob(None, described, (), shape, beat, follow)
        reading = read_pictures(pictures, job)
    else:
        with VideoFile(request.path, request.part) as file:
            described, index = examine(file)
            if index is not None:
                index.close()
            _require_few(request, described)
            beat()
            name = next(iter(reader_order(request.decoder, request.without, described)))
            beat(name)
            upright = partial(shape, orientation=described.orientation)
            reading = READERS[name](ReadJob(file, described, (), upright, beat, follow))
    *given_up, picker = pickers
    # Else a shorter look would have found its moments by the index, or by a seek over such a place.
    one_way = index is None and request.start == 0 and described.duration <= LONG_GAP
    one_way = one_way and all(len(one.offered) == one.reading.decoded for one in given_up)
    if (given_up and not one_way) or reading.damaged or reading.mended:
        raise _Unkept
    if not reading.pictures or len({picture.shape for picture in reading.pictures}) > 1:
        raise _Unkept
    offered = [picker.times, *(one.offered for one in given_up)]
    views = (View(times[0], times[-1], EVERY, tuple(times)) for times in offered if times)
    return Decoded(
        frames=np.stack(reading.pictures)[np.newaxis],
        views=tuple(views),
        decoder=name,
        warnings=(),
        seconds=0.0,
        probe=described,
    )


def _require_few(request: DecodeRequest, described: Probe) -> None:
    last = described.duration if request.end is None else request.end
    width, height = resized_size(described.width, described.height, request.preprocessing)
    if 3 * width * height * ceil((last - request.start) * described.fps) > LARGEST:
        raise _Unkept


def holds_every(views: tuple[View, ...]) -> bool:
    """Whether what was decoded is all pictures of a part."""
    return views[0].crop == EVERY


def take_clip(
    request: DecodeRequest, header: Decoded, count: int, picture: Callable[[int], Pixels]
) -> Decoded:
    """The clip that a request asks for, of all pictures of its part: `count`, each by its number.

    `header` says all of them but the pixels. Raises VideoError and NoFrames where it is not in them.
    """

    def offer(picker: FramePicker, times: Sequence[float]) -> bool:
        """Whether more are wanted behind these."""
        return all(
            picker.offer(time, partial(lambda number: {"whole": picture(number)}, number), _unseen)
            for number, time in enumerate(times)
        )

    def read(job: ReadJob) -> Reading:
        times, *given_up = (view.times for view in header.views)
        for begun in given_up:
            picker = job.picker()
            if not offer(picker, begun):
                return picker.reading
        picker = job.picker()
        ended = offer(picker, times) and len(times) == count
        return picker.finish() if ended else picker.reading

    return taken_from(request, header.decoder, header.probe, read)


def _unseen() -> Pixels:
    raise AssertionError("nobody looks for cuts here")
