"""The videos that a user means by files, folders, globs or a list on stdin."""

import glob
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from timesformer_cli.errors import VideoError
from timesformer_cli.video.decoders.pillow import folders_of_pictures
from timesformer_cli.video.safe_file import URL, missing_file

SUFFIXES = frozenset(
    ".3g2 .3gp .apng .asf .avi .divx .dv .f4v .flv .gif .m1v .m2ts .m2v .m4v .mkv .mov .mp4 .mpe .mpeg"
    " .mpg .mpv .mts .mxf .ogv .rm .rmvb .ts .vob .webm .wmv .y4m".split()
)


class VideoPath(NamedTuple):
    """One video that a user asked for, with the error that makes it unusable, if any."""

    path: str
    error: VideoError | None = None
    fps: float | None = None  # the path is a folder of pictures, so many of them a second


def find_videos(
    arguments: Iterable[str], stdin: Iterable[str] = (), fps: float | None = None
) -> list[VideoPath]:
    """Expand files, directories, globs and `-` (a list of paths on `stdin`), in order, each once.

    A directory gives all files below it that have a video suffix, sorted; hidden names and linked
    directories are left out. With `fps` each directory that holds pictures is a video, too, so
    many of its pictures a second. A path that exists is never read as a glob, whatever its characters.
    Raises nothing: a path that cannot be used is returned with its error.
    """
    videos: dict[str, VideoPath] = {}
    for argument in arguments:
        for video in _expand(argument, stdin, fps):
            videos.setdefault(os.path.abspath(video.path), video)
    return list(videos.values())


def _expand(argument: str, stdin: Iterable[str], fps: float | None) -> Iterator[VideoPath]:
    if argument == "-":
        for line in stdin:
            if path := line.rstrip("\r\n"):
                yield from _walk(path, fps)
    # A NUL makes lexists raise ValueError; without it the path is judged when it is opened.
    elif os.path.lexists(argument.replace("\0", "")) or not glob.has_magic(argument):
        yield from _walk(argument, fps)
    elif matches := sorted(glob.glob(argument, recursive=True)):
        for match in matches:
            yield from _walk(match, fps)
    elif URL.match(argument):
        yield VideoPath(argument, missing_file(argument))
    else:
        yield VideoPath(argument, VideoError("not_found", "matches no file"))


def _walk(path: str, fps: float | None) -> Iterator[VideoPath]:
    """Yield the videos below a directory; any other path is yielded as it is.

    Whether it is a video is decided when it is opened.
    """
    if not os.path.isdir(path):
        missing = None if os.path.lexists(path.replace("\0", "")) else missing_file(path)
        yield VideoPath(path, missing)
        return
    blocked: list[OSError] = []
    videos: list[VideoPath] = []
    for folder, folders, names in os.walk(path, onerror=blocked.append):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and _looks_like_video(os.path.join(folder, name)):
                videos.append(VideoPath(os.path.join(folder, name)))
    if fps is not None:
        videos += (VideoPath(folder, fps=fps) for folder in folders_of_pictures(path))
    yield from sorted(videos, key=lambda video: video.path)
    for error in blocked:
        message = f"is a directory that cannot be listed: {error.strerror}"
        yield VideoPath(os.fspath(error.filename), VideoError("permission_denied", message))
    if not videos and not blocked:
        yield VideoPath(path, VideoError("no_videos", "is a directory without videos"))


def _looks_like_video(path: str) -> bool:
    """By its suffix; of pictures in WebP, those that move."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix != ".webp":
        return suffix in SUFFIXES
    try:
        with open(path, "rb") as file:
            head = file.read(21)
    except OSError:
        return False
    # The flags of the extended header; bit 1 is "animation" (WebP container, section 2.7.1).
    return head[12:16] == b"VP8X" and bool(head[20] & 2)
