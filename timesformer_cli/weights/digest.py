"""Hashes that prove that a file is the one that was published."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

GIT_DIGITS = 40  # of a SHA-1; a SHA-256 has 64
BLOCK = 2**20  # bytes read at a time


@dataclass(frozen=True, slots=True)
class Digest:
    """An expected hash."""

    digits: str  # hexadecimal; the first digits are enough, and none match everything
    git: bool = False  # git's SHA-1 of a file instead of a SHA-256

    @classmethod
    def of_etag(cls, etag: str) -> "Digest":
        """The digest in the hub's ETag: SHA-256 for a large file, git's SHA-1 for a small one."""
        return cls(etag, git=len(etag) == GIT_DIGITS)

    def start(self, size: int) -> "_Hash":
        """Begin a hash of `size` bytes; git puts the size in front of the content."""
        if self.git:
            return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        return hashlib.sha256()

    def matches(self, computed: str) -> bool:
        """Whether a computed hash begins with the expected digits."""
        return computed.startswith(self.digits.lower())

    def of_file(self, path: Path) -> str:
        """Hash a file; returns hexadecimal digits."""
        hasher = self.start(path.stat().st_size)
        update(hasher, path)
        return hasher.hexdigest()


SHA256 = Digest("")  # nothing is expected, so everything matches


def update(hasher: "_Hash", path: Path, each: Callable[[], None] = lambda: None) -> None:
    """Add the bytes of a file to a hash; `each` is called once per block."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            hasher.update(block)
            each()
