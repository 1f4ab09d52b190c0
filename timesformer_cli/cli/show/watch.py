"""What a live stream shows: a table that is drawn anew, JSON lines or CSV."""

import csv
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import bar, csv_cell, percent, write_json_lines, writing
from timesformer_cli.cli.stderr import printable, stderr, terminated_in_order
from timesformer_cli.errors import TsfError
from timesformer_cli.timelines.watch import WatchedWindow, WatchEvent, WatchStatus

CHANGES = 10  # of the label that the table keeps
REDRAWS = 4  # a second
LABEL = 32  # characters of a label's column
CSV_COLUMNS = "time start end shot label score second second_score lag windows dropped".split()
Writer = Callable[[WatchedWindow], None]


def show_watched(
    events: Iterable[WatchEvent], source: str, format: str, output: Path | None, *, table: bool
) -> None:
    """Write each window as it comes, and draw the table where `table`; say at the end what was.

    However the watch ends, a file at `output` gets all windows until then.
    """
    told = Told()
    ending: BaseException | None = None
    with ExitStack() as stack:
        stack.enter_context(terminated_in_order())
        writers: list[Writer] = []
        if output is not None or not table:
            writers.append(RENDERERS[format](stack.enter_context(writing(output))))
        draw = stack.enter_context(_table(source)) if table else None
        try:
            for event in events:
                told.take(event)
                if isinstance(event, WatchedWindow):
                    for write in writers:
                        write(event)
                if draw is not None:
                    draw(told)
        except (KeyboardInterrupt, SystemExit, TsfError) as error:
            ending = error
    if told.status is not None:
        stderr().print(f"[dim]{told.summary()}[/]")
    if ending is not None:
        raise ending


class Told:
    """What the events said so far."""

    def __init__(self) -> None:
        self.status: WatchStatus | None = None
        self.window: WatchedWindow | None = None
        self.longest_lag = 0.0
        self.changes: deque[WatchedWindow] = deque(maxlen=CHANGES)

    def take(self, event: WatchEvent) -> None:
        """Keep what is shown later."""
        if isinstance(event, WatchStatus):
            self.status = event
            return
        if self.window is None or event.label != self.window.label:
            self.changes.append(event)
        self.window, self.longest_lag = event, max(self.longest_lag, event.lag)

    def summary(self) -> str:
        """One line about the whole watch."""
        assert self.status is not None
        said = (
            f"{self.status.windows} windows in {_clock(self.status.elapsed)}, "
            f"{self.status.dropped} dropped ({percent(self.status.share_dropped)}), "
            f"longest lag {self.longest_lag:.2f} s"
        )
        damage = self.status.damaged
        return said + (f", {damage} damaged packets or frames" if damage else "")


@contextmanager
def _table(source: str) -> Iterator[Callable[[Told], None]]:
    console = new_console()
    with Live(console=console, refresh_per_second=REDRAWS, vertical_overflow="crop") as live:
        yield lambda told: live.update(drawn(told, source, console))


def drawn(told: Told, source: str, console: Console) -> Group:
    status, window = told.status, told.window
    head = Text(printable(source), style="bold", overflow="ellipsis", no_wrap=True)
    if status is None or status.elapsed == 0:
        head.append("  waiting for the first frame", style="yellow")
    elif status.live:
        head.append(f"  live {_clock(status.elapsed)}  {status.fps:.1f} frames/s", style="green")
    else:
        head.append(f"  lost {_clock(status.elapsed)}", style="red")
    parts: list[Text | Table] = [head]
    if window is not None:
        best = window.predictions[0]
        scores = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
        for prediction in window.predictions[:2]:
            counts = prediction is best and window.label is not None
            style = "bold green" if counts else "dim"
            name = Text(printable(prediction.label), style=style)
            name.truncate(LABEL, overflow="ellipsis", pad=True)
            filled = Text(bar(prediction.score, console), style=style)
            scores.add_row(name, percent(prediction.score).rjust(7), filled)
        parts.append(scores)
        if window.label is None:
            parts.append(Text("no label that counts reaches the threshold", style="yellow"))
        numbers = f"lag {window.lag:.2f} s   {window.windows} windows"
        if status is not None:
            numbers += f"   {status.dropped} dropped ({percent(status.share_dropped)})"
        parts += [Text(numbers), Text("changes", style="dim")]
        for change in reversed(told.changes):
            shown = "-" if change.label is None else change.label
            line = f"{_clock(change.start)}  {printable(shown)}  "
            parts.append(Text(line + percent(change.predictions[0].score), no_wrap=True))
    return Group(*parts)


def _jsonl_writer(stream: TextIO) -> Writer:
    return lambda window: write_json_lines([window], stream)


def _csv_writer(stream: TextIO) -> Writer:
    rows = csv.DictWriter(stream, CSV_COLUMNS, lineterminator="\n")
    rows.writeheader()
    stream.flush()

    def write(window: WatchedWindow) -> None:
        best, second = (*window.predictions, None)[:2]
        row = {name: getattr(window, name, None) for name in CSV_COLUMNS}
        row["score"] = None if best is None else best.score
        if second is not None:
            row |= {"second": second.label, "second_score": second.score}
        rows.writerow({name: csv_cell(value) for name, value in row.items()})
        stream.flush()

    return write


RENDERERS = {"jsonl": _jsonl_writer, "csv": _csv_writer}


def _clock(seconds: float) -> str:
    """`0:01:05`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
