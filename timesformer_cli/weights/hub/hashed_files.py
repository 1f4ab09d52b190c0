"""Files that were hashed and found right, remembered so that each is hashed once.

The memory is a small file in our own cache folder. It is only ever a reason not to hash again: where
it is missing, damaged, read-only, or lost an entry to another process, the file is hashed again.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from timesformer_cli.files import replacing
from timesformer_cli.weights.digest import SHA256, Digest

MEMORY = "hashed.json"
MOST = 1000  # files remembered; the one that was hashed longest ago goes first
LARGEST = 2**20  # bytes of a memory that is read
# A file may be written to twice under one time stamp; FAT's are two seconds apart.
SETTLED_NS = 2 * 10**9
SHA256_DIGITS = 64


class HashedFile(NamedTuple):
    """What a file was like when its bytes gave `digits`."""

    size: int
    mtime_ns: int  # 0 where the file was so new that its time stamp proves nothing
    inode: int
    digits: str

    def gave(self, digest: Digest) -> bool:
        """Whether what was found is what the digest asks for."""
        return digest.git == Digest.of_etag(self.digits).git and digest.matches(self.digits)


def default_cache() -> Path:
    """Our own cache, for what is not from the hub: TSF_CACHE, or the platform's place for it."""
    if given := os.environ.get("TSF_CACHE"):
        return Path(given)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base) / "timesformer_cli"


def was_hashed(file: Path, digest: Digest) -> bool:
    """Whether the file, as it is now, is known to have that digest."""
    entry, now = _read().get(_key(file)), file.stat()
    return (
        entry is not None
        and entry.gave(digest)
        and (entry.size, entry.mtime_ns, entry.inode) == (now.st_size, now.st_mtime_ns, now.st_ino)
    )


def digits_of(file: Path) -> str:
    """The SHA-256 of a file, which is read only where it is not known what it gave."""
    status, entry = file.stat(), _read().get(_key(file))
    now = (status.st_size, status.st_mtime_ns, status.st_ino)
    known = entry is not None and (entry.size, entry.mtime_ns, entry.inode) == now
    if known and entry is not None and len(entry.digits) == SHA256_DIGITS:
        return entry.digits
    digits = SHA256.of_file(file)
    remember_hashed({file: (status, digits)})
    return digits


def size_of_hashed(file: Path, digest: Digest) -> int | None:
    """The bytes that the file had when it had that digest, where that is remembered."""
    entry = _read().get(_key(file))
    return entry.size if entry is not None and entry.gave(digest) else None


def remember_hashed(files: Mapping[Path, tuple[os.stat_result, str]]) -> None:
    """Remember that files, which were like that before they were hashed, have these digests."""
    if not files:
        return
    known = _read()
    for file, (status, digits) in files.items():
        settled = time.time_ns() - status.st_mtime_ns > SETTLED_NS
        mtime_ns = status.st_mtime_ns if settled else 0
        known.pop(_key(file), None)
        known[_key(file)] = HashedFile(status.st_size, mtime_ns, status.st_ino, digits)
    newest = dict(list(known.items())[-MOST:])
    with suppress(OSError, RuntimeError):  # then they are hashed again
        path = _memory()
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text(json.dumps(newest), encoding="utf-8")


def _memory() -> Path:
    return default_cache().expanduser() / MEMORY


def _key(file: Path) -> str:
    return os.path.realpath(file)


def _read() -> dict[str, HashedFile]:
    """What is remembered; nothing where the memory is not as we write it."""
    try:
        path = _memory()
        if not path.is_file() or path.stat().st_size > LARGEST:
            return {}
        entries = json.loads(path.read_bytes())
        return {key: _entry(*values) for key, values in entries.items()}
    except (OSError, RuntimeError, ValueError, TypeError, AttributeError):
        return {}


def _entry(size: int, mtime_ns: int, inode: int, digits: str) -> HashedFile:
    """Raises TypeError for other types than these."""
    if (
        not all(type(number) is int for number in (size, mtime_ns, inode))
        or type(digits) is not str
    ):
        raise TypeError
    return HashedFile(size, mtime_ns, inode, digits)
