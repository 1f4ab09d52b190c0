"""Read with PyAV: in order, with seeks where a container keeps its times exact after them."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from timesformer_cli.video.decoders.base import (
    Picker,
    Prepare,
    ReaderDeclined,
    Reading,
    Unordered,
    import_decoder,
)
from timesformer_cli.video.decoders.container import best_stream, decode_frames, open_container
from timesformer_cli.video.facts import Probe, require_pixels_within_limit
from timesformer_cli.video.safe_file import VideoFile

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

LONG_GAP = 10.0  # seconds without a wanted frame, from which on a seek is made
SEEKABLE = ("mov", "matroska")  # containers whose times are the same after a seek
# Seconds to land before a wanted frame: frames near a keyframe may need what lies before it.
MARGIN = 1.0
THREADS = 1  # per file; the pool decodes several files at a time


def read_av(file: VideoFile, probe: Probe, wanted: Sequence[float], prepare: Prepare) -> Reading:
    """Read with PyAV, in up to three passes that trust the file less and less.

    First with seeks over long gaps, then every frame in order, then with times counted from the
    frame rate.
    """
    av = import_decoder("av")
    try:
        if probe.container.startswith(SEEKABLE):
            with suppress(Unordered):
                return _read_av(file, probe, wanted, prepare, seek=True)
        with suppress(Unordered):
            return _read_av(file, probe, wanted, prepare)
        return _read_av(file, probe, wanted, prepare, counted=True)
    except av.error.FFmpegError as error:
        raise ReaderDeclined(f"PyAV cannot read it: {error.strerror}") from None


def _read_av(
    file: VideoFile,
    probe: Probe,
    wanted: Sequence[float],
    prepare: Prepare,
    *,
    seek: bool = False,
    counted: bool = False,
) -> Reading:
    """Make one pass; `counted` ignores the file's times and counts frames instead."""
    picker = Picker(wanted, 1 / probe.fps)

    def picture(frame: "VideoFrame") -> Any:
        require_pixels_within_limit(frame.width, frame.height)
        return prepare(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))

    with open_container(file) as container:
        stream = best_stream(container)
        stream.codec_context.thread_count = THREADS
        assert stream.time_base is not None
        start: float | None = None
        target: float | None = None  # where the last seek was headed
        frames = decode_frames(container, stream, picker.reading.damaged)
        while (frame := next(frames, None)) is not None:
            time = None if counted or frame.pts is None else float(frame.pts * stream.time_base)
            start = (time or 0.0) if start is None else start
            since = None if time is None else time - start
            # The first frame after a seek comes after the target: frames between were missed.
            if picker.last is None and target is not None and (since is None or since > target):
                raise Unordered
            if not picker.offer(since, partial(picture, frame)):
                return picker.reading
            ahead = picker.wanted[len(picker.reading.pictures)]
            # A target is tried once: a seek may land on a keyframe far before it.
            if seek and since is not None and ahead != target and ahead - since > LONG_GAP:
                target = ahead
                container.seek(int((start + ahead - MARGIN) / stream.time_base), stream=stream)
                picker.last = None
                frames = decode_frames(container, stream, picker.reading.damaged)
    return picker.finish()
