"""Where a part of a video begins and ends, as tables and annotation tools write it."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from timesformer_cli.dataset.table_row import TableRow
from timesformer_cli.errors import UsageError

CLOCK = re.compile(r"(?:(\d+):)?(\d+):(\d+(?:[.,]\d+)?)")  # h:m:s or m:s
SECONDS = re.compile(r"\+?(\d+(?:[.,]\d*)?|[.,]\d+)(?:e([+-]?\d+))?\s*s?", re.IGNORECASE)
MOST = 5  # lines that an error names
HOW = "write seconds (12.5) or h:m:s (0:01:02.5)"


def parse_time(where: str, name: str, text: str) -> float | None:
    """Seconds of `12.5`, `1:02.5` or `0:01:02`; None where the cell is empty.

    Raises UsageError for what is no time, or a negative one.
    """
    text = text.strip()
    if not text:
        return None
    if clock := CLOCK.fullmatch(text):
        hours, minutes, seconds = clock[1] or "0", clock[2], clock[3].replace(",", ".")
        if float(seconds) >= 60 or (clock[1] and int(minutes) >= 60):
            raise UsageError(f"{where}: '{text}' under '{name}' is no time; {HOW}")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if not SECONDS.fullmatch(text):
        raise UsageError(f"{where}: '{text}' under '{name}' is no time; {HOW}")
    return require_time(where, name, float(text.rstrip(" sS").replace(",", ".")))


def require_time(where: str, name: str, value: object) -> float:
    """The value as seconds; raises UsageError for what is no finite number from 0 on."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or value < 0:  # type: ignore[arg-type,operator]
        raise UsageError(f"{where}: {name} is {value!r:.40}, which is no time in seconds")
    return float(value)  # type: ignore[arg-type]


def seconds_of_frame(where: str, frame: float, fps: float | None) -> float:
    """Seconds at which a frame begins, counted from 0; raises UsageError without a frame rate."""
    if fps is None:
        raise UsageError(
            f"{where}: counts in frames, and does not say how many there are a second; give --fps"
        )
    return frame / fps


def require_forwards(source: Path, rows: Sequence[TableRow]) -> None:
    """Raise UsageError that names the lines whose part ends before it begins."""
    said = [
        f"{row.where.removeprefix(f'{source}:')} ({row.start:g} to {row.end:g} s)"
        for row in rows
        if row.end is not None and row.end <= row.start
    ]
    if said:
        more = f" and {len(said) - MOST} more" if len(said) > MOST else ""
        lines = "line" if len(said) == 1 else "lines"
        raise UsageError(
            f"{source}: {lines} {', '.join(said[:MOST])}{more}: a part that ends where it begins, or "
            "before"
        )
