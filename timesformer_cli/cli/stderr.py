"""What goes to stderr beside the answer: errors and notes; and how signals end a command."""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.interrupt import interrupted_in_order
from timesformer_cli.cli.streams import stdout_failure
from timesformer_cli.errors import ExitCode, TsfError
from timesformer_cli.files import claimed, remove_hidden

# The signals that ask for an end, what is said then, and the exit code that a shell expects.
ENDINGS = (
    ("SIGTERM", "terminated", ExitCode.TERMINATED),
    ("SIGHUP", "hung up", ExitCode.HUNG_UP),  # the terminal was closed; Windows has no such signal
)


@lru_cache
def stderr() -> Console:
    """The one console for everything that is not the answer."""
    return new_console(stderr=True)


def note(text: str) -> None:
    """Print something that the user should know but that is not part of the answer."""
    stderr().print(f"[yellow]note:[/] {escape(printable(text))}", soft_wrap=True)


def complain(text: str) -> None:
    """Print an error, which --quiet does not hold back."""
    with quietly(False):
        stderr().print(f"[bold red]error:[/] {escape(printable(text))}", soft_wrap=True)


@contextmanager
def quietly(quiet: bool) -> Iterator[None]:
    """Until the block ends, where `quiet`, nothing but errors goes to stderr."""
    before, stderr().quiet = stderr().quiet, quiet
    try:
        yield
    finally:
        stderr().quiet = before


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
        with interrupted_in_order():
            yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        stderr().print("interrupted")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except BrokenPipeError:  # the reader of our output has ended, as in `| head`
        raise typer.Exit(ExitCode.BROKEN_PIPE) from None
    except Exception as error:
        if debug:
            raise
        if error is stdout_failure():  # it is said when the command ends
            raise typer.Exit(ExitCode.SOME_FAILED) from None
        text, code = str(error), ExitCode.SOME_FAILED
        if isinstance(error, TsfError):
            code = error.exit_code
        else:
            text = f"{type(error).__name__}: {error} (run it with --debug to see where)"
        complain(text)
        raise typer.Exit(code) from None


@contextmanager
def interrupted_at_once() -> Iterator[None]:
    """Until the block ends, Ctrl-C ends the process there and then.

    KeyboardInterrupt must not pass through the C++ that importing torch runs: that code aborts, or
    drops the exception. What is half written is removed.
    """

    def leave(number: int, frame: object) -> None:
        _leave("interrupted", ExitCode.INTERRUPTED)

    with _handled([signal.SIGINT], leave):
        yield


def _leave(word: str, code: ExitCode) -> NoReturn:
    remove_hidden()
    with quietly(False):
        stderr().show_cursor(True)
        stderr().print(word)
    os._exit(code)


@contextmanager
def claiming(*paths: Path | None) -> Iterator[None]:
    """`files.claimed`, and SIGTERM and SIGHUP end the process at once, with nothing left of it.

    Where more than files has to be undone, `terminated_in_order` takes over inside the block.
    """
    if not any(paths):
        yield
        return

    def leave(number: int, frame: object) -> None:
        _leave(*_endings()[number])

    with _handled(_endings(), leave), ExitStack() as stack:
        with _signals_later():  # a claim that is half made would stay
            stack.enter_context(claimed(*paths))
        yield


@contextmanager
def _signals_later() -> Iterator[None]:
    """Let the signals that end a command wait for the end of the block, which must be short."""
    waiting: list[int] = []
    with _handled([signal.SIGINT, *_endings()], lambda number, frame: waiting.append(number)):
        yield
    for number in waiting:
        signal.raise_signal(number)


def _endings() -> dict[int, tuple[str, ExitCode]]:
    return {
        getattr(signal, name): (word, code) for name, word, code in ENDINGS if hasattr(signal, name)
    }


@contextmanager
def _handled(numbers: Iterable[int], handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Until the block ends, these signals call `handler`, unless they were told to be ignored.

    A shell asks for that with what it runs in the background, and so does nohup.
    """
    before = {number: signal.getsignal(number) for number in numbers}
    for number, earlier in before.items():
        if earlier is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def terminated_in_order() -> Iterator[None]:
    """Until the block ends, SIGTERM and SIGHUP raise, as Ctrl-C does: what is half written goes.

    A signal that is ignored stays so: nohup asks for that.
    """

    def leave(number: int, frame: object) -> None:
        word, code = _endings()[number]
        with quietly(False):
            stderr().print(word)
        raise SystemExit(code)

    with _handled(_endings(), leave):
        yield
