"""The standard streams as a shell may hand them over: closed, full, or in another encoding."""

import io
import os
import select
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from timesformer_cli.errors import ExitCode, TsfError

LEAVING = 100  # milliseconds that a reader such as `head` gets to leave after its last line
# Before these the interpreter would stop at a character that the encoding lacks.
UNFORGIVING = ("strict", "surrogateescape")


class _Answers(io.FileIO):
    """Stdout that remembers why it could not be written; what follows has nowhere to go."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        if self.failure is not None:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self.failure = error
            raise


class _Remarks(io.FileIO):
    """Stderr that nobody has to hear: what cannot be written to it is lost, and the work goes on."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def prepare_streams() -> None:
    """Make stdout and stderr fit to be written to, whatever they are.

    A character that the terminal's encoding lacks is escaped, in place of losing the answer.
    """
    _fill_closed()
    for name, number, kind in (("stdout", 1, _Answers), ("stderr", 2, _Remarks)):
        before = getattr(sys, name)
        if os.name != "posix":  # a console of Windows is written to in a way of its own
            if before is not None:
                before.reconfigure(errors="backslashreplace")
            continue
        errors = "strict" if before is None else before.errors
        stream = io.TextIOWrapper(
            io.BufferedWriter(kind(number, "wb", closefd=False)),
            encoding="utf-8" if before is None else before.encoding,
            errors="backslashreplace" if errors in UNFORGIVING else errors,
            line_buffering=before is None or before.line_buffering,
            write_through=before is not None and before.write_through,
        )
        setattr(sys, name, stream)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8")


def require_stdout() -> None:
    """Raise TsfError, before any work is done, where stdout is closed or its device is full."""
    try:
        os.write(sys.stdout.fileno(), b"")
    except io.UnsupportedOperation:  # a buffer of whoever called us
        pass
    except OSError as error:
        raise TsfError(f"{unwritten(error)}; --output FILE writes the answer to a file") from error


def is_stdout(path: Path) -> bool:
    """Whether a name leads to what stdout is already, as /dev/stdout does."""
    try:
        return os.path.samestat(path.stat(), os.fstat(sys.stdout.fileno()))
    except OSError:
        return False


def unwritten(error: OSError) -> str:
    """What to say of an answer that stdout did not take."""
    return f"stdout: the answer cannot be written ({error.strerror})"


def stdout_failure() -> OSError | None:
    """Why stdout could not be written to, where it could not."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.failure if isinstance(raw, _Answers) else None


def exit_code(code: object) -> int:
    """The exit code of a command that ended with `code`, once all that it said is out."""
    known = code if isinstance(code, int) else int(code is not None)
    with suppress(OSError):
        sys.stdout.flush()
    failure = stdout_failure()
    if failure is None:
        return ExitCode.BROKEN_PIPE if known == ExitCode.SOME_FAILED and _reader_left() else known
    if isinstance(failure, BrokenPipeError):  # whoever read our output has gone, as `| head` does
        return known if known > ExitCode.SOME_FAILED else ExitCode.BROKEN_PIPE
    print(f"error: {unwritten(failure)}", file=sys.stderr)
    return known or ExitCode.SOME_FAILED


def _reader_left() -> bool:
    """Whether stdout is a pipe that nobody reads any more, or soon will not.

    `head -1` has left by the time it would matter, but all that we wrote may have fitted into the
    pipe before it did.
    """
    if not hasattr(select, "poll"):  # Windows
        return False
    try:
        number = sys.stdout.fileno()
        if not stat.S_ISFIFO(os.fstat(number).st_mode):
            return False
        poll = select.poll()
        poll.register(number, 0)  # errors are always told
        return any(happened & select.POLLERR for _, happened in poll.poll(LEAVING))
    except (OSError, ValueError):
        return False


def _fill_closed() -> None:
    """Open what a shell's `>&-` closed, or a video might be opened as number 1 and written over.

    Stdout can then not be written to, which is said; stderr goes nowhere.
    """
    for number, flags in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, flags)  # the lowest number that is free
