"""Open a video file so that no decoder is led to other files or to the network.

All three decoders would block on a FIFO, fetch URLs, expand `%03d` in names and follow `concat:`
and some playlists.
"""

import errno
import os
import re
import stat
import sys
from contextlib import ExitStack
from functools import cached_property
from types import TracebackType

from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.files import NOT_REGULAR, READ_FLAGS
from timesformer_cli.video.tar_members import TarPart, file_in_memory, member_pieces

HEAD = 4096  # bytes looked at to tell a playlist or a text from a video
LARGEST_INDEX = 16 << 20  # bytes of an mp4's index that are looked through
SCRAMBLED_LOOK = 2000  # packets of a transport stream: some seconds of it
ENCRYPTED = (b"encv", b"drmi")  # what mp4 calls encrypted video (ISO 14496-12, 8.12.1)
# The box of Dolby Vision's configuration: 24 bytes behind its name (Dolby's ISOBMFF document).
DOLBY_VISION = re.compile(rb"\x00\x00\x00\x20dv[cv]C(.{24})", re.DOTALL)
# Text that sends a demuxer to other files or hosts: HLS, ffconcat, DASH, SDP, RTSP, shortcuts.
PLAYLIST = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*(?:#EXTM3U|ffconcat|v=0|rtsp://|https?://|\[playlist\]|\[Reference\])"
    rb"|<MPD|<CompositionPlaylist|<SmoothStreamingMedia|^c=IN IP",
    re.IGNORECASE | re.MULTILINE,
)
URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
# Binary containers have other control characters in their first bytes; YUV4MPEG2 starts as text.
TEXT = re.compile(rb"(?!YUV4MPEG2)[^\x00-\x08\x0b\x0e-\x1a\x1c-\x1f\x7f]*\Z")


class VideoFile:
    """An open, regular, non-empty file that is no playlist; raises VideoError for all others.

    `source` is what a decoder may open. On Linux it is the open descriptor, so that no decoder sees
    the name of the file: names such as `concat:a|b` and `%03d` mean more than one file to them, and
    OpenCV crashes on bytes that are not UTF-8. With `part` the file is that member of a tar file,
    copied to memory.
    """

    def __init__(self, path: str, part: TarPart | None = None) -> None:
        self.path = path
        self._stack = ExitStack()
        self._fd = _open(path)
        try:
            if part is not None:
                path = self._take_member(part)
            status = os.fstat(self._fd)
            if stat.S_ISDIR(status.st_mode):
                raise VideoError(ErrorKind.NOT_A_FILE, "is a directory, not a video file")
            if not stat.S_ISREG(status.st_mode):
                raise VideoError(ErrorKind.NOT_A_FILE, NOT_REGULAR)
            if not status.st_size:
                raise VideoError(ErrorKind.EMPTY_FILE, "is empty (0 bytes)")
            self.size = status.st_size
            self.head = os.read(self._fd, HEAD)
            if PLAYLIST.search(self.head):
                raise VideoError(
                    ErrorKind.PLAYLIST, "is a playlist, not a video: name its files instead"
                )
            if TEXT.match(self.head):  # nor may a playlist hide behind a long comment
                raise VideoError(ErrorKind.CANNOT_DECODE, "is a text file, not a video")
        except BaseException:
            self.close()
            raise
        linux = sys.platform == "linux"
        self.source = f"/proc/self/fd/{self._fd}" if linux else os.path.abspath(path)

    def _take_member(self, part: TarPart) -> str:
        """Open a member in the place of its tar file; returns its path."""
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise VideoError(ErrorKind.NOT_A_FILE, NOT_REGULAR)
        file, path = self._stack.enter_context(file_in_memory())
        for piece in member_pieces(self.path, self._fd, part):
            file.write(piece)
        file.flush()
        os.close(self._fd)
        self._fd = os.dup(file.fileno())
        os.lseek(self._fd, 0, os.SEEK_SET)
        return path

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._stack.close()

    @property
    def mpeg_stream(self) -> bool:
        """Whether this is an MPEG program or transport stream, or a bare MPEG-1/2 sequence.

        A transport stream has the byte 0x47 every 188 bytes, or every 192 after four (M2TS).
        """
        if self.head.startswith((b"\0\0\1\xba", b"\0\0\1\xb3")):
            return True
        return any(
            set(self.head[offset : offset + 8 * step : step]) == {0x47}
            for offset, step in ((0, 188), (4, 192))
        )

    def cut_off(self) -> bool:
        """Whether this is an mp4 or mov file that lost its end or its index (the `moov` box)."""
        if self.head[4:8] != b"ftyp":
            return False
        found = self._index_box()
        return found is None or sum(found) > self.size

    def grows(self) -> bool:
        """Whether this is an mp4 or mov file whose index goes on in fragments, or cannot tell."""
        return b"mvex" in self._index or len(self._index) >= LARGEST_INDEX

    def dolby_vision_profile(self) -> int | None:
        """The profile that an mp4 or mov file says its Dolby Vision is of; None for no such thing."""
        record = DOLBY_VISION.search(self._index)
        return record[1][2] >> 1 if record else None

    def encrypted(self) -> bool:
        """Whether an mp4 or mov file says that its video is encrypted, or a stream is scrambled."""
        return any(kind in self._index for kind in ENCRYPTED) or self._scrambled()

    def _scrambled(self) -> bool:
        """Whether most packets of a transport stream are marked as encrypted (ISO 13818-1, 2.4.3)."""
        if set(self.head[: 8 * 188 : 188]) != {0x47}:
            return False
        marks = self.read_at(0, SCRAMBLED_LOOK * 188)[3::188]
        return sum(bool(mark & 0xC0) for mark in marks) > len(marks) / 2

    def read_at(self, position: int, length: int) -> bytes:
        """Bytes of the file; fewer at its end."""
        os.lseek(self._fd, position, os.SEEK_SET)
        parts = []
        while length > 0 and (part := os.read(self._fd, length)):
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    @cached_property
    def _index(self) -> bytes:
        """The `moov` box of an mp4 or mov file, up to a limit; empty where there is none."""
        found = self._index_box()
        return b"" if found is None else self.read_at(found[0], min(found[1], LARGEST_INDEX))

    def _index_box(self) -> tuple[int, int] | None:
        """Where the `moov` box of an mp4 or mov file begins and how long it is."""
        if self.head[4:8] != b"ftyp":
            return None
        position = 0
        while position + 8 <= self.size:
            header = self.read_at(position, 16)
            length, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if length == 1:  # the real length follows as 64 bits
                length = int.from_bytes(header[8:16], "big")
            if kind == b"moov":
                return position, length
            if length < 8:  # shorter than its own header: broken, or 0 for "up to the end"
                return None
            position += length
        return None

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _open(path: str) -> int:
    try:
        return os.open(path, READ_FLAGS)
    except PermissionError:
        raise VideoError(
            ErrorKind.PERMISSION_DENIED, "may not be read: permission denied"
        ) from None
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise missing_file(path) from None
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV, errno.EISDIR):
            raise VideoError(ErrorKind.NOT_A_FILE, "is not a regular file") from None
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL):
            raise missing_file(path) from None
        raise VideoError(ErrorKind.CANNOT_OPEN, f"cannot be opened: {error.strerror}") from None


def missing_file(path: str) -> VideoError:
    """The error of a path that does not exist, in the words that help most."""
    if URL.match(path):
        return VideoError(
            ErrorKind.NOT_FOUND, "is a URL: download the video, or watch it live with tsf watch"
        )
    if os.path.lexists(path.replace("\0", "")):
        return VideoError(ErrorKind.NOT_FOUND, "is a link to a file that does not exist")
    if "\\" in path and os.sep != "\\":
        return VideoError(
            ErrorKind.NOT_FOUND, "does not exist; here `/` parts folders, and `\\` does not"
        )
    return VideoError(ErrorKind.NOT_FOUND, "does not exist")
