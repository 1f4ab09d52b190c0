"""Files wherever they are: file systems by URL, and a video's bytes where decoders can open them."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from timesformer_cli.errors import ErrorKind, UsageError, VideoError
from timesformer_cli.installing import how_to_install
from timesformer_cli.video.tar_members import PIECE, file_in_memory, require_whole

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

REMOTE = re.compile(r"(s3|gs|https?)://([^/]+)/?(.*)", re.DOTALL)
PAUSE = 1.0  # seconds before a video is fetched once more


def require_ray() -> None:
    """Raise UsageError where Ray Data is not installed."""
    try:
        import ray.data  # noqa: F401
    except ImportError as error:
        raise UsageError(f"--engine ray needs Ray Data: {how_to_install('ray')}") from error


def place_of(url: str) -> "tuple[FileSystem, str]":
    """The file system of a URL or of a local path, and the path there; raises OSError."""
    from pyarrow import fs

    remote = REMOTE.match(url)
    if remote is None:
        return fs.LocalFileSystem(), url
    scheme, bucket, key = remote.groups()
    if scheme.startswith("http"):  # its paths are URLs
        return _opened(scheme, ""), url
    return _opened(scheme, bucket), f"{bucket}/{key}"


@cache
def _opened(scheme: str, bucket: str) -> "FileSystem":
    """One client for all files of a bucket: to make one takes requests of its own."""
    from pyarrow import fs

    if bucket:
        return fs.FileSystem.from_uri(f"{scheme}://{bucket}")[0]
    import fsspec

    return fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem(scheme)))


def in_a_line(error: Exception) -> str:
    """What storage says of a failure, without the number of its request."""
    text = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r"\s*\(?(Request ID|request_id)[:=].*", "", text)[:300]


@contextmanager
def decodable(source: str, offset: int, size: int) -> Iterator[str]:
    """A path by which decoders open a video, until the block ends; raises VideoError.

    A local file is its own path. All else is read into a file that has no name and lies in memory:
    `size` bytes from `offset` of the source, or the whole of it where `offset` is negative.
    """
    if offset < 0 and REMOTE.match(source) is None:
        yield source
        return
    with file_in_memory() as (file, path):
        try:
            _fetch(source, offset, size, file)
        except FileNotFoundError as error:
            raise VideoError(ErrorKind.NOT_FOUND, "does not exist") from error
        except OSError as error:
            raise VideoError(
                ErrorKind.CANNOT_FETCH, f"cannot be fetched: {in_a_line(error)}"
            ) from error
        yield path


def _fetch(source: str, offset: int, size: int, target: Any) -> None:
    """Copy, once more where it fails: the client of S3 tries again itself, that of the web does not."""
    try:
        _copy(source, offset, size, target)
    except (FileNotFoundError, PermissionError):
        raise
    except OSError:
        time.sleep(PAUSE)
        _copy(source, offset, size, target)


def _copy(source: str, offset: int, size: int, target: Any) -> None:
    filesystem, path = place_of(source)
    target.seek(0)
    target.truncate()
    with filesystem.open_input_file(path) as stream:
        whole = stream.size()
        start, length = (0, whole) if offset < 0 else (offset, size)
        require_whole(start + length, whole, length)
        stream.seek(start)
        while length:
            piece = stream.read(min(PIECE, length))
            if not piece:
                raise OSError("the file ended before its length")
            target.write(piece)
            length -= len(piece)
    target.flush()
