"""Read with torchcodec: on a card where torch sees one, else on the processor.

1. The packets that PyAV read say which picture is on screen at a moment, and when it is shown.
2. torchcodec is asked for the picture of that time. What it gives must carry that very time: of
   damaged and of fragmented files it gave the next picture instead, and said nothing.
3. On a card the whole picture stays there: it is turned, resized and cropped by torch, and only the
   crops are copied. No card has run this yet.
"""

from functools import partial
from math import inf
from typing import Any

import numpy as np

from timesformer_cli.video.cuts import shrink
from timesformer_cli.video.decoders.base import (
    DecoderMissing,
    ReaderDeclined,
    Reading,
    ReadJob,
    Unordered,
    first_line,
    import_decoder,
    require_picture,
)
from timesformer_cli.video.decoders.container import changes_size
from timesformer_cli.video.decoders.indexed import numbers_on_screen
from timesformer_cli.video.facts import Pixels, Probe
from timesformer_cli.video.tensor_picture import TensorPicture

# Compared with PyAV picture by picture, on the processor (torchcodec 0.17): of AVI and MPEG streams
# some came wrong, or not at all.
CONTAINERS = ("mov", "matroska")
# 4:2:0 in 8 bits. Of 10 bits edges came out otherwise; on cards, those and 4:4:4 had wrong colours
# (torchcodec issues 425, 943 and 1414).
PIXEL_FORMATS = frozenset(("yuv420p", "yuvj420p"))


def read_torchcodec(job: ReadJob) -> Reading:
    """Read with torchcodec, by the times of the packets; declines files that it reads wrongly."""
    library = import_decoder("torchcodec")
    if library.ffmpeg_major_version is None:  # it imports without, to read single pictures
        raise DecoderMissing(
            "torchcodec finds no FFmpeg (4 to 9, shared libraries) that fits it and torch:"
            " apt install ffmpeg, brew install ffmpeg or conda install ffmpeg"
        )
    probe = job.probe
    if not probe.container.startswith(CONTAINERS):
        raise ReaderDeclined("torchcodec is trusted with mp4, mov, Matroska and WebM only")
    if job.file.grows():
        raise ReaderDeclined("torchcodec misses pictures of fragmented files")
    if probe.pixel_format not in PIXEL_FORMATS:
        raise ReaderDeclined(
            f"torchcodec was not seen to read {probe.pixel_format or 'this'} right"
        )
    if probe.coded_width % 2 or probe.coded_height % 2:
        raise ReaderDeclined("torchcodec gives pictures of an odd size other colours")
    if probe.interlaced:
        raise ReaderDeclined("torchcodec gives interlaced video other colours")
    if probe.mirrored:
        raise ReaderDeclined("torchcodec turns mirrored pictures, and does not mirror them")
    if probe.video_streams > 1:
        raise ReaderDeclined("torchcodec may choose another of the video streams")
    if not probe.steady or probe.ignore_edits:
        raise ReaderDeclined("torchcodec cannot step over times that are impossible")
    if changes_size(job.file):
        raise ReaderDeclined("torchcodec reads pictures of one size only")
    read = _at_moments if job.follow is None else _every_frame
    try:
        return read(_opened(library, job), job)
    except (RuntimeError, ValueError, IndexError) as error:
        raise ReaderDeclined(f"torchcodec cannot read it: {first_line(error)}") from None


def _opened(library: Any, job: ReadJob) -> Any:
    """The decoder; raises ReaderDeclined where a card would leave the work to the processor."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    decoder = library.decoders.VideoDecoder(
        job.file.source, dimension_order="NHWC", device=device, seek_mode="exact"
    )
    # What a card cannot decode torchcodec has the processor decode, and converts it on the card in a
    # way that had wrong colours in several versions. Then PyAV may as well do all of it.
    if device == "cuda" and decoder.cpu_fallback:
        raise ReaderDeclined(f"the card does not decode it: {decoder.cpu_fallback}")
    if round(decoder.metadata.rotation or 0) % 360 != job.probe.rotation:
        raise ReaderDeclined("torchcodec turns it otherwise")
    return decoder


def _at_moments(decoder: Any, job: ReadJob) -> Reading:
    """The pictures on screen at the wanted moments."""
    if job.indexed is None:
        raise ReaderDeclined("the times of its packets are not known")
    try:
        reading = Reading([], numbers_on_screen(job, job.indexed))
    except Unordered:
        raise ReaderDeclined("the times of its packets do not agree") from None
    assert job.indexed.stream.time_base is not None
    tick = float(job.indexed.stream.time_base)
    pictures: dict[int, Any] = {}
    for number in dict.fromkeys(reading.chosen):
        begins = int(job.indexed.shown[number]) * tick
        # Of a list of times it looks each up in its own index; of a single one it would go by how
        # long pictures last, which not all containers say.
        (frame,) = decoder.get_frames_played_at([begins + tick / 2])
        if abs(frame.pts_seconds - begins) > tick / 2:
            raise ReaderDeclined("torchcodec misses pictures")
        pictures[number] = job.prepare(
            _stored(frame.data, job.probe), pixel_aspect=job.probe.pixel_aspect
        )
        reading.decoded += 1
        job.beat()
    reading.pictures = [pictures[number] for number in reading.chosen]
    return reading


def _every_frame(decoder: Any, job: ReadJob) -> Reading:
    """Offer every frame in turn to the picker that follows the video."""
    picker, first, before = job.picker(), 0.0, -inf
    for number in range(len(decoder)):
        frame = decoder.get_frame_at(number)
        time = float(frame.pts_seconds)
        if time <= before:  # in the place of one that is lost comes the next one
            raise ReaderDeclined("torchcodec misses pictures")
        first = time if not number else first
        before = time
        picture = _stored(frame.data, job.probe)
        prepared = partial(job.prepare, picture, pixel_aspect=job.probe.pixel_aspect)
        if not picker.offer(time - first, prepared, partial(shrink, picture)):
            return picker.reading
    return picker.finish()


def _stored(pixels: Any, probe: Probe) -> Pixels | TensorPicture:
    """A frame as it is stored, where it lies; torchcodec has turned it already."""
    if turned := probe.orientation.turns:
        pixels = pixels.rot90(-turned)
    require_picture(pixels, probe.coded_width, probe.coded_height)
    return np.asarray(pixels.numpy()) if pixels.device.type == "cpu" else TensorPicture(pixels)
