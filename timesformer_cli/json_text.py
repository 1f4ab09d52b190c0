"""JSON that survives any file name, and steers no terminal."""

import json
import re

# What a terminal obeys or reorders text by: control characters (C0, DEL, C1), ends of lines and
# paragraphs, and the marks of writing direction.
STEERING = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def dumps(value: object, indent: int | None = None, encoding: str | None = None) -> str:
    """The value as JSON that can be written in that encoding, UTF-8 where none is said.

    What steers a terminal is escaped; whoever parses it gets the same value.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:  # a file name that is not UTF-8: its bytes are kept, escaped
        return json.dumps(value, indent=indent)
    # json.dumps has escaped C0; and the others stand inside strings only.
    return STEERING.sub(
        lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text
    )
