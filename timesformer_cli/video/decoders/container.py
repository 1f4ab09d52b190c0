"""Containers read with PyAV (FFmpeg): open safely, choose the stream, skip damaged packets."""

from collections.abc import Iterator
from contextlib import suppress
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.video.decoders.base import Reading
from timesformer_cli.video.safe_file import VideoFile

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


ONE_PICTURE_A_PACKET = ("h264", "hevc")


def open_container(file: VideoFile, *, ignore_edits: bool = False) -> "InputContainer":
    """Open with PyAV; the whitelist keeps FFmpeg from following URLs inside the file."""
    import av

    options = {"protocol_whitelist": "file"}
    if ignore_edits:
        options["ignore_editlist"] = "1"
    # By default PyAV raises on metadata that is not UTF-8.
    return av.open(file.source, metadata_errors="ignore", options=options)


def changes_size(file: VideoFile) -> bool:
    """Whether pictures become larger or smaller on the way, which only keyframes can do.

    Other decoders than PyAV squeeze them into the size of the first one and say nothing. False
    where PyAV is not installed or cannot tell.
    """
    try:
        import av
    except ImportError:
        return False
    sizes = set()
    with suppress(av.error.FFmpegError, IndexError), open_container(file) as container:
        stream = best_stream(container)
        stream.codec_context.skip_frame = "NONKEY"
        for frame in container.decode(stream):
            sizes.add((frame.width, frame.height, stream.codec_context.sample_aspect_ratio))
            if len(sizes) > 1:
                return True
    return False


def best_stream(container: "InputContainer") -> "VideoStream":
    """Return the video stream that FFmpeg prefers; raises VideoError for none or only a cover."""
    stream: Any = container.streams.best("video")
    if stream is None or stream.disposition & stream.disposition.attached_pic:
        what = "only a cover picture" if stream is not None else "no picture"
        raise VideoError(ErrorKind.NO_VIDEO_STREAM, f"has no video stream ({what})")
    return stream  # type: ignore[no-any-return]


def leave_other_streams(container: "InputContainer", stream: "VideoStream") -> None:
    """Have the container pass over sound and all else, and decode in one thread.

    The pool decodes several files at a time.
    """
    import av

    if stream.codec_context is not None:
        stream.codec_context.thread_count = 1
    for other in container.streams:
        if other is not stream:
            with suppress(AttributeError):  # PyAV had no such setting before; it is only slower
                other.discard = av.stream.Discard.all


def decode_frames(
    stream: "VideoStream", packets: Iterator["Packet[VideoStream]"], reading: Reading
) -> Iterator["VideoFrame"]:
    """Yield the frames of packets in the order in which they are shown; skip packets that fail.

    The reason of each failure is noted in the reading, and how many pictures were lost on the way
    or made up in part by the decoder.
    """
    import av

    lost = _Lost(stream, reading)
    while True:
        try:
            packet = next(packets, None)
        # FFmpegError: the container breaks off here. IndexError: PyAV met a stream that appeared
        # only while reading. What came before still counts, so the decoder is drained.
        except (av.error.FFmpegError, IndexError):
            packet = None
        try:
            if packet is not None:
                lost.feed(packet)
            for frame in packet.decode() if packet is not None else stream.decode(None):
                lost.take(frame)
                reading.mended += bool(frame.is_corrupt)
                yield frame
        except av.error.EOFError:  # already drained
            return
        except av.error.FFmpegError as error:
            reading.damaged.append(str(error.strerror))
        if packet is None:
            return


class _Lost:
    """Counts pictures that went into the decoder and did not come out, without an error.

    Only where every packet is a picture that is shown: VP8 hides some, MPEG-4 packs two into one.
    """

    def __init__(self, stream: "VideoStream", reading: Reading) -> None:
        self.reading = reading
        self.counts = stream.codec_context.name in ONE_PICTURE_A_PACKET
        self.waiting: list[int] = []  # a heap of the times of packets whose picture is to come
        self.began = False

    def feed(self, packet: "Packet[VideoStream]") -> None:
        """A packet goes in; those that an edit list discards are not shown."""
        if self.counts and packet.pts is not None and packet.size and not packet.is_discard:
            heappush(self.waiting, packet.pts)

    def take(self, frame: "VideoFrame") -> None:
        """A picture comes out: all that are shown earlier have come, or never will."""
        if not self.counts or frame.pts is None:
            return
        while self.waiting and self.waiting[0] < frame.pts:
            heappop(self.waiting)
            # Before the first picture they lean on what lies before the file's beginning.
            self.reading.lost += self.began
        if self.waiting and self.waiting[0] == frame.pts:
            heappop(self.waiting)
        self.began = True
