"""Members of tar files: found by their headers, and read where they lie; nothing is unpacked."""

import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import NamedTemporaryFile
from typing import IO, Any, NamedTuple

from timesformer_cli.errors import ErrorKind, VideoError

SHARD = ".tar"
BLOCK = tarfile.BLOCKSIZE  # bytes; a member's header is the block before its content
LARGEST = 4 << 30  # bytes of one video that are held in memory
PIECE = 8 << 20  # bytes read at a time
CUT_SHORT = "is cut short; members before that are read"
CUT_INSIDE = "lies where its tar file is cut short"
CHANGED = "its tar file is another one than when it was listed"


class TarPart(NamedTuple):
    """Where a member's content lies in its tar file."""

    offset: int
    size: int
    mark: int  # the checksum of its header, by which it is known again


class TarMember(NamedTuple):
    """One member of a tar file, or what is wrong with the file as a whole, without a name."""

    name: str
    part: TarPart = TarPart(-1, 0, 0)
    error: VideoError | None = None


def tar_members(
    file: IO[bytes] | Any, length: int, wanted: Callable[[str], bool]
) -> Iterator[TarMember]:
    """The members whose names are wanted, in their order; only headers are read.

    `file` is open for reading and has so many bytes. A member whose name leads out of the tar file,
    or that is no plain file, has its error. A tar file that cannot be read, or not to its end, has
    it in a last member without a name. Raises OSError.
    """
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined] # or all would stay in memory
                if wanted(member.name):
                    part = TarPart(member.offset_data, member.size, member.chksum)
                    yield TarMember(member.name, part, _refused(member))
            if tar.offset + BLOCK > length:  # cut between two members, or in a header
                raise tarfile.ReadError("end of data without a mark")
    except tarfile.TarError as error:
        cut = "end of data" in str(error) or "unexpected" in str(error)
        kind = ErrorKind.TRUNCATED_SHARD if cut else ErrorKind.BAD_SHARD
        why = CUT_SHORT if cut else f"is no plain tar file ({error}); members before that are read"
        yield TarMember("", error=VideoError(kind, why))


def _refused(member: tarfile.TarInfo) -> VideoError | None:
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return VideoError(ErrorKind.UNSAFE_NAME, "its name leads out of its tar file")
    if not member.isreg() or member.issparse():
        return VideoError(ErrorKind.NOT_A_FILE, "is no plain file in its tar file")
    if not member.size:
        return VideoError(ErrorKind.EMPTY_FILE, "is empty (0 bytes)")
    return None


def require_whole(part_end: int, length: int, size: int) -> None:
    """Raise VideoError for a member that is too large, or not whole in a file of that length."""
    if size > LARGEST:
        raise VideoError(ErrorKind.TOO_LARGE, f"has {size >> 20:,} MB; {LARGEST >> 20:,} are read")
    if part_end > length:
        raise VideoError(ErrorKind.TRUNCATED_SHARD, CUT_INSIDE)


def member_pieces(shard: str, descriptor: int, part: TarPart) -> Iterator[bytes]:
    """The content of a member of an open tar file; raises VideoError where it is not there.

    So it is where the file changed since its members were listed.
    """
    require_whole(part.offset + part.size, os.fstat(descriptor).st_size, part.size)
    os.lseek(descriptor, part.offset - BLOCK, os.SEEK_SET)
    try:
        header = tarfile.TarInfo.frombuf(os.read(descriptor, BLOCK), "utf-8", "surrogateescape")
    except tarfile.TarError:
        header = None
    if header is None or header.chksum != part.mark:
        raise VideoError(ErrorKind.BAD_SHARD, f"{CHANGED} ({shard})")
    left = part.size
    while left:
        piece = os.read(descriptor, min(PIECE, left))
        if not piece:
            raise VideoError(ErrorKind.TRUNCATED_SHARD, CUT_INSIDE)
        left -= len(piece)
        yield piece


@contextmanager
def file_in_memory() -> Iterator[tuple[Any, str]]:
    """A file that lies in memory where the system has such, and a path by which it can be opened."""
    if hasattr(os, "memfd_create"):
        with open(os.memfd_create("tsf-video"), "w+b") as file:
            # Our decoders are children of this process, and open its descriptor by this name.
            yield file, f"/proc/{os.getpid()}/fd/{file.fileno()}"
    else:
        with NamedTemporaryFile(prefix="tsf-video-") as file:
            yield file, file.name
