"""What is said beside the answer, on stderr: errors, notes, progress."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from timesformer_cli.errors import ExitCode, TsfError

if TYPE_CHECKING:
    from timesformer_cli.weights.hub.stall import Progress

T = TypeVar("T")


@lru_cache
def stderr() -> Console:
    """The one console for everything that is not the answer."""
    return Console(stderr=True, highlight=False)


def note(text: str) -> None:
    """Something the user should know that is no part of the answer."""
    stderr().print(f"[yellow]note:[/] {escape(printable(text))}", soft_wrap=True)


def printable(text: str) -> str:
    """Text that cannot steer a terminal: control characters and stray bytes as escapes."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


@contextmanager
def errors_explained(debug: bool) -> Iterator[None]:
    """Turn errors into one line on stderr and the right exit code; `debug` lets them through."""
    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        stderr().print("interrupted")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except BrokenPipeError:  # whoever read our output has gone, as `| head` does
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

    An exception must not fly through the C++ that importing torch runs: it aborts, or forgets it.
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
    """Until the block ends, SIGTERM unwinds what runs, as Ctrl-C does: what is half done goes."""

    def leave(number: int, frame: object) -> None:
        stderr().print("terminated")
        raise SystemExit(ExitCode.TERMINATED)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def transfer() -> Iterator["Progress | None"]:
    """A callable that draws downloads as bars (bytes, rate, time left) while stderr is a terminal."""
    from rich import progress as bars

    if not stderr().is_terminal:
        yield None
        return
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
    )
    tasks: dict[str, bars.TaskID] = {}
    with bars.Progress(*columns, console=stderr(), transient=True) as progress:

        def report(file: str, done: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = progress.add_task(escape(printable(file)), total=total)
            progress.update(tasks[file], completed=done, total=total)

        yield report


def with_progress(results: Iterator[T], total: int, doing: str) -> Iterator[T]:
    """The same results, with a bar (a spinner where there is one) while stderr is a terminal."""
    from rich import progress as bars

    if not stderr().is_terminal:
        yield from results
        return
    columns: list[bars.ProgressColumn] = [bars.SpinnerColumn(), bars.TextColumn(doing)]
    if total > 1:
        columns += [
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TextColumn("{task.fields[rate]}"),
            bars.TimeRemainingColumn(),
        ]
    progress = bars.Progress(
        *columns, console=stderr(), transient=True, redirect_stdout=False, redirect_stderr=False
    )
    with progress:
        task = progress.add_task(doing, total=total, rate="")
        for result in results:
            progress.advance(task)
            if speed := progress.tasks[0].speed:
                progress.update(task, rate=f"{speed:.1f}/s")
            if sys.stdout.isatty():  # the answer appears where the bar is: out of its way
                progress.stop()
            yield result
            progress.start()


@contextmanager
def steps() -> Iterator[Callable[[int, int, str], None]]:
    """A callable that draws a bar and names the step that is next, while stderr is a terminal."""
    from rich import progress as bars

    columns = (
        bars.SpinnerColumn(),
        bars.TextColumn("{task.description}"),
        bars.BarColumn(bar_width=20),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
    )
    # Twice a second: every redraw takes time from what is being measured.
    with bars.Progress(
        *columns,
        console=stderr(),
        transient=True,
        refresh_per_second=2,
        disable=not stderr().is_terminal,
    ) as progress:
        task = progress.add_task("starting", total=None)

        def watch(done: int, total: int, doing: str) -> None:
            progress.update(task, description=doing, completed=done, total=total)

        yield watch
