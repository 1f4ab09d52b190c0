"""Read with decord: only `next()` from the first frame on, and only files that pass a guard.

`get_batch` and indexing are not used: on 114 valid test clips `get_batch` returned wrong frames for
18 without an error, and on clips cut with `-c copy` it spins for ever while it holds the GIL.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from timesformer_cli.video.cuts import shrink
from timesformer_cli.video.decoders.base import (
    EPSILON,
    ReaderDeclined,
    Reading,
    ReadJob,
    first_line,
    import_decoder,
    require_picture,
)
from timesformer_cli.video.decoders.container import changes_size
from timesformer_cli.video.facts import Pixels, Probe

# Compared with PyAV picture by picture, on 70 files of 26 encoders. decord makes palettes black,
# and some gray formats.
PIXEL_FORMATS = frozenset(
    "yuv420p yuvj420p yuv422p yuvj422p yuv444p yuvj444p yuv410p yuv411p yuva420p yuv420p10le"
    " yuv422p10le yuv444p10le rgb24 bgr24 rgba bgra argb bgr0 gbrp yuyv422 uyvy422".split()
)


def read_decord(job: ReadJob) -> Reading:
    """Read with decord, in order from the first frame; declines files that it reads wrongly."""
    decord, probe = import_decoder("decord"), job.probe
    if probe.mirrored or (probe.rotation and not probe.container.startswith("mov")):
        raise ReaderDeclined("decord does not show this orientation")
    if probe.video_streams > 1:
        raise ReaderDeclined("decord may choose another of the video streams")
    if probe.container.startswith("mpeg") or job.file.mpeg_stream:
        raise ReaderDeclined("decord loses frames of MPEG streams")
    if probe.pixel_format not in PIXEL_FORMATS:
        raise ReaderDeclined(f"decord was not seen to read {probe.pixel_format or 'this'} right")
    if not probe.steady or probe.ignore_edits:
        raise ReaderDeclined("decord cannot step over times that are impossible")
    if changes_size(job.file):
        raise ReaderDeclined("decord gives all pictures the size of the first one")
    try:
        # A path, never an open file: those crash it. With 3 threads or more it fails on VP9.
        reader = decord.VideoReader(job.file.source, num_threads=1)
        times = [float(t) for t in reader.get_frame_timestamp(range(len(reader)))[:, 0]]
    except (decord.DECORDError, AssertionError, IndexError, RuntimeError) as error:
        raise ReaderDeclined(f"decord cannot read it: {first_line(error)}") from None
    if not _trusted(times):
        raise ReaderDeclined("the times decord gives its frames cannot be right")
    try:
        read = _in_order if job.follow is None else _every_frame
        return read(reader, [t - times[0] for t in times], job)
    except decord.DECORDError as error:
        raise ReaderDeclined(f"decord cannot read it: {first_line(error)}") from None


def _trusted(times: Sequence[float]) -> bool:
    """Whether the times are finite, not negative and strictly increasing.

    Where they are not, decord was seen to return wrong frames (open GOPs, negative times).
    """
    if not times:
        return False
    finite = all(math.isfinite(time) for time in times)
    rising = all(a < b for a, b in pairwise(times))
    return finite and rising and times[0] >= -EPSILON


def _in_order(reader: Any, times: Sequence[float], job: ReadJob) -> Reading:
    """Take the wanted frames; then read to the end, which proves that none was passed over.

    Where a packet cannot be decoded decord goes on to the next picture without a word, and all
    later ones come too early: there are then fewer pictures than packets.
    """
    probe = job.probe
    reading, position = Reading([], []), 0
    interval = 1 / probe.fps
    tail = max(probe.tail, interval)
    taken: Any = None
    for moment in job.wanted:
        if moment >= times[-1] + tail + interval:  # the same bound as Picker.finish
            reading.end = times[-1] + tail
            break
        index = max(bisect_right(times, moment + EPSILON) - 1, 0)
        while position <= index:
            frame = _next(reader)
            position += 1
            job.beat()
        if not reading.chosen or reading.chosen[-1] != index:
            taken = job.prepare(_stored(frame, probe), pixel_aspect=probe.pixel_aspect)
        reading.pictures.append(taken)
        reading.chosen.append(index)
    for _ in range(position, len(times)):
        _next(reader)
        job.beat()
    reading.decoded = len(times)
    return reading


def _every_frame(reader: Any, times: Sequence[float], job: ReadJob) -> Reading:
    """Offer every frame in turn to the picker that follows the video."""
    picker = job.picker()
    for time in times:
        picture = _stored(_next(reader), job.probe)
        prepared = partial(job.prepare, picture, pixel_aspect=job.probe.pixel_aspect)
        if not picker.offer(time, prepared, partial(shrink, picture)):
            return picker.reading
    return picker.finish()


def _next(reader: Any) -> Any:
    try:
        return reader.next()
    except StopIteration:
        raise ReaderDeclined("decord gives fewer pictures than there are packets") from None


def _stored(frame: Any, probe: Probe) -> Pixels:
    """A frame as it is stored; decord has turned it already."""
    turned = probe.rotation // 90
    shown = probe.coded_width, probe.coded_height
    shown = (shown[1], shown[0]) if turned % 2 else shown
    return np.rot90(require_picture(frame.asnumpy(), *shown), -turned)
