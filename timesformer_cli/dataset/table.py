"""Tables and lists of labelled clips as other programs write them: their text, headings and rows."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.dataset.class_columns import find_class_columns, labels_of_row
from timesformer_cli.dataset.multi_label import join_labels, split_labels
from timesformer_cli.dataset.split_names import SPLITS, spelled_twice, split_named
from timesformer_cli.dataset.table_text import read_text
from timesformer_cli.errors import UsageError
from timesformer_cli.video.listed import LINE_BREAK

DELIMITERS = {"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma", " ": "space"}
# Headings that say what a column holds, without case, spaces and signs. The first is ours, and is
# taken where others of its kind stand beside it.
PATH = (
    "path paths videopath video videos videoname videofile file files filename filepath clip clips "
    "clippath clipname clipfile relativepath relpath"
).split()
LABEL = (
    "label labels labelname labelid labelindex class classes classname classid classindex category "
    "categoryname categoryid target action actionname activity"
).split()
# Columns that hold no class where each class has a column of its own.
BESIDE = ("split", "group")
# A list without headings: a path, perhaps in quotes, and a class number, which Excel may write 3.0.
NUMBERED = re.compile(r"""("(?:[^"]|"")+"|.+?)[\s,;|]+"?(\d+)(?:\.0*)?"?""")
MORE = re.compile(r"(.+?)[\s,;|]+(.+)")  # a path with something behind it, such as a length
SEPARATOR_LINE = re.compile(r"\"?sep=(.)\"?\s*", re.IGNORECASE)  # the first line of Excel's files


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """What a row says of a clip, as it is written there."""

    where: str  # file and line
    path: str
    label: str
    split: str | None = None  # one of SPLITS
    group: str | None = None
    labels: tuple[str, ...] | None = None  # of clips that may have several; None is `label` alone
    complete: bool = True  # whether no other row may add labels to the same clip


def read_rows(
    source: Path,
    labels: tuple[str, ...] | None,
    group_by: str,
    *,
    multi_label: bool = False,
    note: NoteCallback = ignore_note,
) -> list[TableRow]:
    """The rows of a table with headings, or of a list of paths and class numbers.

    `labels` names the class numbers of a list; `group_by` is the heading of the groups. With
    `multi_label` a clip may have several labels, `run|walk` in a cell, or a column for each class
    with 0 and 1; `note` hears of columns that hold neither. Raises UsageError that says file and
    line.
    """
    lines = LINE_BREAK.split(read_text(source))
    given = SEPARATOR_LINE.fullmatch(lines[0])
    if given:
        lines[0] = ""
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return []
    delimiters = given[1] if given else "".join(DELIMITERS)
    where = f"{source}:{first + 1}"
    delimiter = _find_headings(where, lines[first], delimiters, class_columns=multi_label)
    if delimiter is None:
        rows = _numbered(source, lines, labels)
    elif multi_label and not _columns(_cells(lines[first], delimiter), LABEL):
        rows = _under_classes(source, lines, delimiter, group_by, note)
    else:
        rows = _under_headings(source, lines, delimiter, group_by)
    return list(map(_with_labels, rows) if multi_label else rows)


def _with_labels(row: TableRow) -> TableRow:
    """The row with the labels that its cell holds; rows of class columns have theirs."""
    if row.labels is not None:
        return row
    labels = split_labels(row.label)
    if "" in labels:
        raise UsageError(f"{row.where}: an empty label in '{row.label}'")
    return replace(row, labels=labels, complete=False)


def _find_headings(
    where: str, line: str, delimiters: str, *, class_columns: bool = False
) -> str | None:
    """The delimiter under which a line names a path and a label; None where it is no heading.

    With `class_columns` a path alone will do, with other columns beside it. Raises UsageError for a
    heading that names only one of them, or one of them twice.
    """
    parsed = {delimiter: _cells(line, delimiter) for delimiter in delimiters}
    known = {
        delimiter: (_columns(cells, PATH), _columns(cells, LABEL))
        for delimiter, cells in parsed.items()
    }
    for delimiter, (paths, labels) in known.items():
        if len(paths) == len(labels) == 1:
            return delimiter
    best = max(known, key=lambda delimiter: sum(map(len, known[delimiter])))
    if class_columns:
        wide = [each for each, (paths, labels) in known.items() if len(paths) == 1 and not labels]
        widest = max(wide, key=lambda each: len(parsed[each]), default=None)
        if widest is not None and len(parsed[widest]) > 1:
            return widest
    cells, columns = parsed[best], known[best]
    if not any(columns) or any(re.fullmatch(r"[\d.]+", cell) for cell in cells):
        return None
    there = ", ".join(cells)
    for names, found, kind in zip((PATH, LABEL), columns, ("path", "label"), strict=True):
        if not found:
            raise UsageError(
                f"{where}: no column '{kind}'; there are {there}; names known for it: "
                f"{', '.join(names)}"
                + ("; --multi-label reads a column of 0 and 1 for each class" * (kind == "label"))
            )
        if len(found) > 1:
            named = " and ".join(f"'{cells[place]}'" for place in found)
            raise UsageError(
                f"{where}: {named} may each be the {kind}; call the one that is '{kind}', and the "
                "others something else"
            )
    return None


def _columns(cells: Sequence[str], names: Sequence[str]) -> list[int]:
    """The places of the headings that are known: of our own name where it is there, else of all."""
    plain = [re.sub(r"[\s_.-]+", "", cell).casefold() for cell in cells]
    own = [place for place, cell in enumerate(plain) if cell == names[0]]
    return own or [place for place, cell in enumerate(plain) if cell in names]


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        rows = list(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    except csv.Error:
        return []
    return [cell.strip() for cell in rows[0]]


def _under_headings(
    source: Path, lines: Sequence[str], delimiter: str, group_by: str
) -> Iterator[TableRow]:
    headings, rows = _parsed(source, lines, delimiter)
    path_at, label_at = _columns(headings, PATH)[0], _columns(headings, LABEL)[0]
    for where, cells in rows:
        path, label = cells[path_at], cells[label_at]
        if not path or not label:
            raise UsageError(f"{where}: no {'label' if path else 'path'}")
        _require_one_line(source, where, path, label)
        yield TableRow(where=where, path=path, label=label, **_beside(headings, cells, group_by))


def _under_classes(
    source: Path, lines: Sequence[str], delimiter: str, group_by: str, note: NoteCallback
) -> Iterator[TableRow]:
    """Rows of a table with a column for each class: 1 where a clip has it, 0 where not."""
    headings, parsed = _parsed(source, lines, delimiter)
    rows = list(parsed)
    path_at = _columns(headings, PATH)[0]
    beside = {path_at}
    beside |= {n for n, name in enumerate(headings) if name.lower() in (*BESIDE, group_by.lower())}
    classes = find_class_columns(source, headings, rows, beside, note)
    for where, cells in rows:
        path = cells[path_at]
        if not path:
            raise UsageError(f"{where}: no path")
        _require_one_line(source, where, path)
        labels = labels_of_row(where, cells, classes)
        yield TableRow(
            where=where,
            path=path,
            label=join_labels(labels),
            labels=labels,
            **_beside(headings, cells, group_by),
        )


def _beside(headings: Sequence[str], cells: Sequence[str], group_by: str) -> dict[str, Any]:
    row = dict(zip((heading.lower() for heading in headings), cells, strict=True))
    return {
        "split": split_named(row.get("split", "")),
        "group": row.get(group_by.lower()) or None,
    }


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


def _numbered(
    source: Path, lines: Sequence[str], labels: tuple[str, ...] | None
) -> Iterator[TableRow]:
    """Rows of lines with a path and a class number, parted by a space, tab, comma, `;` or `|`."""
    above = True  # whether this may have been meant for a heading
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{source}:{number}"
        parts = NUMBERED.fullmatch(line.strip())
        if parts is None:
            raise UsageError(_unnumbered(where, line.strip(), above))
        above, path, label = False, parts[1], parts[2]
        if path.startswith('"') and not (source.parent / path).exists():
            if path == '"' or not path.endswith('"'):
                raise UsageError(f"{where}: a quote that is not closed")
            path = path[1:-1].replace('""', '"')
        elif (
            (more := MORE.fullmatch(path))
            and (source.parent / more[1]).is_file()
            and not (source.parent / path).exists()
        ):
            raise UsageError(
                f"{where}: '{more[2]}' stands between the path and the class number; take it out"
            )
        if labels is not None:
            if int(label) >= len(labels):
                raise UsageError(f"{where}: class {label} of {len(labels)} (from 0)")
            label = labels[int(label)]
        yield TableRow(where=where, path=path, label=label)


def _unnumbered(where: str, line: str, above: bool) -> str:
    if not above:
        return f"{where}: '{line}' is not a path and a class number (0, 1, ...), as the lines above"
    return (
        f"{where}: neither a heading with known columns nor a path and a class number: '{line}'; "
        f"give it a heading, path,label (or one of {', '.join([*PATH[1:], *LABEL[1:]])})"
    )
