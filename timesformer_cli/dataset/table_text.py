"""The text of a table's file, or a list's, whatever its encoding; what is none is named."""

import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from timesformer_cli.errors import UsageError
from timesformer_cli.video.listed import LINE_BREAK, decode_wide, video_container

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
SEPARATOR_LINE = re.compile(r"\"?sep=(.)\"?\s*", re.IGNORECASE)  # the first line of Excel's files
WORKBOOKS = (("xl/", "an Excel workbook (.xlsx)"), ("Index/", "a Numbers document"))


def read_text(
    source: Path,
    what: str = "a table",
    save: str = "save the table as CSV",
    *,
    annotations: bool = False,
) -> str:
    """The text of a table, or of what else is expected; raises UsageError where a file is none.

    With `annotations` it may be JSON as a whole.
    """
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
    kind = None if annotations and source.suffix.lower() == ".json" else json_kind(text)
    if kind == "lines" or (kind and not annotations):
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


def json_kind(text: str) -> str | None:
    """`json` for a text that is JSON, `lines` where its first line is; a name may begin with a bracket, too."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    for kind, part in (("json", text), ("lines", text.lstrip().splitlines()[0])):
        try:
            return kind if isinstance(json.loads(part), Mapping | list) else None
        except (ValueError, RecursionError):
            pass
    return None
