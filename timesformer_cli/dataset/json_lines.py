"""JSON whose objects know the line on which they begin, so that an error can name it."""

import json
from bisect import bisect
from json.decoder import JSONObject  # type: ignore[attr-defined]
from json.scanner import py_make_scanner  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

from timesformer_cli.errors import UsageError


class PlacedObject(dict[str, Any]):
    """An object of a JSON file, and its line, counted from 1."""

    line: int = 1


class _Twice(Exception):
    """A key that stands twice in one object: the first value would be lost without a word."""


def read_placed_json(source: Path, text: str) -> Any:
    """The value of a JSON text, its objects as `PlacedObject`.

    Raises UsageError with the line for what is no JSON, and for a key that stands twice.
    """
    try:
        return _Decoder(source, text).decode(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{source}:{error.lineno}: is not JSON ({error.msg})") from error
    except RecursionError as error:
        raise UsageError(f"{source}: is JSON that is nested too deeply") from error


class _Decoder(json.JSONDecoder):
    """Python's own decoder of JSON, told where each object begins."""

    def __init__(self, source: Path, text: str) -> None:
        super().__init__(object_pairs_hook=_placed)
        self._source = source
        self._breaks = [at for at, sign in enumerate(text) if sign == "\n"]
        self.parse_object = self._object
        self.scan_once = py_make_scanner(self)

    def _object(self, text_and_end: tuple[str, int], *how: Any) -> tuple[Any, int]:
        line = bisect(self._breaks, text_and_end[1] - 1) + 1
        try:
            value, end = JSONObject(text_and_end, *how)
        except _Twice as error:
            raise UsageError(f"{self._source}:{line}: '{error}' stands twice here") from None
        value.line = line
        return value, end


def _placed(pairs: list[tuple[str, Any]]) -> PlacedObject:
    value = PlacedObject()
    for key, part in pairs:
        if key in value:
            raise _Twice(key)
        value[key] = part
    return value
