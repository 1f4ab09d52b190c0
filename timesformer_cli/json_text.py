"""JSON that survives any file name, and steers no terminal."""

import json
import math
import re
from typing import Any

# What a terminal obeys or reorders text by: control characters (C0, DEL, C1), ends of lines and
# paragraphs, and the marks of writing direction.
STEERING = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def dumps(value: object, indent: int | None = None, encoding: str | None = None) -> str:
    """The value as JSON that can be written in that encoding, UTF-8 where none is said.

    What steers a terminal is escaped; whoever parses it gets the same value.
    """
    text = finite_json(value, indent=indent, ensure_ascii=False)
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:  # a file name that is not UTF-8: its bytes are kept, escaped
        return finite_json(value, indent=indent)
    # json.dumps has escaped C0; and the others stand inside strings only.
    return STEERING.sub(
        lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text
    )


def finite_json(value: object, **how: Any) -> str:
    """The value as `json.dumps` gives it, with null for NaN and the infinities: JSON has no others."""
    try:
        return json.dumps(value, allow_nan=False, **how)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False, **how)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value
