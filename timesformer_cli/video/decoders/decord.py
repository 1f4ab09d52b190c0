"""Read with decord: only `next()` from the first frame on, and only files that pass a guard.

`get_batch` and indexing are not used: on 114 valid test clips `get_batch` returned wrong frames for
18 without an error, and on clips cut with `-c copy` it spins for ever while it holds the GIL.
"""

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from timesformer_cli.video.decoders.base import (
    EPSILON,
    Prepare,
    ReaderDeclined,
    Reading,
    first_line,
    import_decoder,
)
from timesformer_cli.video.facts import Probe
from timesformer_cli.video.safe_file import VideoFile


def read_decord(
    file: VideoFile, probe: Probe, wanted: Sequence[float], prepare: Prepare
) -> Reading:
    """Read with decord, in order from the first frame; declines files that it reads wrongly."""
    decord = import_decoder("decord")
    if probe.mirrored or (probe.rotation and not probe.container.startswith("mov")):
        raise ReaderDeclined("decord does not show this orientation")
    if probe.video_streams > 1:
        raise ReaderDeclined("decord may choose another of the video streams")
    if probe.container.startswith("mpeg") or file.mpeg_stream:
        raise ReaderDeclined("decord loses frames of MPEG streams")
    try:
        # A path, never an open file: those crash it. With 3 threads or more it fails on VP9.
        reader = decord.VideoReader(file.source, num_threads=1)
        times = [float(t) for t in reader.get_frame_timestamp(range(len(reader)))[:, 0]]
    except (decord.DECORDError, AssertionError, IndexError, RuntimeError) as error:
        raise ReaderDeclined(f"decord cannot read it: {first_line(error)}") from None
    if not _trusted(times):
        raise ReaderDeclined("the times decord gives its frames cannot be right")
    try:
        return _in_order(reader, [t - times[0] for t in times], wanted, probe, prepare)
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


def _in_order(
    reader: Any, times: Sequence[float], wanted: Sequence[float], probe: Probe, prepare: Prepare
) -> Reading:
    reading, position = Reading([], []), 0
    interval = 1 / probe.fps
    taken: Any = None
    for moment in wanted:
        if moment >= times[-1] + 2 * interval:  # the same bound as Picker.finish
            reading.end = times[-1] + interval
            break
        index = max(bisect_right(times, moment + EPSILON) - 1, 0)
        while position <= index:
            try:
                frame = reader.next()
            except StopIteration:
                reading.end = times[position - 1] + interval if position else 0.0
                return reading
            position += 1
        if not reading.chosen or reading.chosen[-1] != index:
            # decord has turned it already; prepare wants the picture as stored.
            taken = prepare(np.rot90(frame.asnumpy(), -probe.rotation // 90))
        reading.pictures.append(taken)
        reading.chosen.append(index)
    return reading
