"""Progress of long work, shown on stderr while that is a terminal."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from timesformer_cli.cli.stderr import interrupted_at_once, printable, stderr
from timesformer_cli.errors import WeightsError

if TYPE_CHECKING:
    from timesformer_cli.callbacks import TransferCallback
    from timesformer_cli.cost.rate import MachineRate
    from timesformer_cli.weights.hub.locate import Located


T = TypeVar("T")


@contextmanager
def transfer() -> Iterator["TransferCallback | None"]:
    """A callback that draws downloads as bars; None where stderr is no terminal."""
    from rich import progress as bars

    if not stderr().is_terminal:
        yield None
        return
    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(),
    )
    tasks: dict[str, bars.TaskID] = {}
    with bars.Progress(*columns, console=stderr(), transient=True) as progress:

        def report(file: str, done: int, total: int | None) -> None:
            if file not in tasks:
                tasks[file] = progress.add_task(printable(file), total=total)
            progress.update(tasks[file], completed=done, total=total)

        yield report


def locate_shown(name: str, *, encoder: bool = False, bare: bool = False) -> "Located":
    """Find what a model's name means; what the cache lacks is fetched, with progress bars.

    Raises WeightsError for an encoder of the catalogue before it is fetched, unless it is asked for,
    or will do `bare`.
    """
    from timesformer_cli.weights.catalogue import ENCODER, find_weights
    from timesformer_cli.weights.hub.locate import locate

    row = find_weights(name)
    if row is not None and row.encoder and not (encoder or bare) and not os.path.exists(name):
        raise WeightsError(f"{name}: {ENCODER}")
    with transfer() as progress:
        return replace(locate(name, progress=progress), bare=bare)


def with_progress(results: Iterator[T], total: int, doing: str) -> Iterator[T]:
    """Pass the results through, and draw a bar, or for a single result a spinner."""
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
            if sys.stdout.isatty():  # the answer is printed where the bar is
                progress.stop()
            yield result
            progress.start()


def first_at_once(results: Iterator[T]) -> Iterator[T]:
    """The results; Ctrl-C while the first one imports torch ends the process there and then."""
    with interrupted_at_once():
        first = list(islice(results, 1))
    return chain(first, results)


@contextmanager
def steps() -> Iterator[Callable[[int, int, str], None]]:
    """A callback `(done, total, doing)` that draws a bar and names the step at work."""
    from rich import progress as bars

    columns = (
        bars.SpinnerColumn(),
        bars.TextColumn("{task.description}"),
        bars.BarColumn(bar_width=20),
        bars.MofNCompleteColumn(),
        bars.TimeElapsedColumn(),
    )
    # Only twice a second, because every redraw takes time from what is being measured.
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


def rate_shown(cache: Path | None, format: str) -> "MachineRate | None":
    """How fast this machine multiplies matrices, for a list of models in that format.

    The first time it is measured, under a status line. A page is alike on every machine, so for
    Markdown there is no rate.
    """
    if format == "markdown":
        return None
    from timesformer_cli.benchmark.rate import machine_rate
    from timesformer_cli.weights.hub.hashed_files import default_cache

    with stderr().status("how fast is this machine? (once)"):
        return machine_rate(cache or default_cache())
