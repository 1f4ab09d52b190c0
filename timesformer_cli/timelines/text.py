"""How times and labels are written: clock times to be read and to be typed, labels on one line."""

import re
import unicodedata

from timesformer_cli.errors import UsageError

# 90, 90.5, 1:30, 0:01:30.5; behind a colon there are two digits, below 60.
CLOCK = re.compile(r"(?:(?:(\d+):)?([0-5]?\d):(?=[0-5]\d(?:\.|$)))?(\d+(?:\.\d*)?)", re.ASCII)
CONTROLS = ("Cc", "Cs", "Zl", "Zp")  # categories of Unicode: controls, halves of pairs, line ends
# The marks of writing direction: one that is left open turns round what stands behind it.
DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def parse_clock(text: str, option: str) -> float:
    """Seconds of a clock time that was typed; raises UsageError, which names the option.

    90 -> 90.0    1:30 -> 90.0    0:01:30.5 -> 90.5
    """
    found = CLOCK.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"{option} is a time in the video, such as 90 (seconds), 1:30 or 0:01:30.5; "
            f"got '{text}'"
        )
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return 3600 * hours + 60 * minutes + seconds


def clock(seconds: float, digits: int = 1) -> str:
    """Seconds as a clock time, with so many digits behind the point.

    5.25 -> 0:05.2    90.5 -> 1:30.5    3690.5 -> 1:01:30.5
    """
    unit = 10**digits
    whole, part = divmod(round(seconds * unit), unit)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    point = f".{part:0{digits}}" if digits else ""
    before = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{before}:{rest:02}{point}"


def one_line(text: str) -> str:
    """The text without line ends, control characters and marks of writing direction."""
    kept = (
        " " if char in DIRECTIONS or unicodedata.category(char) in CONTROLS else char
        for char in text
    )
    return " ".join("".join(kept).split())
