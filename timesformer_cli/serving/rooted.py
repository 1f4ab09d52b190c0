"""Files below a folder, and nowhere else: no `..`, no link that leads out, no matter who moves what."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PureWindowsPath

from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.files import READ_FLAGS
from timesformer_cli.serving.refused import Refused
from timesformer_cli.video import VideoPath
from timesformer_cli.video.safe_file import missing_file


@contextmanager
def video_below(root: Path | None, name: str) -> Iterator[VideoPath]:
    """The video of that name, relative to the root, until the block ends; raises Refused.

    On Linux it is an open file, found without following links, so that it stays the one that was
    checked. Links inside the root may lead to other places inside it.
    """
    if root is None:
        raise Refused(403, ErrorKind.FORBIDDEN, "this server reads no paths: upload the video")
    if not _is_relative(name):
        raise Refused(
            403, ErrorKind.FORBIDDEN, f"{name!a}: is not a path below the server's root, without .."
        )
    top = os.path.realpath(root)
    place = os.path.realpath(os.path.join(top, name))
    if os.path.commonpath([top, place]) != top:
        raise Refused(403, ErrorKind.FORBIDDEN, f"{name!a}: leads out of the server's root")
    if sys.platform != "linux":
        yield VideoPath(place)
        return
    with ExitStack() as stack:
        try:
            here = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, here)
            *folders, last = os.path.relpath(place, top).split("/")
            for folder in folders:
                here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
                stack.callback(os.close, here)
            file = os.open(last, READ_FLAGS | os.O_NOFOLLOW, dir_fd=here)
            stack.callback(os.close, file)
        except PermissionError:
            error = VideoError(ErrorKind.PERMISSION_DENIED, "may not be read: permission denied")
            yield VideoPath(name, error)
        except OSError:
            yield VideoPath(name, missing_file(name))
        else:
            yield VideoPath(f"/proc/{os.getpid()}/fd/{file}")


def _is_relative(name: str) -> bool:
    """Whether this may name a file below a folder: no root, no drive, no way up, no NUL."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:  # half of a pair of code units, which JSON may have alone
        return False
    up = ".." in name.replace(os.sep, "/").split("/")
    return not (up or "\0" in name or name.startswith("/") or PureWindowsPath(name).anchor)
