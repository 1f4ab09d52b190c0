"""Tables of labelled clips as other programs write them: their text, headings and rows."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.dataset.annotations import annotation_rows, is_annotation
from timesformer_cli.dataset.class_columns import find_class_columns, labels_of_row
from timesformer_cli.dataset.headings import (
    LABEL,
    find_headings,
    is_id,
    path_columns,
    places_of,
    time_columns,
    unused_note,
)
from timesformer_cli.dataset.multi_label import join_labels, split_labels
from timesformer_cli.dataset.numbered import numbered_rows
from timesformer_cli.dataset.part_times import parse_time, seconds_of_frame
from timesformer_cli.dataset.split_names import SPLITS, spelled_twice, split_named
from timesformer_cli.dataset.table_row import TableRow, names_of_id
from timesformer_cli.dataset.table_text import SEPARATOR_LINE, read_text
from timesformer_cli.errors import UsageError
from timesformer_cli.video.listed import LINE_BREAK

DELIMITERS = {"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma", " ": "space"}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Heading:
    """The heading of a table, and what its columns hold."""

    source: Path
    cells: Sequence[str]
    names: Sequence[str]  # the cells in lower case
    path: int  # the place of the column
    is_id: bool  # whether paths are names without folder and suffix
    times: Mapping[str, int]  # the places of the columns that say where a part begins and ends
    group_by: str  # in lower case
    fps: float | None

    @classmethod
    def of_cells(
        cls, source: Path, where: str, cells: Sequence[str], group_by: str, fps: float | None
    ) -> "_Heading":
        path = path_columns(cells)[0]
        return cls(
            source=source,
            cells=cells,
            names=[name.lower() for name in cells],
            path=path,
            is_id=is_id(cells[path]),
            times=time_columns(where, cells),
            group_by=group_by.lower(),
            fps=fps,
        )

    def beside(self, *more: str) -> set[int]:
        """The places of columns that say something of a clip beside its label, and of `more`."""
        known = ("split", self.group_by, *more)
        named = (at for at, name in enumerate(self.names) if name in known)
        return {self.path, *self.times.values(), *named}

    def said(self, where: str, cells: Sequence[str]) -> dict[str, Any]:
        """What a row says beside its label; raises UsageError for a missing path or a false time."""
        path = cells[self.path]
        if not path:
            raise UsageError(f"{where}: no path")
        row = dict(zip(self.names, cells, strict=True))
        times = {
            kind: parse_time(where, self.cells[at], cells[at]) for kind, at in self.times.items()
        }
        for kind in ("start", "end"):
            if (frame := times.pop(f"{kind}_frame", None)) is not None:
                times[kind] = seconds_of_frame(where, frame, self.fps)
        start, end = times.get("start") or 0.0, times.get("end")
        return {
            "where": where,
            "path": path,
            "split": split_named(row.get("split", "")),
            "group": row.get(self.group_by) or None,
            "start": start,
            "end": end,
            **(names_of_id(path, start, end) if self.is_id else {}),
        }


def read_rows(
    source: Path,
    labels: tuple[str, ...] | None,
    group_by: str,
    *,
    multi_label: bool = False,
    fps: float | None = None,
    note: NoteCallback = ignore_note,
) -> list[TableRow]:
    """The rows of a table with headings, of a list of paths and class numbers, or of annotations.

    `labels` names the class numbers of a list; `group_by` is the heading of the groups; `fps` is
    the rate of what counts in frames. With `multi_label` a clip may have several labels, `run|walk`
    in a cell, or a column for each class with 0 and 1. `note` hears of columns that are not used.
    Raises UsageError that says file and line.
    """
    text = read_text(source, annotations=True)
    if is_annotation(source, text):
        rows: Iterable[TableRow] = annotation_rows(source, text, fps, note)
        return list(map(_with_labels, rows) if multi_label else rows)
    lines = LINE_BREAK.split(text)
    given = SEPARATOR_LINE.fullmatch(lines[0])
    if given:
        lines[0] = ""
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return []
    delimiters = given[1] if given else "".join(DELIMITERS)
    where = f"{source}:{first + 1}"
    delimiter = find_headings(where, lines[first], delimiters, class_columns=multi_label)
    if delimiter is None:
        rows = numbered_rows(source, lines, labels)
    else:
        cells, parsed = _parsed(source, lines, delimiter)
        heading = _Heading.of_cells(source, where, cells, group_by, fps)
        if multi_label and not places_of(cells, LABEL):
            rows = _under_classes(heading, list(parsed), note)
        else:
            rows = _under_headings(heading, parsed, note)
    return list(map(_with_labels, rows) if multi_label else rows)


def _with_labels(row: TableRow) -> TableRow:
    """The row with the labels that its cell holds; rows of class columns have theirs."""
    if row.labels is not None:
        return row
    labels = split_labels(row.label)
    if "" in labels:
        raise UsageError(f"{row.where}: an empty label in '{row.label}'")
    return replace(row, labels=labels, complete=False)


def _under_headings(
    heading: _Heading, rows: Iterator[tuple[str, list[str]]], note: NoteCallback
) -> Iterator[TableRow]:
    (label_at, *_) = places_of(heading.cells, LABEL)
    if unused := unused_note(heading.cells, heading.beside() | {label_at}):
        note(f"{heading.source}: {unused}")
    for where, cells in rows:
        said, label = heading.said(where, cells), cells[label_at]
        if not label:
            raise UsageError(f"{where}: no label")
        _require_one_line(heading.source, where, said["path"], label)
        yield TableRow(label=label, **said)


def _under_classes(
    heading: _Heading, rows: Sequence[tuple[str, list[str]]], note: NoteCallback
) -> Iterator[TableRow]:
    """Rows of a table with a column for each class: 1 where a clip has it, 0 where not."""
    beside = heading.beside("group")  # no class, though another column may be that of the groups
    classes = find_class_columns(heading.source, heading.cells, rows, beside, note)
    for where, cells in rows:
        said = heading.said(where, cells)
        _require_one_line(heading.source, where, said["path"])
        labels = labels_of_row(where, cells, classes)
        yield TableRow(label=join_labels(labels), labels=labels, **said)


def _require_one_line(source: Path, where: str, *cells: str) -> None:
    for cell in cells:
        if LINE_BREAK.search(cell) and not (source.parent / cell).exists():
            raise UsageError(f"{where}: a line break within quotes; is a quote missing?")


def _parsed(
    source: Path, lines: Sequence[str], delimiter: str
) -> tuple[list[str], Iterator[tuple[str, list[str]]]]:
    """The headings, and each row's place and cells; lengths and splits are checked."""
    rows = _records(source, lines, delimiter)
    _, headings = next(rows)
    return headings, _checked(source, headings, rows, delimiter)


def _checked(
    source: Path, headings: Sequence[str], rows: Iterator[tuple[int, list[str]]], delimiter: str
) -> Iterator[tuple[str, list[str]]]:
    lowered = [heading.lower() for heading in headings]
    splits: dict[str, None] = {}
    for number, cells in rows:
        where = f"{source}:{number}"
        if len(cells) != len(headings):
            raise UsageError(
                f"{where}: {len(cells)} cells under {len(headings)} headings; quote what has a "
                f"{DELIMITERS.get(delimiter, delimiter)} in it"
            )
        name = dict(zip(lowered, cells, strict=True)).get("split", "")
        if name and split_named(name) is None:
            raise UsageError(f"{where}: split '{name}'; there are {', '.join(SPLITS)}")
        splits[name.casefold()] = None
        yield where, cells
    if twice := spelled_twice(splits):
        raise UsageError(
            f"{source}: the splits {' and '.join(twice)} are one in two spellings; write one of them"
        )


def _records(source: Path, lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each row that is not empty."""
    ended = (f"{line.strip() if delimiter == ' ' else line}\n" for line in lines)
    reader = csv.reader(ended, delimiter=delimiter, strict=True, skipinitialspace=True)
    start = 1
    try:
        for cells in reader:
            if any(cells):
                yield start, [cell.strip() for cell in cells]
            start = reader.line_num + 1
    except csv.Error as error:
        if reader.line_num >= len(lines) or "field limit" in str(error):
            reason = "a quote that begins here is not closed"
        else:
            reason = f"{error}; write a quote within quotes twice"
        raise UsageError(f"{source}:{start}: {reason}") from error
