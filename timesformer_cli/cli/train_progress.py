"""Progress of a training on stderr: one line per epoch and, on a terminal, a bar."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from timesformer_cli.cli.stderr import note, stderr
from timesformer_cli.errors import ExitCode

if TYPE_CHECKING:
    from timesformer_cli.training.state import Tick, TrainingCallbacks


class _Stop:
    """Remembers the signal that asks for an end; a second signal ends the process as usual."""

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """From now on SIGINT, SIGTERM and SIGHUP wait for the end of the step and a checkpoint.

        A signal that is ignored stays so: nohup asks for that.
        """
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
            number = getattr(signal, name, None)
            if number is None or number in self._before:  # with folds it listens again
                continue
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._heard)

    def forget(self) -> None:
        """From now on the signals do what they did before."""
        while self._before:
            signal.signal(*self._before.popitem())

    def _heard(self, number: int, frame: object) -> None:
        self.number = number
        self.forget()
        stderr().print("stopping after this step, with a checkpoint; once more stops at once")


@contextmanager
def showing_training() -> "Iterator[TrainingCallbacks]":
    """Callbacks that show a training's progress.

    After a signal the command ends with 128 and the signal's number, as shells expect.
    """
    from rich import progress as bars

    from timesformer_cli.cli.show.train import epoch_line, show_check
    from timesformer_cli.training.state import TrainingCallbacks, TrainingStopped

    stop = _Stop()
    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(bar_width=24),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[now]}"),
    )
    console = stderr()
    with bars.Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("checking clips", total=None, now="")

        def checked(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        def seen(done: int, total: int) -> None:
            progress.update(task, description="computing tokens", completed=done, total=total)

        def tick(tick: "Tick") -> None:
            progress.update(
                task,
                description=f"epoch {tick.epoch} of {tick.epochs}",
                completed=tick.step,
                total=tick.steps,
                now=_now(tick),
            )

        def epoch(history: list[dict[str, Any]]) -> None:
            console.print(epoch_line(history[-1]), soft_wrap=True)

        try:
            yield TrainingCallbacks(
                note=note,
                checked=checked,
                found=show_check,
                started=stop.listen,
                seen=seen,
                tick=tick,
                epoch=epoch,
                stopping=lambda: stop.number > 0,
            )
        except TrainingStopped as stopped:
            console.print(f"stopped; to go on: tsf train --resume {stopped}", markup=False)
            raise typer.Exit(ExitCode(128 + stop.number)) from None
        finally:
            stop.forget()


def _now(tick: "Tick") -> str:
    minutes, seconds = divmod(round(tick.seconds_left), 60)
    left = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    return (
        f"loss {tick.loss:.3f}  accuracy {tick.accuracy:.1%}  "
        f"{tick.clips_per_second:.1f} clips/s  {left} left"
    )
