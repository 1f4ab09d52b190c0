"""What goes to stderr beside the answer: errors and notes; and how signals end a command."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import typer
from rich.console import Console
from rich.markup import escape

from timesformer_cli.errors import ExitCode, TsfError


@lru_cache
def stderr() -> Console:
    """The one console for everything that is not the answer."""
    return Console(stderr=True, highlight=False)


def note(text: str) -> None:
    """Print something that the user should know but that is not part of the answer."""
    stderr().print(f"[yellow]note:[/] {escape(printable(text))}", soft_wrap=True)


def printable(text: str) -> str:
    """The text with control characters and stray bytes escaped: it cannot steer a terminal."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


@contextmanager
def errors_explained(debug: bool) -> Iterator[None]:
    """Turn an error into one line on stderr and its exit code; with `debug` it goes through."""
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        stderr().print("interrupted")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except BrokenPipeError:  # the reader of our output has ended, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(ExitCode.SOME_FAILED) from None
    except Exception as error:
        if debug:
            raise
        text, code = str(error), ExitCode.SOME_FAILED
        if isinstance(error, TsfError):
            code = error.exit_code
        else:
            text = f"{type(error).__name__}: {error} (run it with --debug to see where)"
        stderr().print(f"[bold red]error:[/] {escape(printable(text))}", soft_wrap=True)
        raise typer.Exit(code) from None


@contextmanager
def interrupted_at_once() -> Iterator[None]:
    """Until the block ends, Ctrl-C ends the process there and then.

    KeyboardInterrupt must not pass through the C++ that importing torch runs: that code aborts, or
    drops the exception.
    """

    def leave(number: int, frame: object) -> None:
        stderr().show_cursor(True)
        stderr().print("interrupted")
        os._exit(ExitCode.INTERRUPTED)

    before = signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def terminated_in_order() -> Iterator[None]:
    """Until the block ends, SIGTERM raises, as Ctrl-C does: what is half written is removed."""

    def leave(number: int, frame: object) -> None:
        stderr().print("terminated")
        raise SystemExit(ExitCode.TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
