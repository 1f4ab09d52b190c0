"""Containers read with PyAV (FFmpeg): open safely, choose the stream, skip damaged packets."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from timesformer_cli.errors import VideoError
from timesformer_cli.video.safe_file import VideoFile

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


def open_container(file: VideoFile) -> "InputContainer":
    """Open with PyAV; the whitelist keeps FFmpeg from following URLs inside the file."""
    import av

    # By default PyAV raises on metadata that is not UTF-8.
    return av.open(file.source, metadata_errors="ignore", options={"protocol_whitelist": "file"})


def best_stream(container: "InputContainer") -> "VideoStream":
    """Return the video stream that FFmpeg prefers; raises VideoError for none or only a cover."""
    stream: Any = container.streams.best("video")
    if stream is None or stream.disposition & stream.disposition.attached_pic:
        what = "only a cover picture" if stream is not None else "no picture"
        raise VideoError("no_video_stream", f"has no video stream ({what})")
    return stream  # type: ignore[no-any-return]


def decode_frames(
    container: "InputContainer", stream: "VideoStream", damaged: list[str]
) -> Iterator["VideoFrame"]:
    """Yield frames in the order in which they are shown; skip packets that fail.

    The reason of each failure is added to `damaged`.
    """
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        # FFmpegError: the container breaks off here. IndexError: PyAV met a stream that appeared
        # only while reading. What came before still counts, so the decoder is drained.
        except (av.error.FFmpegError, IndexError):
            packet = None
        try:
            yield from packet.decode() if packet is not None else stream.decode(None)
        except av.error.EOFError:  # already drained
            return
        except av.error.FFmpegError as error:
            damaged.append(str(error.strerror))
        if packet is None:
            return
