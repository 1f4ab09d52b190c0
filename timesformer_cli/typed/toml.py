"""A scheme in a TOML file, as the text that one would type."""

import sys
from pathlib import Path
from typing import Any

from timesformer_cli.errors import UsageError
from timesformer_cli.files import regular_file
from timesformer_cli.typed.passes import BESIDE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_TOML = 1 << 16  # bytes
MOST_NUMBER = 10**6


def definition_in(path: Path) -> str:
    """The definition in a file: facts of the scheme, and its passes as `[[passes]]`.

    Raises UsageError for a file that is unreadable, too large, or something else.
    """
    try:
        with regular_file(path) as (file, _):
            content = file.read(LARGEST_TOML + 1)
        if len(content) > LARGEST_TOML:
            raise UsageError(f"more than {LARGEST_TOML:,} bytes are too many for a scheme")
        values = tomllib.loads(content.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"not readable as TOML ({error})") from error
    passes = values.pop("passes", None)
    if not isinstance(passes, list) or not passes:
        raise UsageError("no [[passes]], each with a sentence")
    facts = " ".join(_word(key, value) for key, value in values.items())
    return "; ".join([facts, *(_pass(one) for one in passes)])


def _pass(values: Any) -> str:
    if not isinstance(values, dict) or not isinstance(values.get("sentence"), str):
        raise UsageError("a pass without a sentence = 't h w -> (groups) (members)'")
    words = [_plain("sentence", values["sentence"], ";=")]
    words += [_word(key, value) for key, value in values.items() if key not in ("sentence", BESIDE)]
    if BESIDE in values:
        words += [BESIDE, _pass(values[BESIDE])]
    return " ".join(words)


def _word(key: str, value: Any) -> str:
    """A fact as one word; a fact that is true is its key, one that is false is nothing."""
    if isinstance(value, bool):
        return _plain(key, key if value else "", ";= ")
    many = value if isinstance(value, list) else [value]
    if not many or not all(type(one) is str or _is_small(one) for one in many):
        raise UsageError(f"{key} is neither a word nor a whole number nor a list of them")
    return f"{_plain(key, key, ';= ')}={','.join(_plain(key, str(one), ';= ') for one in many)}"


def _is_small(value: Any) -> bool:
    """Whether it is a whole number that can be written in words of few digits."""
    return type(value) is int and abs(value) < MOST_NUMBER


def _plain(key: str, text: str, marks: str) -> str:
    """The text, where it cannot be taken for more than one value."""
    if any(mark in text for mark in marks) or "\n" in text:
        raise UsageError(f"{key!a} is {text!a:.80}: one value has none of '{marks}' in it")
    return text
