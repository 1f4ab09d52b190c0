"""Videos as Python code has them, paths, bytes, open files and arrays, as `VideoPath`s."""

import os
import shutil
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from math import isfinite
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np

from timesformer_cli.errors import UsageError
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.find import VideoPath, find_videos


class BinaryFile(Protocol):
    """A file that was opened in binary mode."""

    def read(self, size: int = ..., /) -> bytes:
        """At most so many bytes of it; none at its end."""
        ...


class FrameArray(Protocol):
    """Frames, uint8 RGB `(t h w c)`: a NumPy array or a tensor."""

    @property
    def shape(self) -> Any:
        """Its four sizes."""
        ...


# The path of a file, a folder or a glob; the content of a file; frames.
OneVideo = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryFile | FrameArray
ANYTHING = "a path, bytes, a file opened in binary mode, or an array of frames (t h w c)"
Result = TypeVar("Result", bound=Any)


class _Taken(NamedTuple):
    """A video that is on its way, what results call it, and what ends with it."""

    name: str
    stack: ExitStack


class GivenVideos:
    """Iterates videos, and then names their results; leaving its context removes what it wrote.

    Content of files goes to files of its own, and with `on_disk` so do the frames of arrays. Each is
    removed once its result is named. Raises UsageError for what is no video, and for an `fps` that
    nothing needs.
    """

    def __init__(self, given: Any, fps: float | None, *, on_disk: bool = False) -> None:
        if fps is not None and not (isfinite(fps) and fps > 0):
            raise UsageError(f"fps is a number of frames a second; got {fps}")
        self._given, self._fps, self._on_disk = given, fps, on_disk
        self._under_way: deque[_Taken] = deque()

    def __enter__(self) -> "GivenVideos":
        return self

    def __exit__(self, *_: object) -> None:
        for taken in self._under_way:
            taken.stack.close()

    def __iter__(self) -> Iterator[VideoPath]:
        for one in [self._given] if is_one_video(self._given) else self._given:
            if isinstance(one, str | os.PathLike):
                yield from self._of_path(os.fspath(one))
                continue
            with ExitStack() as stack:
                name, video = self._opened(one, stack)
                self._under_way.append(_Taken(name, stack.pop_all()))
            yield video

    def only(self) -> VideoPath:
        """The one video; raises UsageError where there are several."""
        first, *others = self
        if others:
            raise UsageError(f"one video at a time: {self._given[0]} has {1 + len(others)}")
        return first

    def named(self, result: Result) -> Result:
        """The next result, in the order of the videos, with the name that its video goes by."""
        taken = self._under_way.popleft()
        taken.stack.close()
        return result if result.video == taken.name else replace(result, video=taken.name)

    def _of_path(self, path: str) -> Iterator[VideoPath]:
        found = find_videos([path], fps=self._fps)
        unread = all(video.error is not None for video in found)
        if self._fps is not None and not unread and not any(video.fps for video in found):
            raise UsageError(f"{path}: fps is for arrays and for folders of pictures; leave it out")
        for video in found:
            self._under_way.append(_Taken(video.path, ExitStack()))
            yield video

    def _opened(self, one: Any, stack: ExitStack) -> tuple[str, VideoPath]:
        content = isinstance(one, bytes | bytearray | memoryview)
        if not content and hasattr(one, "shape"):
            frames = frames_of(one)
            if self._fps is None:
                raise UsageError("an array has no rate of its own; give fps, its frames a second")
            if not self._on_disk:
                return "array", VideoPath("array", fps=self._fps, frames=frames)
            return "array", VideoPath(_save_pictures(frames, stack), fps=self._fps)
        if self._fps is not None:
            raise UsageError("fps is for arrays and for folders of pictures; leave it out")
        place = os.path.join(stack.enter_context(TemporaryDirectory(prefix="tsf-")), "video")
        with open(place, "wb") as file:
            if content:
                file.write(one)
                return "bytes", VideoPath(place)
            if not hasattr(one, "read"):
                raise UsageError(f"a video is {ANYTHING}; got {type(one).__name__}")
            try:
                shutil.copyfileobj(one, file, 1 << 20)
            except TypeError:
                raise UsageError("a file is opened in binary mode: open(path, 'rb')") from None
        name = getattr(one, "name", None)
        return name if isinstance(name, str) else "file", VideoPath(place)


def is_one_video(given: Any) -> bool:
    """Whether it is no list of videos."""
    one = isinstance(given, str | os.PathLike | bytes | bytearray | memoryview)
    return (
        one or hasattr(given, "read") or hasattr(given, "shape") or not isinstance(given, Iterable)
    )


def frames_of(given: Any) -> Pixels:
    """The frames of a NumPy array or a tensor; raises UsageError where they are none."""
    array = np.asarray(given.cpu() if hasattr(given, "cpu") else given)
    shape = tuple(array.shape)
    if len(shape) != 4 or shape[3] != 3 or 0 in shape or array.dtype != np.uint8:
        raise UsageError(
            f"an array of frames is uint8 RGB (t h w 3); got {array.dtype} {shape}, "
            "which .astype and .transpose may change"
        )
    return array


def _save_pictures(frames: Pixels, stack: ExitStack) -> str:
    """A folder with a picture for each frame, nothing of it lost."""
    from PIL import Image

    folder = stack.enter_context(TemporaryDirectory(prefix="tsf-"))
    for number, frame in enumerate(frames):
        Image.fromarray(np.ascontiguousarray(frame)).save(os.path.join(folder, f"{number}.bmp"))
    return folder
