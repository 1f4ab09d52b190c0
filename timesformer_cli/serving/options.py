"""The options of `tsf serve`, and what a request may ask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from timesformer_cli.inference.classify import ClassifyOptions
from timesformer_cli.timelines.options import TimelineOptions

Fields = Mapping[str, Sequence[str]]  # the options of a request: each name with what it was given


@dataclass(frozen=True, kw_only=True, slots=True)
class ServeOptions:
    """How a server answers."""

    classify: ClassifyOptions  # the model, and what requests do not say otherwise
    version: str = ""  # of the program
    root: Path | None = None  # paths in requests lie below it; None refuses them
    token: bytes | None = None  # that requests must know
    hosts: frozenset[str] | None = None  # names that it answers to; None is any
    max_upload: int = 2 << 30  # bytes
    queue: int = 32  # requests that are uploaded, waiting or under way at a time
    deadline: float = 300.0  # seconds for a request, its upload among them


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedOfVideo:
    """What a request asks of its video."""

    options: ClassifyOptions | TimelineOptions  # the second for windows
    normalise: bool = False  # whether vectors get length 1
    stream: bool = False  # whether windows are told as they come


class RequestReader(Protocol):
    """Reads the options of requests as the command of that name reads its command line."""

    def read(self, verb: str, fields: Fields) -> AskedOfVideo:
        """Raises UsageError with the command's own message."""
        ...

    def describe(self, verb: str) -> dict[str, dict[str, Any]]:
        """A JSON Schema for each option of a verb."""
        ...
