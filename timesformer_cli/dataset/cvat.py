"""Exports of CVAT (XML): tracks of "CVAT for video", and tagged frames of "CVAT for images"."""

import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from timesformer_cli.dataset.part_times import seconds_of_frame
from timesformer_cli.dataset.split_names import split_named
from timesformer_cli.dataset.table_row import TableRow
from timesformer_cli.errors import UsageError

TASKS = ("task", "job")
SHAPES = frozenset("box polygon polyline points cuboid ellipse mask skeleton".split())


@dataclass(slots=True)
class _Span:
    """Frames in which something has a label: from the first up to the one before `end`."""

    line: int
    label: str
    task: str
    first: int
    end: int


@dataclass(slots=True)
class _Reader:
    """Hears of the elements of an export as they come."""

    source: Path
    unused: dict[str, None]
    parser: expat.XMLParserType
    open: list[str] = field(default_factory=list)
    text: str = ""
    task: dict[str, str] = field(default_factory=dict)  # of the task that is being described
    tasks: dict[str, dict[str, str]] = field(default_factory=dict)
    spans: list[_Span] = field(default_factory=list)
    track: tuple[str, str] | None = None  # its label and its task
    image: tuple[int, str] | None = None  # its number and its task
    seen: _Span | None = None  # what the track shows now

    def begin(self, name: str, values: Mapping[str, str]) -> None:
        self.text = ""
        if not self.open and name != "annotations":
            raise self.fault(f"is XML of <{name}>, and CVAT's is of <annotations>; save a CSV")
        self.open.append(name)
        if name == "track":
            self.track = self.needed(values, "label"), values.get("task_id", "")
        elif name == "image":
            self.image = self.number(values, "id"), values.get("task_id", "")
        elif name == "tag" and self.image is not None:
            at, task = self.image
            line, label = self.parser.CurrentLineNumber, self.needed(values, "label")
            self.spans.append(_Span(line, label, task, at, at + 1))
        elif name in SHAPES and self.track is not None:
            self.shape(values)
        elif name in SHAPES:
            self.unused[f"{name} of single images"] = None
        elif name == "attribute" and (self.track or self.image):
            self.unused[f"attribute {values.get('name', '')}".strip()] = None

    def shape(self, values: Mapping[str, str]) -> None:
        """A track's place in one frame; where it is outside, the track is not seen from there on."""
        assert self.track is not None
        at, (label, task) = self.number(values, "frame"), self.track
        if self.seen is not None and at < self.seen.end:
            raise self.fault(f"frame {at} of a track stands behind its frame {self.seen.end - 1}")
        if (
            values.get("outside") == "1"
        ):  # it was seen up to here, whether each frame is listed or not
            if self.seen is not None:
                self.seen.end = at
            self.seen = None
        elif self.seen is None:
            self.seen = _Span(self.parser.CurrentLineNumber, label, task, at, at + 1)
            self.spans.append(self.seen)
        else:
            self.seen.end = at + 1

    def end(self, name: str) -> None:
        self.open.pop()
        if name == "track":
            self.track = self.seen = None
        elif name == "image":
            self.image = None
        elif self.open and self.open[-1] in TASKS and name in ("id", "name", "source", "subset"):
            self.task[name] = self.text.strip()
        elif name in TASKS:
            self.tasks[self.task.get("id", "")] = self.task
            self.task = {}

    def characters(self, text: str) -> None:
        self.text += text

    def refuse(self, *declared: object) -> None:
        raise self.fault("declares a document type, which CVAT's exports do not")

    def needed(self, values: Mapping[str, str], name: str) -> str:
        if not values.get(name, "").strip():
            raise self.fault(f"<{self.open[-1]}> without '{name}'")
        return values[name].strip()

    def number(self, values: Mapping[str, str], name: str) -> int:
        text = self.needed(values, name)
        if not text.isdecimal():
            raise self.fault(f"'{name}' of <{self.open[-1]}> is '{text}', which is no frame")
        return int(text)

    def fault(self, what: str) -> UsageError:
        return UsageError(f"{self.source}:{self.parser.CurrentLineNumber}: {what}")


def cvat_rows(
    source: Path, text: str, fps: float | None, unused: dict[str, None]
) -> list[TableRow]:
    """The clips of an export: a track is the part of its video in which it is seen.

    Frames that follow one another with one tag are one part. What is not used is added to `unused`.
    Raises UsageError that says file and line.
    """
    # As text it is UTF-8, whatever its declaration says of the file that it was.
    parser = expat.ParserCreate("utf-8")
    reader = _Reader(source, unused, parser)
    parser.StartElementHandler, parser.EndElementHandler = reader.begin, reader.end
    parser.CharacterDataHandler = reader.characters
    parser.StartDoctypeDeclHandler = reader.refuse
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise UsageError(f"{source}:{error.lineno}: is not XML ({reason})") from error
    return [_row(source, span, reader.tasks, fps) for span in _joined(reader.spans)]


def _joined(spans: list[_Span]) -> list[_Span]:
    """The spans in order, those of one label that meet put together."""
    joined: list[_Span] = []
    last: defaultdict[tuple[str, str], _Span | None] = defaultdict(lambda: None)
    for span in sorted(spans, key=lambda span: (span.task, span.first)):
        before = last[span.task, span.label]
        if before is not None and span.first <= before.end:
            before.end = max(before.end, span.end)
        else:
            last[span.task, span.label] = span
            joined.append(span)
    return joined


def _row(
    source: Path, span: _Span, tasks: Mapping[str, Mapping[str, str]], fps: float | None
) -> TableRow:
    where = f"{source}:{span.line}"
    task = tasks.get(span.task) if span.task else next(iter(tasks.values()), None)
    name = (task or {}).get("source") or (task or {}).get("name")
    if task is None or not name:
        raise UsageError(f"{where}: no <source> in <meta> says which video this is")
    return TableRow(
        where=where,
        path=name,
        label=span.label,
        split=split_named(task.get("subset", "")),
        start=seconds_of_frame(where, span.first, fps),
        end=seconds_of_frame(where, span.end, fps),
        names=(os.path.splitext(os.path.basename(name))[0],),
    )
