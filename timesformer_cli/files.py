"""Open files safely, and write files that appear whole or not at all.

This is the only place where a file is put under its name. A user may also name what is no regular
file (a FIFO, a device, /dev/stdout): that is written to, and never replaced.
"""

import errno
import os
import re
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from secrets import token_hex
from shutil import copyfileobj, rmtree
from tempfile import gettempdir
from typing import BinaryIO

from timesformer_cli.errors import TsfError, UsageError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

# Without O_NONBLOCK, opening a FIFO waits for a writer for ever.
READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
NOT_REGULAR = "is not a regular file (a pipe, socket or device)"
# What lies in one of these folders is an open file of a process: /dev/stdout leads there.
DESCRIPTORS = re.compile(r"/dev/fd|/proc/\d+(/task/\d+)?/fd")
MOST_LINKS = 40  # that Linux follows, one to the next
# Most disks take names of 255 bytes, and a hidden file's name is longer than its file's.
LONGEST_STEM = 200

# The hidden files and folders that this process has beside its targets: half-written ones, claims.
HIDDEN: list[Path] = []

# A path, or the number of an open file.
AnyFile = str | Path | int


@contextmanager
def regular_file(path: Path) -> Iterator[tuple[BufferedReader, str]]:
    """The file opened for reading, and a name by which a library may open the same file.

    On Linux that name is the open descriptor, so that nothing can take the file's place in
    between. Raises OSError, without waiting, for a FIFO, a device, a socket or a folder.
    """
    try:
        descriptor = os.open(path, READ_FLAGS)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket, or a device without a driver
            raise OSError(errno.EINVAL, NOT_REGULAR) from error
        raise
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        folder = stat.S_ISDIR(mode)
        raise OSError(errno.EINVAL, "is a folder, not a file" if folder else NOT_REGULAR)
    with os.fdopen(descriptor, "rb") as file:
        name = f"/proc/self/fd/{descriptor}" if sys.platform == "linux" else os.fspath(path)
        yield file, name


@contextmanager
def replacing(path: Path, *, lasting: bool = True) -> Iterator[Path]:
    """A hidden file beside `path` to write to; it takes that name when the block ends well.

    After an exception nothing is changed and the hidden file is removed. What is not `lasting` may be
    half a file after a power cut. Raises OSError.
    """
    part = path.with_name(f".{_stem(path)}.{os.getpid()}.part")
    with _hidden(part):
        part.touch()
        mode = part.stat().st_mode  # what the user's umask gives; safetensors would give 0600
        yield part
        part.chmod(mode)
        with part.open("rb") as written:
            if lasting:
                os.fsync(
                    written.fileno()
                )  # or a power cut could leave a whole name and half a file
        put_in_place(part, path)


def replace_file(path: Path, content: bytes | memoryview) -> None:
    """Replace a file's content in one step that survives a power cut.

    Raises TsfError where it cannot be written; the earlier file is then still whole.
    """
    try:
        with replacing(path) as part:
            part.write_bytes(content)
    except OSError as error:
        raise TsfError(
            f"{path}: cannot be written ({error.strerror}); what was there before is whole"
        ) from error


@contextmanager
def hidden_folder(target: Path) -> Iterator[Path]:
    """A folder beside the target that is removed, with all that is in it, when the block ends.

    For several files that belong together: write them there, then `deliver` each. A rename is one
    step only on the target's own disk. What goes into a stream waits where temporary files do.
    Raises OSError.
    """
    parent = Path(gettempdir()) if is_stream(target) else _replaced(target).parent
    folder = parent / f".{_stem(target)}.{token_hex(8)}.part"
    with _hidden(folder):  # a signal may come at any moment: what is made in here is removed
        folder.mkdir(mode=0o700)
        yield folder


@contextmanager
def scratch_folder(name: str) -> Iterator[Path]:
    """A folder for this process's temporary files, removed with all of them when the block ends.

    Those of that name whose processes were killed are removed first: a living process has a lock on
    the file beside its folder. Raises OSError.
    """
    top = Path(gettempdir())
    for place in top.glob(f"{name}-*.lock"):
        # Another user's cannot be opened, and that of a living process cannot be locked.
        with suppress(OSError):
            descriptor = _locked_file(place)
            _remove(place.with_suffix(""))
            _remove(place)
            os.close(descriptor)
    folder = top / f"{name}-{token_hex(8)}"
    lock = folder.with_suffix(".lock")
    descriptor = _locked_file(lock)
    try:
        with _hidden(lock), _hidden(folder):
            folder.mkdir(mode=0o700)
            yield folder
    finally:
        os.close(descriptor)


@contextmanager
def claimed(*paths: Path | None) -> Iterator[None]:
    """Keep every other run from writing these files until the block ends.

    Raises UsageError where another run has one of them. A claim is a lock on a hidden file beside
    the target, which the system lets go when the process ends, however it ends. What cannot be
    locked (a stream, a folder that is not there, a disk without locks) is not claimed.
    """
    with ExitStack() as stack:
        # By where they lead: that two names are one file, `require_output` says.
        for path in {os.path.realpath(path): path for path in paths if path is not None}.values():
            if not is_stream(path):
                stack.enter_context(_claim(path))
        yield


@contextmanager
def _claim(path: Path) -> Iterator[None]:
    try:
        target = _replaced(path)
        place = target.with_name(f".claim-{_stem(target)}")
        descriptor = _locked_file(place)
    except BlockingIOError:
        raise UsageError(
            f"{path}: another run is writing it; wait for its end, or give another name"
        ) from None
    except OSError:  # what is wrong with the place, `require_output` says
        yield
        return
    try:
        with _hidden(place):
            yield
    finally:
        os.close(descriptor)


@contextmanager
def _hidden(place: Path) -> Iterator[None]:
    """Remove a hidden file or folder, where there is one, when the block ends."""
    HIDDEN.append(place)
    try:
        yield
    finally:
        _remove(place)
        HIDDEN.remove(place)


def remove_hidden() -> None:
    """Remove all that this process has hidden beside its targets: for who ends the process."""
    for place in list(HIDDEN):
        _remove(place)


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        rmtree(place, ignore_errors=True)
    else:
        with suppress(OSError):  # Windows removes no file that is open
            place.unlink()


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Have a file to oneself until the block ends, and wait while another process has it.

    The file stays, empty. Raises OSError.
    """
    descriptor = os.open(place, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        while True:
            try:
                _lock(descriptor)
                break
            except BlockingIOError:
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _locked_file(place: Path) -> int:
    """A locked file of that name, open; raises BlockingIOError where another process has it."""
    while True:
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            _lock(descriptor)
            # Whoever had the lock may have removed the file meanwhile: then nobody else sees ours.
            if os.path.samestat(os.fstat(descriptor), os.stat(place)):
                return descriptor
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    """Lock an open file, which its process's end undoes; raises BlockingIOError without waiting.

    A library would do, but it falls back to files that stay where there are no locks.
    """
    if sys.platform == "win32":
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError(error.errno, error.strerror) from error
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def put_in_place(part: Path, path: Path) -> Path:
    """Give a finished file its name and replace what has it now; raises OSError."""
    return part.replace(path)


def require_output(path: Path, inputs: Iterable[AnyFile] = ()) -> None:
    """Raise UsageError, before any work is done, where an answer cannot be written.

    Nor may it replace one of the inputs, under whatever name and through whatever links.
    """
    try:
        status = _status(path)
        if is_stream(path):
            reason = "" if os.access(path, os.W_OK) else "permission denied, or it is closed"
            if status is not None and stat.S_ISSOCK(status.st_mode):
                reason = "it is a socket"
        else:
            parent = _replaced(path).parent
            reason = "" if os.access(parent, os.W_OK) else "permission denied"
            if not parent.is_dir():
                reason = f"folder {parent} does not exist"
            elif path.is_dir():
                reason = "it is a folder"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise UsageError(f"{path}: cannot be written there ({reason})")
    for other in inputs:
        if _same_file(path, status, other):
            name = "stdin" if isinstance(other, int) else other
            raise UsageError(f"{path}: is the same file as {name}; give the answer another name")


def require_folder(path: Path) -> None:
    """Raise UsageError, before any work is done, where no folder is or can be made."""
    there = next(place for place in (path, *path.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise UsageError(f"{path}: cannot be a folder ({there} is a file)")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: cannot be written there (permission denied)")


def is_stream(path: Path) -> bool:
    """Whether what is written there flows on: a FIFO, a device, or an open file (/dev/stdout)."""
    if _descriptor(path) is not None:
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def open_stream(path: Path) -> BinaryIO:
    """What `is_stream` is true of, opened for writing, as a shell's `>` would; raises OSError.

    A FIFO waits for its reader. A file that is open already goes on where it is.
    """
    place = _descriptor(path)
    if place is not None and str(place.parent) in ("/dev/fd", f"/proc/{os.getpid()}/fd"):
        return os.fdopen(os.dup(int(place.name)), "wb")
    append = os.O_APPEND if stat.S_ISREG(path.stat().st_mode) else 0
    return os.fdopen(os.open(path, os.O_WRONLY | append), "wb")


@contextmanager
def delivering(path: Path) -> Iterator[Path]:
    """A hidden file to write to, whose content arrives at `path` when the block ends well.

    As `replacing` does, for a name that a user gave: a link stays, and what it leads to is
    replaced; a stream is written to. Raises OSError.
    """
    if not is_stream(path):
        with replacing(_replaced(path)) as part:
            yield part
        return
    with hidden_folder(path) as folder:
        part = folder / "part"
        yield part
        deliver(part, path)


def deliver(part: Path, path: Path) -> None:
    """Put a finished file where a user's name leads: in its place, or into the stream."""
    if not is_stream(path):
        put_in_place(part, _replaced(path))
        return
    with part.open("rb") as whole, open_stream(path) as stream:
        copyfileobj(whole, stream)


def _stem(path: Path) -> str:
    """The beginning of a hidden file's name, cut so that the name is not too long for the disk."""
    return os.fsdecode(os.fsencode(path.name)[:LONGEST_STEM])


def _status(path: Path) -> os.stat_result | None:
    """What the system says of the file; None where there is none. Raises OSError for all else."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _replaced(path: Path) -> Path:
    """What a new file takes the place of: the end of the links, whether it is there or not."""
    _status(path)  # raises where links lead in a circle
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _descriptor(path: Path) -> Path | None:
    """The open file that a name leads to, as /proc/7/fd/1; None where it leads to none."""
    try:
        for _ in range(MOST_LINKS):
            folder = os.path.realpath(path.parent)
            if DESCRIPTORS.fullmatch(folder):
                return Path(folder, path.name) if path.name.isdecimal() else None
            if not path.is_symlink():
                return None
            path = path.parent / path.readlink()
    except OSError:  # a name that is too long, or a folder that may not be read
        pass
    return None


def _same_file(path: Path, status: os.stat_result | None, other: AnyFile) -> bool:
    """Whether an output's path leads to the other file: now, or once both are written."""
    try:
        found = os.stat(other)
    except (OSError, ValueError):
        if status is not None or isinstance(other, int):
            return False
        return os.path.realpath(path) == os.path.realpath(other)
    return status is not None and stat.S_ISREG(status.st_mode) and os.path.samestat(status, found)
