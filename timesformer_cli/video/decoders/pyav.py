"""Read with PyAV: in order, with seeks where a container keeps its times exact after them."""

import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from timesformer_cli.video.cuts import small_size
from timesformer_cli.video.decoders.base import (
    EPSILON,
    ReaderDeclined,
    Reading,
    ReadJob,
    Unordered,
    import_decoder,
    require_picture,
)
from timesformer_cli.video.decoders.container import best_stream, decode_frames, open_container
from timesformer_cli.video.facts import Pixels, Probe, require_pixels_within_limit
from timesformer_cli.video.timing import Clock

if TYPE_CHECKING:
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

LONG_GAP = 10.0  # seconds without a wanted frame, from which on a seek is made
# Containers whose times are the same after a seek, and those where they are when their packets
# show that the clock is steady.
SEEKABLE, SEEKABLE_IF_STEADY = ("mov", "matroska"), ("avi", "mpegts")
# Seconds to land before a wanted frame: frames near a keyframe may need what lies before it. A
# transport stream has no index, so a seek lands at any packet, and pictures begin at a keyframe.
MARGIN, MARGIN_WITHOUT_INDEX = 1.0, 12.0
THREADS = 1  # per file; the pool decodes several files at a time
SCALES_IN_THREADS = 17  # the first PyAV that does


def can_seek(probe: Probe) -> bool:
    """Whether a frame far into the file is found by a seek."""
    if not probe.steady or probe.ignore_edits:
        return False
    if probe.container.startswith(SEEKABLE):
        return True
    return probe.container.startswith(SEEKABLE_IF_STEADY) and probe.counted


def read_in_order(job: ReadJob) -> Reading:
    """Read with PyAV, in up to three passes that trust the file less and less.

    First with seeks over long gaps, then every frame in order, then with times counted from the
    frame rate.
    """
    av = import_decoder("av")
    try:
        if can_seek(job.probe):
            with suppress(Unordered):
                return _read_av(job, seek=True)
        with suppress(Unordered):
            return _read_av(job)
        return _read_av(job, counted=True)
    except av.error.FFmpegError as error:
        raise ReaderDeclined(f"PyAV cannot read it: {error.strerror}") from None


def _read_av(job: ReadJob, *, seek: bool = False, counted: bool = False) -> Reading:
    """Make one pass; `counted` ignores the file's times and counts frames instead."""
    probe, interval = job.probe, 1 / job.probe.fps
    picker = job.picker()
    clock = Clock(interval, probe.longest, restarts=probe.restarts > 0)
    with open_container(job.file, ignore_edits=probe.ignore_edits) as container:
        stream = best_stream(container)
        stream.codec_context.thread_count = THREADS
        assert stream.time_base is not None
        base = float(stream.time_base)
        first_aspect = aspect_of(stream)
        start: float | None = None
        target: float | None = None  # where the last seek was headed
        waiting = False  # for a keyframe, after a seek into a container without an index
        frames = decode_frames(stream, container.demux(stream), picker.reading)
        while (frame := next(frames, None)) is not None:
            own = None if counted or frame.pts is None else frame.pts * base
            start = (own or 0.0) if start is None else start
            if waiting and not frame.key_frame:
                job.beat()
                continue
            waiting = False
            time = (None if own is None else own - start) if target is not None else clock(own)
            # The first frame after a seek comes after the target: frames between were missed.
            missed = time is None or time > (target or 0.0) + EPSILON
            if picker.last is None and target is not None and missed:
                raise Unordered
            aspect = probe.pixel_aspect * aspect_of(stream) / first_aspect
            small = partial(small_picture, frame)
            if not picker.offer(time, partial(prepared_picture, frame, aspect, job), small):
                return picker.reading
            ahead = picker.next
            # A target is tried once: a seek may land on a keyframe far before it.
            if not seek or time is None or ahead is None:
                continue
            if ahead != target and ahead - time > LONG_GAP:
                target = ahead
                waiting = not probe.container.startswith(SEEKABLE)
                margin = MARGIN_WITHOUT_INDEX if probe.container == "mpegts" else MARGIN
                goal = max(start, start + ahead - margin)
                container.seek(int(goal / stream.time_base), stream=stream)
                picker.last = None
                frames = decode_frames(stream, container.demux(stream), picker.reading)
    return picker.finish()


def prepared_picture(frame: "VideoFrame", aspect: float, job: ReadJob) -> Any:
    """A frame, of its own size and pixel shape, as what is kept of it."""
    return job.prepare(whole_picture(frame), pixel_aspect=aspect)


def whole_picture(frame: "VideoFrame") -> Pixels:
    """A frame in RGB; raises VideoError where it is too large."""
    require_pixels_within_limit(frame.width, frame.height)
    shown = _converters().whole.reformat(frame, format="rgb24", **_one_thread())
    return require_picture(np.asarray(shown.to_ndarray(), np.uint8), frame.width, frame.height)


def small_picture(frame: "VideoFrame") -> Pixels:
    """A frame as small as what finds cuts wants it, made of what the decoder has."""
    width, height = small_size(frame.width, frame.height)
    small = _converters().small.reformat(
        frame, width, height, format="bgr24", interpolation="FAST_BILINEAR", **_one_thread()
    )
    return np.asarray(small.to_ndarray(), np.uint8)


class _Converters(threading.local):
    """What converts the pictures of one thread; a frame's own would be set up for each anew."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self.whole, self.small = VideoReformatter(), VideoReformatter()


@cache
def _converters() -> _Converters:
    return _Converters()


@cache
def _one_thread() -> Mapping[str, Any]:
    """What keeps PyAV from converting a picture in several threads.

    It would start one per processor for each picture, and wait for all of them: for small pictures
    that takes twice as long, and 100 times as long where other programs keep the processors busy.
    """
    import av

    return {"threads": 1} if int(av.__version__.split(".")[0]) >= SCALES_IN_THREADS else {}


def aspect_of(stream: "VideoStream") -> float:
    """Width over height of a pixel, as the decoder has last met it."""
    return float(stream.codec_context.sample_aspect_ratio or 1) or 1.0
