"""Progress of timelines on stderr while that is a terminal: in video time, with speed and cost."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from math import floor, isfinite
from typing import TYPE_CHECKING

from rich.markup import escape

from timesformer_cli.cli.stderr import printable, stderr
from timesformer_cli.timelines.text import clock

if TYPE_CHECKING:
    from timesformer_cli.cli.answers import Videos
    from timesformer_cli.timelines.journal import Journal
    from timesformer_cli.timelines.results import TimelineResult
    from timesformer_cli.timelines.run import Step, TimelineRun


def timelines_shown(
    run: "TimelineRun",
    videos: "Videos",
    journal: "Journal | None" = None,
    tell_also: "Callable[[Step], None] | None" = None,
) -> Iterator["TimelineResult"]:
    """The timeline of each video; meanwhile a bar tells how far it is.

    `tell_also` hears of each step, too.
    """
    from timesformer_cli.timelines.run import ended

    if not stderr().is_terminal:
        for video in videos:
            yield ended(run.timeline(video, journal), tell_also)
        return
    from rich import progress as bars

    columns = (
        bars.SpinnerColumn(),
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(bar_width=20),
        bars.TextColumn("{task.fields[now]}"),
    )
    progress = bars.Progress(
        *columns, console=stderr(), transient=True, redirect_stdout=False, redirect_stderr=False
    )
    with progress:
        many = len(videos) if isinstance(videos, Sequence) else 0
        for number, video in enumerate(videos, start=1):
            count = f"{number}/{many} " if many > 1 else ""
            task = progress.add_task(count + printable(video.path), total=None, now="")
            opened: tuple[float, float] | None = None  # seconds of the clock, and of the video

            def tell(step: "Step", task: bars.TaskID = task) -> None:
                nonlocal opened
                if tell_also is not None:
                    tell_also(step)
                if opened is None:
                    opened = time.monotonic(), step.done
                    line = escape(cost_line(run, step))
                    progress.console.print(f"[dim]{line}[/]", soft_wrap=True)
                total = step.duration if isfinite(step.duration) and step.duration > 0 else None
                now = progress_line(step.done, total, time.monotonic() - opened[0], opened[1])
                progress.update(task, completed=step.done, total=total, now=now, refresh=True)

            result = ended(run.timeline(video, journal), tell)
            progress.remove_task(task)
            if sys.stdout.isatty():  # the answer is printed where the bar is
                progress.stop()
            yield result
            progress.start()


def progress_line(done: float, total: float | None, seconds: float, before: float = 0.0) -> str:
    """How far a video is after so many seconds of work: `0:12 of 3:20, 3.1x real time, 1:00 left`.

    `before` is what was done by an earlier run.
    """
    line = clock(done, 0) + (f" of {clock(total, 0)}" if total else "")
    if done <= before or seconds <= 0:
        return line
    speed = (done - before) / seconds
    line += f", {speed:.{1 if speed < 100 else 0}f}x real time"
    return line + (f", {clock(max(0.0, total - done) / speed, 0)} left" if total else "")


def cost_line(run: "TimelineRun", opened: "Step") -> str:
    """What a video will cost, once it is open: its length, its windows, the work of each."""
    from dataclasses import replace

    from timesformer_cli import cost

    height, width = run.preprocessing.crop
    config = replace(
        run.scorer.description.config, frames=run.sampling.frames, height=height, width=width
    )
    windows = max(0, floor((opened.duration - run.span) / run.every)) + 1
    each = cost.macs(config).total / 1e9
    return (
        f"{printable(opened.video)}: {clock(opened.duration)} of video, about {windows} "
        f"window{'' if windows == 1 else 's'} of {run.span:.1f} s, up to {each:,.2f} GMACs each"
    )
