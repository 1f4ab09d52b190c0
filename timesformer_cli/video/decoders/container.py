"""FFmpeg containers through PyAV: opened safely, the right stream chosen, damage tolerated."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from timesformer_cli.errors import VideoError
from timesformer_cli.video.safe_file import VideoFile

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


def open_container(file: VideoFile) -> "InputContainer":
    """Open with PyAV, allowed to read this one local file and nothing else."""
    import av

    return av.open(file.source, metadata_errors="ignore", options={"protocol_whitelist": "file"})


def best_stream(container: "InputContainer") -> "VideoStream":
    """FFmpeg's choice among the video streams; a cover picture is not a video."""
    stream: Any = container.streams.best("video")
    if stream is None or stream.disposition & stream.disposition.attached_pic:
        what = "only a cover picture" if stream is not None else "no picture"
        raise VideoError("no_video_stream", f"has no video stream ({what})")
    return stream  # type: ignore[no-any-return]


def decode_frames(
    container: "InputContainer", stream: "VideoStream", damaged: list[str]
) -> Iterator["VideoFrame"]:
    """Frames in the order of showing; packets that fail are left out, and noted in `damaged`."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        # The container breaks off here, or (IndexError, in PyAV) grew a stream while it was read:
        # what came before still counts.
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
