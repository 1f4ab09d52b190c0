"""Results as JSON has them: which contract they keep, then the fields of their dataclass, in order.

A field's metadata says what is special about it: `field(default=(), metadata=IF_ANY)`. The JSON
Schema of a result (`schema.py`) is made from the same dataclass and metadata.
"""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

SCHEMA = 1  # of all results; it is raised when a field goes or changes its meaning
WHEN, AXES, DIGITS = "when", "axes", "digits"
# The field is left out where it is empty or None; or always.
IF_ANY: Mapping[str, Any] = MappingProxyType({WHEN: None})
UNWRITTEN: Mapping[str, Any] = MappingProxyType({WHEN: ""})
Getter = TypeVar("Getter", bound=Callable[[Any], Any])


def when(flag: str) -> Mapping[str, Any]:
    """The field is left out where that flag of the same result is not set."""
    return {WHEN: flag}


def array(axes: int, digits: int) -> Mapping[str, Any]:
    """The field is a NumPy array of so many axes; its numbers are written with so many digits."""
    return {AXES: axes, DIGITS: digits}


def written(getter: Getter) -> Getter:
    """Mark what stands under `@property` as a part of the JSON, behind the fields."""
    getter.__dict__["written"] = True
    return getter


def to_json(result: Any) -> dict[str, Any]:
    """A result as one object of JSON."""
    return {"schema": SCHEMA, **to_plain(result)}


def to_plain(value: Any) -> Any:
    """A part of a result: dataclasses as dicts, tuples and arrays as lists."""
    if is_dataclass(value):
        kind: type = type(value)
        plain = {
            name: _rounded(getattr(value, name).tolist(), about[DIGITS])
            if DIGITS in about
            else to_plain(getattr(value, name))
            for name, about in written_fields(kind).items()
            if WHEN not in about or getattr(value, about[WHEN] or name)
        }
        return plain | {name: getattr(value, name) for name in written_properties(kind)}
    if isinstance(value, dict):
        return {name: to_plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(part) for part in value]
    return value


@cache
def written_fields(kind: type) -> dict[str, Mapping[str, Any]]:
    """The fields that may be written, in order, with their metadata."""
    every = fields(kind)
    return {field.name: field.metadata for field in every if field.metadata.get(WHEN) != ""}


@cache
def written_properties(kind: type) -> tuple[str, ...]:
    """The properties that are written."""
    return tuple(
        name
        for name, member in vars(kind).items()
        if isinstance(member, property) and hasattr(member.fget, "written")
    )


def _rounded(value: Any, digits: int) -> Any:
    if isinstance(value, list):
        return [_rounded(part, digits) for part in value]
    return round(value, digits)
