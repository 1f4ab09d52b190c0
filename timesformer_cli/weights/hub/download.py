"""Download one file: resume it, hash it while it is written, rename it once the hash is right."""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from timesformer_cli.errors import WeightsError
from timesformer_cli.files import put_in_place
from timesformer_cli.weights.digest import BLOCK, SHA256, Digest, update
from timesformer_cli.weights.hub.hashed_files import remember_hashed
from timesformer_cli.weights.hub.https import open_url
from timesformer_cli.weights.hub.stall import TransferState

LARGEST = 8 * 2**30  # bytes; a server may not fill the disk
PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds between tries, so there are at most five
BUSY = (408, 429, 500, 502, 503, 504)  # answers that may be better in a moment
# After a try that brought this many bytes, the count of tries begins again: a bad line that still
# makes progress is not given up.
WORTHWHILE = 4 * 2**20
RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A file on a server, and all that is known about it."""

    name: str  # for messages
    url: str
    instead: str = "is there a network?"  # for the message that the server cannot be reached
    digest: Digest = SHA256
    size: int | None = None  # bytes; None where nobody has said it
    largest: int = LARGEST  # bytes that are accepted where `size` is None
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def host(self) -> str:
        """The server's name, for messages."""
        return urlsplit(self.url).hostname or "it"  # not netloc, which may hold a password


class _Again(Exception):
    """This try failed in a way that another may not; the message says how."""


def download_file(
    source: Source,
    target: Path,
    *,
    part: Path,
    lock: Path,
    watch: TransferState,
    record: bool = False,
    is_whole: Callable[[Path], bool] = Path.exists,
) -> None:
    """Download the file to `target`, unless another process that holds `lock` does it first.

    Until it is complete and checked it is at `part`, which a later run continues. With `record`,
    its SHA-256 is written beside it. A file that is there and not whole is replaced. Raises
    WeightsError.
    """
    with on_disk(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        lock.parent.mkdir(parents=True, exist_ok=True)
        with _locked(lock, lambda: watch.report(source.name, size_of(part), source.size)):
            if is_whole(target):
                watch.report(source.name, size_of(target), size_of(target))
                return
            digits = _persist(source, part, watch)
            if record:
                beside = target.with_name(f"{target.name}.sha256")
                beside.write_text(f"{digits}  {target.name}\n", encoding="utf-8")
            put_in_place(part, target)
            remember_hashed({target: (target.stat(), digits)})


def size_of(part: Path) -> int:
    """The bytes of a file; 0 where there is none."""
    return part.stat().st_size if part.exists() else 0


def require_room(folder: Path, size: int, name: str) -> None:
    """Raise WeightsError unless `size` bytes fit on the disk of `folder`, which need not exist."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if size > free:
        raise WeightsError(
            f"'{name}' takes {size / 1e6:,.1f} MB more and {folder} has {free / 1e6:,.1f} MB free; "
            "make room, or choose another place with --cache-dir"
        )


@contextmanager
def on_disk(path: Path) -> Iterator[None]:
    """Turn errors of the disk into one line; those of the network are caught where they arise."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        advice = "make room and try again" if full else "choose another place with --cache-dir"
        reason = error.strerror or error
        raise WeightsError(f"{path}: cannot be written ({reason}); {advice}") from error


def _persist(source: Source, part: Path, watch: TransferState) -> str:
    """Try until the file is complete and right; returns its digest."""
    # A run that was killed before the rename has left the whole file.
    if source.digest.digits and source.size and size_of(part) == source.size:
        hasher = source.digest.start(source.size)
        update(hasher, part, watch.alive)
        if source.digest.matches(hasher.hexdigest()):
            return hasher.hexdigest()
        part.unlink()
    tries, answered = 0, False
    while True:
        before = size_of(part)
        try:
            with _answer(source, part, watch) as (response, start, total):
                answered = True
                return _write(source, part, response, start, total, watch)
        except HTTPError as error:
            error.close()
            answered, reason = True, f"answered {error.code}"
            if error.code not in BUSY:
                raise WeightsError(f"'{source.name}': {source.host} {reason}") from error
        except URLError as error:
            why = getattr(error.reason, "strerror", None) or error.reason
            reason = f"cannot be reached ({why})"
            if not answered:  # there is no network, most likely, so more tries would not help
                message = f"'{source.name}': {source.host} {reason}; {source.instead}"
                raise WeightsError(message) from error
        except _Again as error:
            reason = str(error)
        tries = 1 if size_of(part) - before >= WORTHWHILE else tries + 1
        if tries > len(PAUSES):
            raise WeightsError(
                f"'{source.name}': {source.host} {reason}, {tries} times in a row; try again "
                "later, what has come is kept"
            )
        watch.pause(PAUSES[tries - 1])


@contextmanager
def _answer(
    source: Source, part: Path, watch: TransferState
) -> Iterator[tuple[HTTPResponse, int, int]]:
    """Open the answer; yields it, the byte it starts from and the bytes of the whole file."""
    # Without a digest nothing proves that the new bytes continue the old ones.
    have = size_of(part) if source.digest.digits else 0
    wanted = {"Range": f"bytes={have}-"} if have else {}
    try:
        # A third of the stall limit, so that a dead connection is opened again before it runs out.
        response = open_url(source.url, {**source.headers, **wanted}, watch.stall / 3)
    except HTTPError as error:
        if error.code != 416:  # the partial file is as long as this one, or longer
            raise
        error.close()
        part.unlink()
        raise _Again("has no such range") from error
    except URLError:  # a subclass of OSError, and the caller tells it apart
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise _Again(f"broke off ({error or type(error).__name__})") from error
    with response:
        start, total = 0, source.size
        if response.status == 206:
            match = RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if match is None or not have or int(match[1]) != have:
                part.unlink(missing_ok=True)
                raise _Again("sent another range than it was asked for")
            start, total = have, int(match[3])
        elif response.length is not None:
            total = response.length
        if response.headers.get("Content-Encoding", "identity") != "identity" or total is None:
            raise WeightsError(f"'{source.name}': {source.host} does not say how large it is")
        if source.size not in (None, total) or not 0 < total <= source.largest:
            right = f"not {source.size:,}" if source.size else f"at most {source.largest:,}"
            raise WeightsError(f"'{source.name}': {total:,} bytes on {source.host}, {right}")
        require_room(part.parent, total - start, source.name)
        yield response, start, total


def _write(
    source: Source, part: Path, response: HTTPResponse, start: int, total: int, watch: TransferState
) -> str:
    """Write the body after the `start` bytes that are there; returns the digest of all bytes."""
    hasher = source.digest.start(total)
    if start:
        update(hasher, part, watch.alive)
    with part.open("ab" if start else "wb") as out:
        done = start
        watch.report(source.name, done, total)
        while done < total:
            chunk = _read(response, min(BLOCK, total - done))
            out.write(chunk)
            hasher.update(chunk)
            done += len(chunk)
            watch.report(source.name, done, total)
        out.flush()
        os.fsync(out.fileno())  # else a power cut after the rename could leave half a file
    digits = hasher.hexdigest()
    if source.digest.matches(digits):
        return digits
    part.unlink()
    if start:  # perhaps only the bytes of an earlier run were bad
        raise _Again("sent what does not continue what had come before")
    raise WeightsError(
        f"'{source.name}': what came from {source.host} is not what was published (its hash is "
        f"{digits[:16]}…, not {source.digest.digits[:16]}…); nothing of it is kept"
    )


def _read(response: HTTPResponse, most: int) -> bytes:
    """Read the bytes that have come, at least one."""
    try:
        if chunk := response.read1(most):
            return chunk
    except (OSError, HTTPException) as error:
        raise _Again(f"broke off ({error or type(error).__name__})") from error
    raise _Again("broke off")


@contextmanager
def _locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock that keeps other processes from downloading the same file.

    While another process holds it, `waiting` is called.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, mode=0o664)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=0.25)
        except Timeout:
            waiting()
    try:
        yield
    finally:
        lock.release()
