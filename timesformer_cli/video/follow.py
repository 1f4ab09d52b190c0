"""One video, decoded once and forwards, as windows: like `decode`, for videos of any length."""

from collections.abc import Iterator, Sequence
from functools import partial
from math import inf
from typing import Any, Protocol

from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.video.ahead import Ahead
from timesformer_cli.video.decode import (
    HELD,
    NO_FRAMES,
    READERS,
    damage_warnings,
    false_length,
    look_warnings,
    reader_order,
    require_undamaged,
    unread,
)
from timesformer_cli.video.decoders.base import (
    Beat,
    ReaderDeclined,
    Reading,
    ReadJob,
    first_line,
    no_beat,
)
from timesformer_cli.video.decoders.pillow import pictures_of, probe_pictures, read_pictures
from timesformer_cli.video.facts import Pixels, Probe
from timesformer_cli.video.messages import Followed, FollowRequest
from timesformer_cli.video.probe import probe
from timesformer_cli.video.safe_file import VideoFile
from timesformer_cli.video.transform import prepare_frame
from timesformer_cli.video.windows import (
    Shot,
    Window,
    WindowPicker,
    WindowSink,
    pictures_that_wait,
)

BEHIND = 4  # pictures that may wait for the thread that looks at them and prepares them


def follow(request: FollowRequest, sink: "FollowSink", beat: Beat = no_beat) -> Followed:
    """Decode a video forwards and tell the sink of its windows and shots.

    Decoders are tried in turn until one gives a window; from then on what happens to it ends the
    video, and is the `fault`. Raises VideoError where none could read it.
    """
    if request.fps is not None:
        pictures = pictures_of(request.path)
        described = probe_pictures(pictures, request.fps)
        sink.described(described)
        reading, fault = _read(
            partial(read_pictures, pictures), request, described, None, sink, beat
        )
        return _followed("pillow", request, described, reading, fault)
    with VideoFile(request.path) as file:
        described = probe(file)
        if described.duration and request.plan.start >= described.duration:
            raise VideoError(
                ErrorKind.NO_FRAMES,
                f"ends at {described.duration:.1f} s, before {request.plan.start:g} s",
            )
        sink.described(described)
        beat()
        reasons: list[ReaderDeclined] = []
        for name in reader_order(request.decoder, request.without, described):
            beat(name)
            try:
                reading, fault = _read(READERS[name], request, described, file, sink, beat)
            except ReaderDeclined as reason:
                reasons.append(reason)
            except (VideoError, MemoryError):
                raise
            except Exception as error:  # of the decoder: another may do better
                reasons.append(ReaderDeclined(f"{name} failed ({first_line(error)})"))
            else:
                return _followed(name, request, described, reading, fault)
    raise unread(request.decoder, reasons)


class FollowSink(WindowSink, Protocol):
    """Told of everything that is found while a video is followed."""

    def described(self, described: Probe) -> None:
        """What the file says of itself, before it is decoded."""


class _Counted:
    """Passes windows and shots on, and knows whether there were any."""

    def __init__(self, sink: WindowSink) -> None:
        self.sink, self.windows = sink, 0

    def window(self, window: Window, fresh: Sequence[tuple[int, Pixels]]) -> None:
        self.windows += 1
        self.sink.window(window, fresh)

    def shot(self, shot: Shot) -> None:
        self.sink.shot(shot)


def _read(
    reader: Any,
    request: FollowRequest,
    described: Probe,
    file: VideoFile | None,
    sink: WindowSink,
    beat: Beat,
) -> tuple[Reading, str]:
    """One decoder's reading, and why it ended early; raises ReaderDeclined before any window."""
    counted = _Counted(sink)
    pickers: list[WindowPicker] = []
    most = pictures_that_wait(described.coded_width, described.coded_height)
    prepare = partial(
        prepare_frame, preprocessing=request.preprocessing, orientation=described.orientation
    )
    behind = min(most, BEHIND)
    with Ahead(behind) as ahead:

        def picker(interval: float, tail: float) -> WindowPicker:
            if counted.windows:  # it would begin again, and tell of every window twice
                raise _Late("its times run backwards")
            pickers.append(
                WindowPicker(request.plan, counted, interval, tail, beat, most, ahead, behind)
            )
            return pickers[-1]

        try:
            reading = reader(ReadJob(file, described, (), prepare, beat, follow=picker))
            require_undamaged(reading)
        except Exception as error:
            if not counted.windows or isinstance(error, MemoryError):
                raise
            # What was told stays told; the rest of the video is lost.
            reading = pickers[-1].finish()
            return reading, first_line(error)
    if not reading.decoded:
        raise ReaderDeclined(NO_FRAMES)
    return reading, ""


class _Late(Exception):
    """A reader wants to begin again after windows were told."""


def _followed(
    name: str, request: FollowRequest, described: Probe, reading: Reading, fault: str
) -> Followed:
    end = reading.end or 0.0
    if request.plan.end > end and end < HELD * described.claimed:
        # Whoever asks what happens when must know that the rest is not there.
        fault = fault or next(false_length(described, end))
    return Followed(
        decoder=name,
        end=end,
        warnings=tuple(_warnings(request, described, reading, end)),
        fault=fault,
    )


def _warnings(
    request: FollowRequest, described: Probe, reading: Reading, end: float
) -> Iterator[str]:
    if request.plan.end == inf and end >= HELD * described.claimed:
        yield from false_length(described, end)
    yield from described.notes
    yield from damage_warnings(reading)
    yield from look_warnings(described)
