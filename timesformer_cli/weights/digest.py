"""What bytes must hash to, to be the ones that were published."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hashlib import _Hash

GIT_DIGITS = 40
BLOCK = 2**20


@dataclass(frozen=True, slots=True)
class Digest:
    """Hexadecimal digits of a SHA-256, all or the first, or of a file's SHA-1 as git takes it."""

    digits: str
    git: bool = False

    @classmethod
    def of_etag(cls, etag: str) -> "Digest":
        """The hub names a large file by its SHA-256 and a small one as git does."""
        return cls(etag, git=len(etag) == GIT_DIGITS)

    def start(self, size: int) -> "_Hash":
        if self.git:
            return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        return hashlib.sha256()

    def matches(self, found: str) -> bool:
        return found.startswith(self.digits.lower())

    def of_file(self, path: Path) -> str:
        """What the file hashes to."""
        taken = self.start(path.stat().st_size)
        update(taken, path)
        return taken.hexdigest()


SHA256 = Digest("")  # of unknown digits: everything matches


def update(taken: "_Hash", path: Path, each: Callable[[], None] = lambda: None) -> None:
    """Add a file's bytes to a hash, calling `each` once a block."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            taken.update(block)
            each()
