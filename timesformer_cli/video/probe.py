"""Read what a video file says of its size, rate, length and orientation: claims, not facts."""

import struct
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.video.decoders.base import Reading, Unordered
from timesformer_cli.video.decoders.container import (
    best_stream,
    decode_frames,
    leave_other_streams,
    open_container,
)
from timesformer_cli.video.decoders.frame_index import (
    INDEXED,
    NEVER,
    IndexedVideo,
    PacketRow,
    index_of_container,
    index_of_packets,
    row_of,
)
from timesformer_cli.video.decoders.pillow import is_animation, probe_animation
from timesformer_cli.video.facts import (
    UNTIMED,
    UPRIGHT,
    Orientation,
    Probe,
    require_pixels_within_limit,
)
from timesformer_cli.video.safe_file import VideoFile
from timesformer_cli.video.timing import PacketTime, Timing, measure_steady, measure_timing

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics, ITU-T H.273 table 3
# Bytes of a file whose packets are all read to learn its times: about 0.3 s from a disk. Of larger
# ones the index tells as much in mp4 and mov, and the claims of others are believed.
LARGEST_COUNTED = 256 << 20
UNLIKE = 4.0  # a rate so many times off the median step is none to count frames with


def probe(file: VideoFile) -> Probe:
    """What `examine` says of a file, without its packets."""
    described, indexed = examine(file)
    if indexed is not None:
        indexed.close()
    return described


def examine(file: VideoFile) -> tuple[Probe, IndexedVideo | None]:
    """Describe a file with PyAV, or with OpenCV where PyAV is not installed; raises VideoError.

    With its packets, where they are known, which the caller closes. Pictures that move (WebP, APNG)
    are Pillow's.
    """
    if is_animation(file):
        return probe_animation(file), None
    try:
        import av
    except ImportError:
        from timesformer_cli.video.decoders.opencv import probe_opencv

        return probe_opencv(file), None
    with ExitStack() as stack:
        try:
            container = stack.enter_context(open_container(file))
            stream = best_stream(container)
            leave_other_streams(container, stream)
            packets = _Packets(container, stream)
            described, first = _describe(file, container, stream, packets)
            if _hides_pictures(stream):
                timed, _ = _timed(file, described, packets, None)
                return _without_edits(file, described, timed), None
            timed, indexed = _timed(file, described, packets, first)
        except av.error.FFmpegError as error:
            if file.cut_off():
                message = (
                    "is cut off: the index that players need is missing; copy or record it again"
                )
                raise VideoError(ErrorKind.TRUNCATED, message) from None
            message = f"is not a video that can be read: {error.strerror}"
            raise VideoError(ErrorKind.CANNOT_DECODE, message) from None
        if indexed is not None:
            stack.pop_all()
        return timed, indexed


class _Packets:
    """The packets of a stream, each once; what went by is kept."""

    def __init__(self, container: "InputContainer", stream: "VideoStream") -> None:
        self.container, self.stream = container, stream
        self.rows: list[PacketRow] = []
        self._packets = container.demux(stream)

    def __iter__(self) -> Iterator["Packet[VideoStream]"]:
        return self

    def __next__(self) -> "Packet[VideoStream]":
        packet = next(self._packets)
        if packet.size:
            self.rows.append(row_of(packet))
        return packet


def _describe(
    file: VideoFile,
    container: "InputContainer",
    stream: "VideoStream",
    packets: Iterator["Packet[VideoStream]"],
) -> tuple[Probe, int | None]:
    """The description, and the time of the first picture in ticks of the stream's clock."""
    context: Any = stream.codec_context
    if file.encrypted():
        raise VideoError(
            ErrorKind.ENCRYPTED, "is encrypted: decrypt it first, with the key it came with"
        )
    if context is None:
        raise VideoError(
            ErrorKind.CANNOT_DECODE, "is compressed in a way that no decoder here knows"
        )
    require_pixels_within_limit(context.width, context.height)
    untimed = stream.start_time is None and stream.duration is None  # a bare stream of pictures
    rates = stream.average_rate, stream.guessed_rate
    fps = float(next(filter(None, reversed(rates) if untimed else rates), UNTIMED))
    # The display matrix comes with the frames, not with the stream, so one frame is decoded.
    frame = next(decode_frames(stream, packets, Reading([], [])), None)
    orientation = orientation_of(frame)
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    width, height = context.width, context.height
    if frame is not None:
        width, height = frame.width, frame.height
    shown = max(1, round(width * aspect)), height
    if orientation.turns % 2:
        shown = shown[1], shown[0]
    claimed = _duration(container, stream) or 0.0
    described = Probe(
        width=shown[0],
        height=shown[1],
        fps=fps,
        duration=claimed,
        claimed=claimed,
        frames=stream.frames or None,
        codec=context.name,
        container=container.format.name,
        rotation=orientation.turns * 90,
        mirrored=orientation.mirrored,
        pixel_aspect=aspect,
        coded_width=width,
        coded_height=height,
        pixel_format=context.pix_fmt or "",
        hdr=_hdr(file, int(context.color_trc), frame),
        interlaced=frame.interlaced_frame if frame is not None else False,
        video_streams=len(container.streams.video),
    )
    return described, None if frame is None else frame.pts


def _hdr(file: VideoFile, transfer: int, frame: "VideoFrame | None") -> str | None:
    """Name what keeps colours from looking right; profile 5 of Dolby Vision has no other form."""
    dolby = file.dolby_vision_profile() == 5
    if frame is not None and not dolby and transfer not in HDR:
        dolby = any("DOVI" in str(key) for key in frame.side_data.keys())  # noqa: SIM118
    return "Dolby Vision" if dolby else HDR.get(transfer)


def _hides_pictures(stream: "VideoStream") -> bool:
    """Whether an edit list leaves one picture, which lasts for hours, of the many there are."""
    entries = len(stream.index_entries)
    return entries == 1 and (stream.frames or 0) > 1


def _timed(
    file: VideoFile, described: Probe, packets: _Packets, first: int | None
) -> tuple[Probe, IndexedVideo | None]:
    """The description with the times that the packets tell, where these can be read.

    And the packets themselves, where pictures are found by them; never without a `first` time.
    """
    import av

    container, stream = packets.container, packets.stream
    base = float(stream.time_base or 0)
    of_stream = described.container.startswith("mpeg") or file.mpeg_stream
    listed = None
    if first is not None and base and described.container.startswith(INDEXED) and not file.grows():
        listed = index_of_container(container, stream, first)
    if listed is not None:
        video, decoded = listed
        with suppress(Unordered, av.error.FFmpegError):
            end, stays = video.last_picture()
            # Pictures are shown at the steps at which they are decoded, but for their order.
            shown = np.append(decoded[:-1] + (end - decoded[-1]), end)
            timing = measure_steady(shown, base, stays * base, stream=of_stream, fps=described.fps)
            if timing is not None:
                return _with_timing(described, timing), video
        container.seek(int(decoded[0]), stream=stream)  # what was looked at is read again
        packets = _Packets(container, stream)
    if file.size > LARGEST_COUNTED and described.duration > 0:
        return _by_index(file, described), None
    with suppress(av.error.FFmpegError, IndexError):  # what a broken end does not tell is left out
        deque(packets, maxlen=0)
    if not base or not packets.rows:
        return described, None
    visible = [row for row in packets.rows if not row.hidden] or packets.rows
    timing = measure_timing(_in_seconds(visible, base), stream=of_stream, fps=described.fps)
    if timing is None:
        return described, None
    indexed = None
    if first is not None and timing.steady:
        indexed = index_of_packets(container, stream, first, packets.rows)
    return _with_timing(described, timing), indexed


def _in_seconds(rows: Iterable[PacketRow], base: float) -> Iterator[PacketTime]:
    for row in rows:
        decoded, shown = (None if t == NEVER else t * base for t in (row.decoded, row.shown))
        yield PacketTime(decoded, shown, row.duration * base)


def _with_timing(described: Probe, timing: Timing) -> Probe:
    notes = []
    if timing.restarts:
        notes.append(
            f"starts its clock anew {timing.restarts} time{'s' * (timing.restarts > 1)}; its parts "
            "are taken one after another"
        )
    if timing.jumps:
        notes.append(
            f"has a frame that claims to last {timing.jumps:,.0f} s; it is taken for one of "
            f"{timing.interval:.2g} s"
        )
    # A mean rate says nothing where one picture stands for most of the time.
    odd = not 1 / UNLIKE < described.fps * timing.interval < UNLIKE
    return replace(
        described,
        duration=timing.duration,
        frames=timing.pictures,
        fps=1 / timing.interval if odd and timing.interval > 0 else described.fps,
        tail=timing.tail,
        longest=timing.longest,
        steady=timing.steady,
        restarts=timing.restarts,
        counted=True,
        notes=tuple(notes),
    )


def _by_index(file: VideoFile, described: Probe) -> Probe:
    """The description with the steps that the index tells; nothing else of the file is read."""
    with open_container(file) as container:
        stream = best_stream(container)
        if stream.time_base is None or len(stream.index_entries) < 2:
            return described
        base = float(stream.time_base)
        times = [entry.timestamp * base for entry in stream.index_entries]
    steps = (PacketTime(time, time, 0.0) for time in times)
    timing = measure_timing(steps, stream=False, fps=described.fps)
    if timing is None or timing.steady:
        return described
    return replace(_with_timing(described, timing), counted=False)


def _without_edits(file: VideoFile, described: Probe, timed: Probe) -> Probe:
    """The description of all pictures that an edit list hides behind an impossible step."""
    try:
        with open_container(file, ignore_edits=True) as container:
            packets = _Packets(container, best_stream(container))
            whole, _ = _timed(file, replace(described, ignore_edits=True), packets, None)
    except (VideoError, OSError):  # then what the edit list shows has to do
        return timed
    return whole if (whole.frames or 0) > (timed.frames or 0) else timed


def orientation_of(frame: "VideoFrame | None") -> Orientation:
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
