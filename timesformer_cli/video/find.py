"""The videos that a user means by files, folders, globs or a list on stdin."""

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import NamedTuple

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.video.decoders.pillow import pictures_of
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.listed import SUFFIXES, ListedNames, read_list
from timesformer_cli.video.safe_file import URL, missing_file

# `**` as a whole name in a glob: the folders below, however deep.
_SEPARATORS = f"[/{re.escape(os.sep)}]"
ANY_DEPTH = re.compile(rf"(?:\A|(?<={_SEPARATORS}))\*\*(?:{_SEPARATORS}+|\Z)")


class VideoPath(NamedTuple):
    """One video that a user asked for, with the error that makes it unusable, if any."""

    path: str
    error: VideoError | None = None
    fps: float | None = None  # the path is a folder of pictures, so many of them a second
    start: float = 0.0  # seconds; with `end` the part of the video that is meant
    end: float | None = None  # None means the end of the video
    # Of a video in a tar file: that file, then the values of its `TarPart`; the path is its name.
    member: tuple[str, int, int, int] | None = None
    frames: Pixels | None = None  # RGB `(t h w c)`, `fps` a second, in the place of the path's


class Pause(VideoError):
    """No video: no other is there yet, and nobody waits for it with the results before it."""

    def __init__(self) -> None:
        super().__init__(ErrorKind.NOT_FOUND, "is not there yet")


PAUSE = VideoPath("", Pause())


def find_videos(
    arguments: Iterable[str],
    stdin: Iterable[str | bytes] = (),
    fps: float | None = None,
    note: NoteCallback = ignore_note,
) -> list[VideoPath]:
    """Expand files, directories, globs and `-` (a list of paths on `stdin`), in order, each once.

    A directory gives all files below it that have a video suffix, sorted; hidden names are left
    out, linked directories are followed, each once. With `fps` each directory that holds pictures
    is a video, too, so many of its pictures a second. What exists of a path is never read as a
    glob, whatever its characters, and nothing in a list is. Raises UsageError where stdin holds no
    list of paths. A path that cannot be used is returned with its error.
    """
    return list(each_video(arguments, lambda: read_list(stdin), fps, note))


def each_video(
    arguments: Iterable[str],
    listed: Callable[[], Iterable[str]],
    fps: float | None = None,
    note: NoteCallback = ignore_note,
) -> Iterator[VideoPath]:
    """The videos of `find_videos`, as they are found; `listed` gives the names that `-` means."""
    seen: set[str] = set()
    real = cache(os.path.realpath)  # of folders: a link to a video is a video of its own
    for argument in dict.fromkeys(arguments):  # stdin is there to be read once
        found = _listed(listed(), fps, note) if argument == "-" else _expand(argument, fps)
        for video in found:
            folder, name = os.path.split(os.path.abspath(video.path))
            place = os.path.join(real(folder), name)
            if place not in seen:
                seen.add(place)
                yield video


def is_dangling_folder(path: str) -> bool:
    """Whether this may have been a linked folder, or a video: a link to nothing, without a suffix."""
    return os.path.islink(path) and not os.path.exists(path) and not os.path.splitext(path)[1]


def _listed(listed: Iterable[str], fps: float | None, note: NoteCallback) -> Iterator[VideoPath]:
    names = ListedNames()
    for name in listed:
        try:
            path = names.find(name)
        except VideoError as error:
            yield VideoPath(name, error)
        else:
            yield from _walk(path, fps)
    if remark := names.note("stdin"):
        note(remark)


def _expand(argument: str, fps: float | None) -> Iterator[VideoPath]:
    # A NUL makes lexists raise ValueError; without it the path is judged when it is opened.
    if os.path.lexists(argument.replace("\0", "")) or not glob.has_magic(argument):
        yield from _walk(argument, fps)
    elif matches := sorted(set(_matches(_pattern(argument)))):
        for match in matches:
            yield from _walk(match, fps)
    elif URL.match(argument):
        yield VideoPath(argument, missing_file(argument))
    else:
        yield VideoPath(argument, VideoError(ErrorKind.NOT_FOUND, "matches no file"))


def _pattern(argument: str) -> str:
    """The glob, its leading folders that exist taken as they are: `[2020]/*` -> `[[]2020]/*`."""
    folder = argument
    while folder and not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return glob.escape(folder) + argument[len(folder) :]


def _matches(pattern: str) -> Iterator[str]:
    """What matches a glob. The folders of a `**` are walked here: glob's would follow a loop."""
    deep = ANY_DEPTH.search(pattern)
    if deep is None:
        yield from glob.glob(pattern)
        return
    tops = glob.glob(pattern[: deep.start()]) if deep.start() else [""]
    for top in tops:
        for folder, names in _folders_below(top or ".", []):
            inside = os.path.join(top, os.path.relpath(folder, top or "."), "")
            inside = inside.removesuffix(f".{os.sep}")
            if rest := pattern[deep.end() :]:
                yield from _matches(glob.escape(inside) + rest)
            else:
                yield from (inside + name for name in names)


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
    for folder, names in _folders_below(path, blocked):
        for name in names:
            inside = os.path.join(folder, name)
            if is_dangling_folder(inside):
                videos.append(VideoPath(inside, missing_file(inside)))
            elif _looks_like_video(inside):
                videos.append(VideoPath(inside))
        if fps is not None and pictures_of(folder):
            videos.append(VideoPath(folder, fps=fps))
    yield from sorted(videos, key=lambda video: video.path)
    for error in blocked:
        message = f"is a directory that cannot be listed: {error.strerror}"
        yield VideoPath(os.fspath(error.filename), VideoError(ErrorKind.PERMISSION_DENIED, message))
    if not videos and not blocked:
        yield VideoPath(path, VideoError(ErrorKind.NO_VIDEOS, "is a directory without videos"))


def _folders_below(top: str, blocked: list[OSError]) -> Iterator[tuple[str, list[str]]]:
    """Each folder from `top` down, once, with the files in it that are not hidden.

    Links to folders come last, so that a folder has its own name where it has one. One that leads
    to a folder which it lies in is a loop, and left out.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [top]
    for start in waiting:
        for folder, folders, names in os.walk(start, onerror=blocked.append):
            try:
                status = os.stat(folder)
            except OSError as error:
                blocked.append(error)
                folders.clear()
                continue
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in folders:
                inside = os.path.join(folder, name)
                if os.path.islink(inside) and not _holds(os.path.realpath(inside), folder):
                    waiting.append(inside)
            yield folder, [name for name in names if not name.startswith(".")]


def _holds(outer: str, inner: str) -> bool:
    inner = os.path.realpath(inner)
    return inner == outer or inner.startswith(os.path.join(outer, ""))


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
