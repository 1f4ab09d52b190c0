"""How answers are written: where to, in which format, and what the formats share.

Each command has a table of renderers (`cli/show/`), one per format, which all take the same result.
This file chooses among them, opens the stream, and has what they share: JSON that survives any file
name, CSV cells that no spreadsheet takes for formulas, bars, percentages, Markdown.
"""

import csv
import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console

from timesformer_cli.cli.stderr import printable, terminated_in_order
from timesformer_cli.cli.streams import require_stdout
from timesformer_cli.errors import UsageError
from timesformer_cli.files import AnyFile, delivering, is_stream, open_stream, require_output
from timesformer_cli.json_text import STEERING, dumps
from timesformer_cli.parquet import Columns, parquet_rows, require_parquet
from timesformer_cli.results import to_json

PLAIN = ("", ".txt")  # suffixes of a table; they contradict no --format
BAR = 16  # characters of a full bar
SUFFIXES = {".json": "json", ".jsonl": "jsonl", ".csv": "csv", ".md": "markdown"}
SUFFIXES |= {
    f".{name}": name
    for name in ("srt", "vtt", "otio", "edl", "npy", "parquet", "lance", "m3u", "html")
}
PARQUET = "parquet"
LONGEST_LABEL = 120  # characters that a table shows
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes cells that begin so


def choose_format(
    asked: str | None,
    output: Path | None,
    renderers: Mapping[str, object],
    plain: str = "table",
) -> str:
    """The format asked for; else the one that the output file's suffix names; else the plain one.

    Raises UsageError where a file's suffix names no format of this command, or another than
    `asked`. What is no regular file may be called anything.
    """
    suffix = output.suffix.lower() if output else ""
    named = SUFFIXES.get(suffix)
    free = output is None or is_stream(output)  # no regular file
    if asked and named not in (None, asked) and not free:
        raise UsageError(
            f"{output}: --format {asked} contradicts {suffix}, which means {named}; leave out "
            "--format, or give another suffix"
        )
    if asked or named in renderers:
        if PARQUET in (asked, named):
            require_parquet()
            if free:  # where it is cut short, half of it would look whole
                raise UsageError("--format parquet needs a file; name it with -o")
        return asked or str(named)
    if suffix not in PLAIN and not free:
        known = [f"{end} ({name})" for end, name in SUFFIXES.items() if name in renderers]
        raise UsageError(
            f"{output}: no format goes by {suffix} here; there are {', '.join(known)} and .txt "
            f"({plain}), or say --format {' | '.join(renderers)}"
        )
    return plain


def require_writable(
    output: Path | None, inputs: Sequence[AnyFile] = (), beside: Sequence[Path | None] = ()
) -> None:
    """Raise UsageError or TsfError, before any work is done, where an answer cannot be written.

    `output` None is stdout; `beside` are the other files that the command writes, None where it
    does not. No two of all these may be one file, and none may be one of the `inputs`.
    """
    if output is None:
        require_stdout()
    files = [path for path in (output, *beside) if path is not None]
    for number, path in enumerate(files):
        require_output(path, [*inputs, *files[:number]])


@contextmanager
def writing(output: Path | None) -> Iterator[TextIO]:
    """The stream to write an answer to: stdout, or a file that appears whole or not at all.

    What is no regular file (a FIFO, a device, /dev/stdout) is written to as the answer comes.
    Raises UsageError where nothing can be written.
    """
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    try:
        with terminated_in_order():
            if is_stream(output):
                with io.TextIOWrapper(open_stream(output), encoding="utf-8", newline="") as stream:
                    yield stream
            else:
                with (
                    delivering(output) as part,
                    part.open("w", encoding="utf-8", newline="") as stream,
                ):
                    yield stream
    except BrokenPipeError:  # whoever read the FIFO has gone
        raise
    except OSError as error:
        raise UsageError(f"{output}: cannot be written ({error.strerror})") from error


def write_json(result: Any, stream: TextIO) -> None:
    """Write a result, or a list of them, whole, indented for readers."""
    value = [to_json(each) for each in result] if isinstance(result, list) else to_json(result)
    stream.write(dumps(value, indent=2, encoding=stream.encoding) + "\n")


def write_json_array(results: Iterable[Any], stream: TextIO) -> None:
    """Write the results, once all are known, as one array."""
    write_json(list(results), stream)


def write_json_lines(results: Iterable[Any], stream: TextIO) -> None:
    """Write each result as one line, as soon as it is known."""
    for result in results:
        stream.write(dumps(to_json(result), encoding=stream.encoding) + "\n")
        stream.flush()


def write_csv(rows: Iterable[Mapping[str, object]], columns: Sequence[str], stream: TextIO) -> None:
    """Write a heading, then each row as it comes; where a row lacks a column the cell is empty."""
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: csv_cell(value) for name, value in row.items()})
        stream.flush()


def write_parquet(rows: Iterable[Mapping[str, Any]], columns: Columns, stream: TextIO) -> None:
    """Write each row as it comes, in groups, as Parquet: the bytes below the text stream.

    A path that is not UTF-8 has its other bytes escaped.
    """
    stream.flush()
    with parquet_rows(stream.buffer, columns) as add:
        for row in rows:
            add({name: _utf8(value) for name, value in row.items()})


def _utf8(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet takes for a formula, and without bytes that cannot be written.

    Nor is anything left in it that a terminal obeys.
    """
    if not isinstance(value, str):
        return value
    formula = value.startswith(FORMULA)
    value = STEERING.sub(lambda found: found[0].encode("unicode_escape").decode(), _utf8(value))
    return f"'{value}" if formula else value


def percent(share: float | None, digits: int = 1) -> str:
    """`0.955` as `95.5 %`; None as an empty string."""
    return "" if share is None else f"{100 * share:.{digits}f} %"


def faster(milliseconds: float, other: float) -> str:
    """The first time against the second: `1.3x faster than`, `2x slower than`, `as fast as`."""
    ratio = max(milliseconds, other) / min(milliseconds, other)
    if ratio < 1.05:
        return "as fast as"
    return (
        f"{ratio:.{1 if ratio < 10 else 0}f}x {'slower' if milliseconds > other else 'faster'} than"
    )


def bar(share: float, console: Console, width: int = BAR) -> str:
    """A share from 0 to 1 as a bar of up to `width` characters."""
    if console.options.ascii_only:
        return "#" * round(share * width)
    eighths = round(share * width * 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()


def shortened(text: str, width: int) -> str:
    """The text without its middle where it is too long; of a path, the end says the most."""
    if len(text) <= width:
        return text
    head = (width - 1) // 3
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def label_cell(label: str) -> str:
    """A label as a table shows it: whole, or of a very long one its two ends."""
    return shortened(printable(label), LONGEST_LABEL)


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table; columns of numbers are aligned to the right."""
    cells = [[_markdown_cell(value) for value in row] for row in rows]
    aligned = [
        "---:" if index and _numeric(cells, index) else "---" for index in range(len(headings))
    ]
    lines = [headings, aligned, *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _markdown_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 100 else f"{value:.1f}"
    return printable(str(value)).replace("|", "\\|")


def _numeric(rows: list[list[str]], index: int) -> bool:
    cells = [row[index] for row in rows if row[index]]
    return bool(cells) and all(cell.lstrip("+-")[:1].isdigit() for cell in cells)
