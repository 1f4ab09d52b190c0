"""Bytes of a pipe or of a growing file, for a demuxer that reads forwards only."""

import os
import stat
import time
from collections.abc import Callable

from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.files import NOT_REGULAR, READ_FLAGS

LOOK = 0.1  # seconds between two looks at a file that has not grown


class PipeBytes:
    """What an open pipe gives, as it comes; `rests` is told when it waits and when it goes on."""

    def __init__(self, descriptor: int, rests: Callable[[bool], None]) -> None:
        self._descriptor, self._rests = descriptor, rests

    def read(self, length: int) -> bytes:
        """Up to so many bytes; none at the end."""
        self._rests(True)
        try:
            return os.read(self._descriptor, length)
        finally:
            self._rests(False)


class GrowingBytes:
    """A file that is still being written: it ends once it has not grown for `idle` seconds."""

    def __init__(self, path: str, idle: float, rests: Callable[[bool], None]) -> None:
        self._idle, self._rests, self._read = idle, rests, 0
        self._descriptor = os.open(path, READ_FLAGS)
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            raise VideoError(ErrorKind.NOT_A_FILE, NOT_REGULAR)

    def read(self, length: int) -> bytes:
        """Up to so many bytes, waiting for them; none at the end."""
        self._rests(True)
        try:
            until = time.monotonic() + self._idle
            while not (data := os.read(self._descriptor, length)):
                if os.fstat(self._descriptor).st_size < self._read:
                    raise VideoError(ErrorKind.CUT_SHORT, "was made shorter while it was read")
                if time.monotonic() >= until:
                    return b""
                time.sleep(LOOK)
            self._read += len(data)
            return data
        finally:
            self._rests(False)
