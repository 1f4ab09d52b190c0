"""The options of commands that follow a video: their types, and what their words mean."""

from math import inf, isfinite
from typing import Annotated

import typer

from timesformer_cli.errors import UsageError

SHORTEST_EVERY = 0.001  # seconds; a window costs a run of the model
Every = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        help="Time from the start of one window to the start of the next.",
        show_default="half of a window",
        rich_help_panel="Sampling",
    ),
]
Since = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="TIME",
        help="Where to begin: 90 (seconds), 1:30 or 0:01:30.5.",
        rich_help_panel="Sampling",
    ),
]
Until = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="TIME",
        help="Where to end.",
        show_default="the video's end",
        rich_help_panel="Sampling",
    ),
]
Threshold = Annotated[
    float,
    typer.Option(
        help="Least score of a label, from 0 to 1. Where no label has it, there is no segment.",
        rich_help_panel="Segments",
    ),
]
Smooth = Annotated[
    str,
    typer.Option(
        metavar="NATS",
        help="What a change of label costs: auto, or a number. 0 takes the best label of each "
        "window.",
        rich_help_panel="Segments",
    ),
]
Cuts = Annotated[
    bool,
    typer.Option(
        "--cuts/--no-cuts",
        help="Find shots: no window and no segment crosses a cut.",
        rich_help_panel="Segments",
    ),
]
Refine = Annotated[
    bool,
    typer.Option(
        "--refine",
        help="Find changes of label to a quarter of --every, with two more windows for each.",
        rich_help_panel="Segments",
    ),
]


def parse_stretch(since: str, until: str | None) -> tuple[float, float]:
    """`--from` and `--to` in seconds; raises UsageError."""
    from timesformer_cli.timelines.text import parse_clock

    start = parse_clock(since, "--from")
    end = inf if until is None else parse_clock(until, "--to")
    if end <= start:
        raise UsageError(f"--to {until} is not after --from {since}; there is nothing in between")
    return start, end


def require_every(every: float | None) -> None:
    """Raise UsageError for a step from window to window that is none."""
    if every is not None and not (isfinite(every) and every >= SHORTEST_EVERY):
        raise UsageError(f"--every is at least {SHORTEST_EVERY:g} seconds; got {every:g}")


def require_threshold(threshold: float) -> None:
    """Raise UsageError for what is no score."""
    if not 0 <= threshold <= 1:
        raise UsageError(f"--threshold is a score from 0 to 1; got {threshold:g}")


def parse_smooth(smooth: str) -> float:
    """The price of a change of label in nats; raises UsageError."""
    from timesformer_cli.timelines.options import AUTO_PRICE

    if smooth == "auto":
        return AUTO_PRICE
    try:
        price = float(smooth)
    except ValueError:
        price = -1.0
    if not (isfinite(price) and price >= 0):
        raise UsageError(f"--smooth is auto, or a number of nats, 0 or more; got '{smooth}'")
    return price
