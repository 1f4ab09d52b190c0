"""What the user names, as a table with a row for each video: where it is, or why it is not."""

import fnmatch
import glob
import io
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from timesformer_cli.callbacks import NoteCallback
from timesformer_cli.errors import ErrorKind, UsageError, VideoError
from timesformer_cli.scale.storage import REMOTE, in_a_line, place_of
from timesformer_cli.video import find_videos
from timesformer_cli.video.listed import SUFFIXES, has_video_suffix, read_list
from timesformer_cli.video.tar_members import SHARD, tar_members

if TYPE_CHECKING:
    import pyarrow

STDIN = "-"
PARQUET = re.compile(r"(.+\.parquet)(?:#(.+))?", re.IGNORECASE)
COLUMN = "video"  # of a list in Parquet, where none is named


class Input(NamedTuple):
    """One video, or a shard of them before it is opened."""

    video: str  # its name in the answer: a path, a URL, or a shard's with that of a member
    source: str  # the file that it is in
    offset: int = -1  # of its bytes in there; negative: the source is the video
    size: int = 0
    kind: str = ""  # of the error that makes it unusable
    message: str = ""


def name_inputs(
    names: Sequence[str], stdin: Iterable[bytes], note: NoteCallback
) -> Iterator[Input]:
    """The videos and shards that the command line means, in order; raises UsageError.

    Local names are what they are to every command. A URL is a file, a glob, or a prefix with
    videos and shards below it; `LIST.parquet#COLUMN` is a column of names.
    """
    for name in names:
        listed = PARQUET.fullmatch(name)
        if name == STDIN:
            lines = read_list(stdin)
            yield from map(_one, filter(REMOTE.match, lines))
            local = [line for line in lines if not REMOTE.match(line)]
            yield from _local([STDIN], [line.encode() + b"\n" for line in local], note)
        elif listed:
            yield from map(_one, _column(listed[1], listed[2] or COLUMN))
        elif REMOTE.match(name):
            yield from _remote(name)
        else:
            yield from _local([name], (), note)


def to_table(inputs: Iterable[Input]) -> "pyarrow.Table":
    """The inputs as rows, each video once; of members of one name the last one, as tar has it."""
    import pyarrow

    text, number = pyarrow.string(), pyarrow.int64()
    types = zip(Input._fields, (text, text, number, number, text, text), strict=True)
    last = {found.video: found for found in inputs}.values()
    columns: list[Any] = list(zip(*(map(_utf8, found) for found in last), strict=True))
    return pyarrow.table(columns or [[]] * len(Input._fields), pyarrow.schema(list(types)))


def _utf8(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def is_shard(found: Input) -> bool:
    """Whether it is a tar file of videos."""
    return not found.kind and found.offset < 0 and found.source.lower().endswith(SHARD)


def members(shard: str) -> list[Input]:
    """The videos in a tar file; only its headers are read, and nothing is unpacked.

    A member whose name leads out of the shard, or that is no plain file, is refused with its row.
    A shard that cannot be read, or not to its end, has a row of its own.
    """
    found: list[Input] = []
    try:
        filesystem, path = place_of(shard)
        with filesystem.open_input_file(path) as raw:
            for name, part, error in tar_members(_TarReader(raw), raw.size(), has_video_suffix):
                video = f"{shard}/{name}" if name else shard
                if error is None:
                    found.append(Input(video, shard, part.offset, part.size))
                else:
                    found.append(Input(video, shard, kind=error.kind, message=str(error)))
    except OSError as error:
        found = [Input(shard, shard, kind=ErrorKind.CANNOT_FETCH, message=in_a_line(error))]
    return found


class _TarReader(io.BufferedReader):
    """A file in storage as `tarfile` reads it: single bytes, and past the end of one that is cut.

    The client of S3 does not try again where a server's "busy" is longer than what was asked for,
    and refuses to seek past the end.
    """

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place, or to the end where it lies behind that."""
        raw: Any = self.raw
        return super().seek(min(offset, raw.size()), whence)


def _one(name: str) -> Input:
    """Workers may have another current folder than the user has."""
    return Input(name, name if REMOTE.match(name) else os.path.abspath(name))


def _local(names: Sequence[str], stdin: Iterable[bytes], note: NoteCallback) -> Iterator[Input]:
    if names == [STDIN] and not stdin:
        return
    for found in find_videos(names, stdin, None, note):
        error = found.error
        try:
            found.path.encode()
        except UnicodeEncodeError:
            error = VideoError(ErrorKind.BAD_NAME, "its name is not UTF-8; rename it")
        kind, message = ("", "") if error is None else (error.kind, str(error))
        yield _one(found.path)._replace(kind=kind, message=message)


def _remote(url: str) -> Iterator[Input]:
    from pyarrow.fs import FileSelector, FileType

    base = url
    while glob.has_magic(base):
        base = posixpath.dirname(base)
    suffix = posixpath.splitext(url)[1].lower()
    if base == url and (suffix in SUFFIXES or suffix == SHARD):
        yield _one(url)
        return
    try:
        filesystem, path = place_of(base)
        selector = FileSelector(path.rstrip("/"), recursive=True)
        there = filesystem.get_file_info(selector)
    except (OSError, ValueError, ImportError) as error:
        raise UsageError(f"{url}: cannot be listed ({in_a_line(error)})") from error
    whole = base[: len(base) - len(path)] if path else base  # what the scheme is written with
    files = sorted(whole + entry.path for entry in there if entry.type == FileType.File)
    if base != url:
        files = [file for file in files if fnmatch.fnmatchcase(file, url)]
    kinds = SUFFIXES | {SHARD}
    files = [file for file in files if posixpath.splitext(file)[1].lower() in kinds]
    if not files:
        yield Input(url, url, kind=ErrorKind.NOT_FOUND, message="matches no video and no shard")
    yield from map(_one, files)


def _column(path: str, column: str) -> Iterator[str]:
    """The names in a column of a Parquet file; raises UsageError."""
    from pyarrow import ArrowException, parquet

    try:
        filesystem, place = place_of(path)
        file = parquet.ParquetFile(filesystem.open_input_file(place))
    except (OSError, ArrowException) as error:
        raise UsageError(f"{path}: cannot be read ({in_a_line(error)})") from error
    if column not in file.schema_arrow.names:
        there = ", ".join(file.schema_arrow.names)
        raise UsageError(f"{path}: has no column '{column}'; {path}#COLUMN names one of {there}")
    for batch in file.iter_batches(columns=[column]):
        for name in batch.column(0).to_pylist():
            if name:
                yield str(name)
