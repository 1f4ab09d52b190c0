"""Decoded frames kept on disk, across the epochs of a training and from one training to the next.

An entry holds all pictures of a video, or of a part of it, at the size that is asked for: any clip is
taken from them later, the same as if the video had been decoded for it. Clips that always lie in the
middle are kept by themselves. An entry is known by its file's path, size and time, by its part, by the
size of its pictures, and by the versions of what decodes; each picture has a checksum. What is not
as it was written is decoded again.

The folder has an upper bound. Where it is reached, what was not used for longest goes first, but
never what this run has used: else a set that is larger than the bound would push itself out, and
every epoch would write all of it and find none. What finds no room is decoded as without a cache.
"""

import hashlib
import json
import os
import platform
import struct
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

import numpy as np

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.errors import VideoError
from timesformer_cli.files import locked, replacing, require_folder
from timesformer_cli.video.decoders.base import ReaderDeclined
from timesformer_cli.video.decoders.pillow import pictures_of
from timesformer_cli.video.every_frame import holds_every, take_clip
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.messages import Decoded, DecodeRequest

FORMAT = 1  # of entries; another one where decoding gives other pictures than before
SUFFIX, LOCK = ".frames", ".lock"
HEAD = struct.Struct(">8sI32s")  # a mark, and the length and the SHA-256 of the header behind it
MARK = b"tsf-frm\n"
LARGEST_HEADER = 16 << 20
# Between two looks at all entries passes so many times as long as the last look took.
LOOK_COST = 20
DECODERS = ("timesformer-cli", "av", "decord", "decord2", "opencv-python", "pillow", "torchcodec")


class _Broken(Exception):
    """An entry that is not as it was written."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry, open for reading: what was decoded but its pixels, and these one by one."""

    file: IO[bytes]
    header: dict[str, Any]
    begin: int  # of the first picture in the file

    def picture(self, number: int) -> Pixels:
        """A picture by its number among those of all views; raises _Broken."""
        shape = tuple(self.header["shape"][2:])
        size = int(np.prod(shape))
        self.file.seek(self.begin + number * size)
        pixels = self.file.read(size)
        if len(pixels) != size or zlib.crc32(pixels) != self.header["sums"][number]:
            raise _Broken
        return np.frombuffer(pixels, np.uint8).reshape(shape)


class FrameCache:
    """A folder of decoded frames that takes at most `limit` bytes; several runs may share it.

    Of one that holds more, what was not used for longest is removed at once. `note` hears once of a
    full cache, and of a disk that takes no more. Raises UsageError where no such folder can be.
    """

    def __init__(self, folder: Path, limit: int, note: NoteCallback = ignore_note) -> None:
        require_folder(folder)
        self.folder, self.limit, self.note = folder, limit, note
        self._began = time.time()
        self._lock = threading.Lock()
        self._writing: set[str] = set()
        self._clips_only: set[str] = set()  # keys of what gives no more than a clip at a time
        self._full = self._closed = False
        self._size, self._looked, self._took = 0, 0.0, 0.0  # bytes at the last look, and its cost
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / LOCK):
                self._look(0)
        except OSError as error:
            self._close(error)

    def key(self, request: DecodeRequest) -> str | None:
        """What the entry of a request is known by; None where its file cannot be looked at."""
        try:
            known = _identity(request)
        except OSError:
            return None
        asked: dict[str, Any] = {
            "format": FORMAT,
            "decoders": _versions(),
            "decoder": request.decoder,
            "content": known,
            "part": (request.start, request.end, request.fps, request.part),
            "size": (
                request.preprocessing.resize,
                request.preprocessing.crop,
                request.preprocessing.filter,
                request.crops,
            ),
        }
        if not _takes_any(request):
            asked |= {"sampling": asdict(request.sampling), "clips": request.clips}
            asked["jitter"] = request.jitter and asdict(request.jitter)
        return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

    def find(self, request: DecodeRequest, key: str) -> Decoded | None:
        """What the request asks for, where it is kept; a broken entry is removed."""
        path = self._path(key)
        try:
            with path.open("rb") as file:
                found = _taken_of(request, _opened(file))
                os.utime(path)
            return found
        except FileNotFoundError:
            return None
        except (OSError, _Broken, ValueError, KeyError, TypeError):
            with suppress(OSError):
                path.unlink()
            return None

    def asking(self, request: DecodeRequest, key: str) -> DecodeRequest:
        """The request for an answer that can be kept, where that is to be had."""
        room = not self._full and not self._closed
        every = room and _takes_any(request) and key not in self._clips_only
        return replace(request, every=True) if every else request

    def keep(self, request: DecodeRequest, key: str, decoded: Decoded) -> Decoded:
        """Keep the answer to `asking(request, key)`; returns what the request asks for.

        A jittered clip alone, where not all pictures could be had, is not kept.
        """
        every = holds_every(decoded.views)
        if _takes_any(request) and not every:
            self._clips_only.add(key)
        if every or not _takes_any(request):
            with self._lock:
                mine = not self._closed and key not in self._writing
                if mine:
                    self._writing.add(key)
            if mine:
                try:
                    # A file that changed while it was decoded is not what the key says.
                    if self.key(request) == key:
                        self._write(key, decoded)
                except OSError as error:
                    self._close(error)
                finally:
                    self._writing.discard(key)
        if not every:
            return decoded
        frames = decoded.frames[0]
        return take_clip(request, decoded, len(frames), frames.__getitem__)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{SUFFIX}"

    def _write(self, key: str, decoded: Decoded) -> None:
        frames = decoded.frames.reshape(-1, *decoded.frames.shape[2:])
        sums = [zlib.crc32(np.ascontiguousarray(frame).data) for frame in frames]
        header = json.dumps({**decoded.to_header(), "sums": sums}).encode()
        if not self._make_room(HEAD.size + len(header) + frames.nbytes):
            return
        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        with replacing(path, lasting=False) as part, part.open("wb") as file:
            file.write(HEAD.pack(MARK, len(header), hashlib.sha256(header).digest()) + header)
            file.write(np.ascontiguousarray(frames).data)

    def _make_room(self, size: int) -> bool:
        """Whether so many bytes may be written; entries that were not used for longest go."""
        with self._lock:
            stale = time.monotonic() - self._looked >= LOOK_COST * self._took
            if stale or self._size + size > self.limit:
                with locked(self.folder / LOCK):
                    self._look(size)
            fits = self._size + size <= self.limit
            self._size += size if fits else 0
        if not fits and not self._full:
            self._full = True
            self.note(
                f"{self.folder}: is full; what finds no room in it is decoded in every epoch "
                "(--cache-size allows more)"
            )
        return fits

    def _look(self, wanted: int) -> None:
        """Add up all entries, and remove old ones until there is room for so many bytes."""
        began = time.monotonic()
        entries = sorted(_entries(self.folder))
        self._size = sum(size for _, size, _ in entries)
        for used, size, path in entries:
            if self._size + wanted <= self.limit or used >= self._began:
                break
            with suppress(OSError):
                os.unlink(path)
            self._size -= size
        self._looked = time.monotonic()
        self._took = self._looked - began

    def _close(self, error: OSError) -> None:
        """Keep nothing more: the disk is full, or may not be written to."""
        with self._lock:
            told, self._closed = self._closed, True
        if not told:
            self.note(
                f"{self.folder}: cannot be written ({error.strerror or error}); no more frames are "
                "kept"
            )


def _takes_any(request: DecodeRequest) -> bool:
    """Whether the clip lies elsewhere each time, and all pictures serve it."""
    return request.jitter is not None and request.crops == 0 and request.clips == 1


def _identity(request: DecodeRequest) -> list[Any]:
    """What the content of a file is known by without reading it; raises OSError."""
    path = os.path.abspath(request.path)
    files = [path] if request.fps is None else pictures_of(path)
    statuses = [os.stat(file) for file in files]
    marks = [(one.st_size, one.st_mtime_ns, one.st_ino) for one in statuses]
    return [path, [os.path.basename(file) for file in files], marks]


@cache
def _versions() -> dict[str, str]:
    found = {"machine": platform.machine()}
    for name in DECODERS:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _opened(file: IO[bytes]) -> _Entry:
    """An entry whose header is whole, and whose pictures are all there; raises _Broken."""
    head = file.read(HEAD.size)
    if len(head) != HEAD.size:
        raise _Broken
    mark, length, digest = HEAD.unpack(head)
    if mark != MARK or length > LARGEST_HEADER:
        raise _Broken
    text = file.read(length)
    if hashlib.sha256(text).digest() != digest:
        raise _Broken
    header = json.loads(text)
    begin = HEAD.size + length
    if os.fstat(file.fileno()).st_size != begin + int(np.prod(header["shape"])):
        raise _Broken
    return _Entry(file, header, begin)


def _taken_of(request: DecodeRequest, entry: _Entry) -> Decoded:
    views, count, *shape = entry.header["shape"]
    if not _takes_any(request):
        frames = np.stack([entry.picture(number) for number in range(views * count)])
        return Decoded.from_header(entry.header, frames)
    empty = Decoded.from_header({**entry.header, "shape": (0, 0, *shape)}, np.empty(0, np.uint8))
    try:
        return take_clip(request, empty, count, entry.picture)
    except (VideoError, ReaderDeclined):
        raise _Broken from None


def _entries(folder: Path) -> list[tuple[float, int, str]]:
    """When each was used, its size and its path; half-written ones of killed runs among them.

    Nothing else that lies in the folder is touched.
    """
    found = []
    with os.scandir(folder) as tops:
        below = [
            top.path for top in tops if len(top.name) == 2 and top.is_dir(follow_symlinks=False)
        ]
    for top in below:
        with suppress(OSError), os.scandir(top) as inside:
            for entry in inside:
                if SUFFIX in entry.name and entry.is_file(follow_symlinks=False):
                    with suppress(OSError):  # another run removed it
                        status = entry.stat(follow_symlinks=False)
                        found.append((status.st_mtime, status.st_size, entry.path))
    return found
