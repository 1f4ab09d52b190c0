"""Read what a video file says of its size, rate, length and orientation: claims, not facts."""

import struct
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from timesformer_cli.errors import VideoError
from timesformer_cli.video.decoders.container import best_stream, decode_frames, open_container
from timesformer_cli.video.facts import (
    UNTIMED,
    UPRIGHT,
    Orientation,
    Probe,
    require_pixels_within_limit,
)
from timesformer_cli.video.safe_file import VideoFile

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics, ITU-T H.273 table 3


def probe(file: VideoFile) -> Probe:
    """Describe a file with PyAV, or with OpenCV where PyAV is not installed; raises VideoError."""
    try:
        import av
    except ImportError:
        from timesformer_cli.video.decoders.opencv import probe_opencv

        return probe_opencv(file)
    try:
        with open_container(file) as container:
            described = _describe(container, best_stream(container))
        if described.duration > 0:
            return described
        return replace(described, duration=_measure(file, described.fps))
    except av.error.FFmpegError as error:
        if file.cut_off():
            message = "is cut off: the index that players need is missing; copy or record it again"
            raise VideoError("truncated", message) from None
        message = f"is not a video that can be read: {error.strerror}"
        raise VideoError("cannot_decode", message) from None


def _describe(container: "InputContainer", stream: "VideoStream") -> Probe:
    context: Any = stream.codec_context
    if context is None:
        raise VideoError("cannot_decode", "is compressed in a way that no decoder here knows")
    require_pixels_within_limit(context.width, context.height)
    untimed = stream.start_time is None and stream.duration is None  # a bare stream of pictures
    rates = stream.average_rate, stream.guessed_rate
    fps = float(next(filter(None, reversed(rates) if untimed else rates), UNTIMED))
    # The display matrix comes with the frames, not with the stream, so one frame is decoded.
    frame = next(decode_frames(container, stream, []), None)
    orientation = _orientation(frame)
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    width, height = context.width, context.height
    if frame is not None:
        width, height = frame.width, frame.height
    shown = max(1, round(width * aspect)), height
    if orientation.turns % 2:
        shown = shown[1], shown[0]
    return Probe(
        width=shown[0],
        height=shown[1],
        fps=fps,
        duration=_duration(container, stream) or 0.0,
        frames=stream.frames or None,
        codec=context.name,
        container=container.format.name,
        rotation=orientation.turns * 90,
        mirrored=orientation.mirrored,
        pixel_aspect=aspect,
        hdr=HDR.get(int(context.color_trc)),
        interlaced=frame.interlaced_frame if frame is not None else False,
        video_streams=len(container.streams.video),
    )


def _orientation(frame: "VideoFrame | None") -> Orientation:
    """Read the display matrix. Its determinant is negative when the picture is mirrored.

    `frame.rotation` does not tell: for a mirrored picture it says 180.
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX") if frame is not None else None
    if matrix is None:
        return UPRIGHT
    a, b, _, c, d = struct.unpack_from("=5i", bytes(matrix))
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(0 if a + d >= 0 else 2, mirrored)
    return Orientation(1 if c - b >= 0 else 3, mirrored)


def _duration(container: "InputContainer", stream: "VideoStream") -> float | None:
    """Seconds of video that the stream claims, or else the container; None without a claim."""
    if stream.time_base is None:
        return None
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if container.duration is None:
        return None
    start = float((stream.start_time or 0) * stream.time_base)
    # The container's duration ends with the video, so the video's late start is taken off.
    # Matroska counts from 0, the others from the container's own start.
    if not container.format.name.startswith("matroska"):
        start -= (container.start_time or 0) / 1e6
    return container.duration / 1e6 - start


def _measure(file: VideoFile, fps: float) -> float:
    """Measure the seconds of video from the times of all packets; nothing is decoded."""
    import av

    count = 0
    bounds: list[Fraction] = []
    with suppress(av.error.FFmpegError), open_container(file) as container:
        for packet in container.demux(best_stream(container)):
            count += bool(packet.size)
            if packet.pts is not None and packet.time_base is not None:
                begin = packet.pts * packet.time_base
                end = begin + (packet.duration or 0) * packet.time_base
                bounds = [min([begin, *bounds]), max([end, *bounds])]
    known = bounds and bounds[1] > bounds[0]
    return float(bounds[1] - bounds[0]) if known else max(count, 1) / fps
