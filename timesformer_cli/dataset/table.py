"""Tables and lists of labelled clips as other programs write them: their text, headings and rows."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from timesformer_cli.dataset.split_names import SPLITS, spelled_twice, split_named
from timesformer_cli.errors import UsageError
from timesformer_cli.video.listed import LINE_BREAK, decode_wide, video_container

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
# A list without headings: a path, perhaps in quotes, and a class number, which Excel may write 3.0.
NUMBERED = re.compile(r"""("(?:[^"]|"")+"|.+?)[\s,;|]+"?(\d+)(?:\.0*)?"?""")
MORE = re.compile(r"(.+?)[\s,;|]+(.+)")  # a path with something behind it, such as a length
SEPARATOR_LINE = re.compile(r"\"?sep=(.)\"?\s*", re.IGNORECASE)  # the first line of Excel's files
# What other files begin with.
FOREIGN = (
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls)"),
    (b"PAR1", "a Parquet file"),
    (b"ARROW1", "an Arrow file"),
    (b"\x1f\x8b", "compressed (gzip)"),
    (b"BZh", "compressed (bzip2)"),
    (b"\xfd7zXZ", "compressed (xz)"),
    (b"\x28\xb5\x2f\xfd", "compressed (zstd)"),
    (b"7z\xbc\xaf", "an archive (7z)"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\x89HDF", "an HDF5 file"),
    (b"%PDF", "a PDF"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x80", "a Python pickle"),
    (b"{\\rtf", "a Rich Text document"),
)
WORKBOOKS = (("xl/", "an Excel workbook (.xlsx)"), ("Index/", "a Numbers document"))


@dataclass(frozen=True, kw_only=True, slots=True)
class TableRow:
    """What a row says of a clip, as it is written there."""

    where: str  # file and line
    path: str
    label: str
    split: str | None = None  # one of SPLITS
    group: str | None = None


def read_rows(source: Path, labels: tuple[str, ...] | None, group_by: str) -> list[TableRow]:
    """The rows of a table with headings, or of a list of paths and class numbers.

    `labels` names the class numbers of a list; `group_by` is the heading of the groups. Raises
    UsageError that says file and line.
    """
    lines = LINE_BREAK.split(read_text(source))
    given = SEPARATOR_LINE.fullmatch(lines[0])
    if given:
        lines[0] = ""
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return []
    delimiters = given[1] if given else "".join(DELIMITERS)
    delimiter = _find_headings(f"{source}:{first + 1}", lines[first], source, delimiters)
    if delimiter is None:
        return list(_numbered(source, lines, labels))
    return list(_under_headings(source, lines, delimiter, group_by))


def _find_headings(where: str, line: str, source: Path, delimiters: str) -> str | None:
    """The delimiter under which a line names a path and a label; None where it is no heading.

    Raises UsageError for a heading that names only one of them, or one of them twice.
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
    cells, columns = parsed[best], known[best]
    if not any(columns) or any(re.fullmatch(r"[\d.]+", cell) for cell in cells):
        return None
    there = ", ".join(cells)
    for names, found, kind in zip((PATH, LABEL), columns, ("path", "label"), strict=True):
        if not found:
            raise UsageError(
                f"{where}: no column '{kind}'; there are {there}; names known for it: "
                f"{', '.join(names)}"
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
    rows = _records(source, lines, delimiter)
    _, headings = next(rows)
    path_at, label_at = _columns(headings, PATH)[0], _columns(headings, LABEL)[0]
    lowered = [heading.lower() for heading in headings]
    splits: dict[str, None] = {}
    for number, cells in rows:
        where = f"{source}:{number}"
        if len(cells) != len(headings):
            raise UsageError(
                f"{where}: {len(cells)} cells under {len(headings)} headings; quote what has a "
                f"{DELIMITERS.get(delimiter, delimiter)} in it"
            )
        path, label = cells[path_at], cells[label_at]
        if not path or not label:
            raise UsageError(f"{where}: no {'label' if path else 'path'}")
        for cell in (path, label):
            if LINE_BREAK.search(cell) and not (source.parent / cell).exists():
                raise UsageError(f"{where}: a line break within quotes; is a quote missing?")
        row = dict(zip(lowered, cells, strict=True))
        name = row.get("split", "")
        split = split_named(name)
        if name and split is None:
            raise UsageError(f"{where}: split '{name}'; there are {', '.join(SPLITS)}")
        splits[name.casefold()] = None
        yield TableRow(
            where=where,
            path=path,
            label=label,
            split=split,
            group=row.get(group_by.lower()) or None,
        )
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


def read_text(source: Path, what: str = "a table", save: str = "save the table as CSV") -> str:
    """The text of a table, or of what else is expected; raises UsageError where a file is none."""
    try:
        data = source.read_bytes()
    except OSError as error:
        raise UsageError(f"{source}: cannot be read ({error.strerror})") from error
    if kind := _foreign(data):
        raise UsageError(f"{source}: is {kind}, not {what}; {save} (UTF-8)")
    if kind := video_container(data[:4096]):
        raise UsageError(f"{source}: is a video ({kind}), not {what}")
    try:
        # "sig": spreadsheets put a byte order mark in front.
        wide = decode_wide(data)
        text = data.decode("utf-8-sig") if wide is None else wide
    except UnicodeDecodeError as error:
        line = len(re.findall(rb"\r\n|\r|\n", error.object[: error.start])) + 1
        byte = error.object[error.start]
        raise UsageError(
            f"{source}:{line}: not UTF-8 (byte {byte:#04x}); {save} (UTF-8), or convert it: "
            "iconv -f WINDOWS-1252 -t UTF-8"
        ) from error
    text = text.removeprefix("\ufeff")
    if "\0" in text:
        line = len(LINE_BREAK.findall(text[: text.index("\0")])) + 1
        raise UsageError(f"{source}:{line}: holds a NUL byte, so it is no text; {save}")
    if _is_json(text):
        raise UsageError(f"{source}: is JSON, not {what}; {save}")
    return text


def _foreign(data: bytes) -> str | None:
    """What a file is that is no text, by its first bytes and, for an archive, what is in it."""
    if not data.startswith(b"PK\x03\x04"):
        return next((kind for magic, kind in FOREIGN if data.startswith(magic)), None)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
            kind = archive.read("mimetype")[:100] if "mimetype" in names else b""
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError):
        names, kind = [], b""
    if b"opendocument.spreadsheet" in kind:
        return "an OpenDocument spreadsheet (.ods)"
    for folder, workbook in WORKBOOKS:
        if any(name.startswith(folder) for name in names):
            return workbook
    return "an archive (zip)"


def _is_json(text: str) -> bool:
    """Whether a text is JSON, or its first line is; a name may begin with a bracket, too."""
    if not text.lstrip().startswith(("{", "[")):
        return False
    for part in (text, text.lstrip().splitlines()[0]):
        try:
            return isinstance(json.loads(part), Mapping | list)
        except (ValueError, RecursionError):
            pass
    return False
