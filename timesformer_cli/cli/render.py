"""Classification results as a table, JSON, JSON lines or CSV; the only place that prints answers."""

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from timesformer_cli.cli.output import writing
from timesformer_cli.cli.report import note, printable, stderr
from timesformer_cli.errors import ExitCode, UsageError
from timesformer_cli.inference.classify import Failed, Result, to_dict

if TYPE_CHECKING:
    from timesformer_cli.video import Found

BAR, LABEL = 16, 26
CSV_COLUMNS = (
    "video status rank label index score model device dtype decoder error_kind error_message"
).split()


def choose_format(format: str | None, output: Path | None) -> str:
    """The format asked for; by the output file's suffix where none was; else a table."""
    suffix = output.suffix.removeprefix(".") if output else ""
    return format or (suffix if suffix in RENDER else "table")


def check_output(output: Path | None) -> None:
    """Raise UsageError, before any work is done, where no file can be written."""
    if output is not None and (
        output.is_dir() or not output.parent.is_dir() or not os.access(output.parent, os.W_OK)
    ):
        raise UsageError(f"{output}: cannot be written there")


def show(
    results: Iterable[Result], format: str, output: Path | None, items: "Sequence[Found]"
) -> ExitCode:
    """Write results as they come; the exit code says whether all videos were read.

    A file at `output` appears whole or not at all.
    """
    if not items:
        raise UsageError("no videos given")
    paths = [item.path for item in items]
    statuses: list[str] = []

    def passing() -> Iterator[Result]:
        for result in results:
            statuses.append(result.status)
            yield result

    with writing(output) as stream:
        RENDER[format](passing(), stream, paths)
    failed = sum(status != "ok" for status in statuses)
    if len(statuses) > 1:
        stderr().print(f"[dim]{len(statuses)} videos, {failed} failed[/]")
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


def as_table(results: Iterable[Result], stream: TextIO, paths: Sequence[str]) -> None:
    """One block of rows a video, columns aligned over all of them."""
    console = Console(file=stream, highlight=False)
    longest = max(len(printable(path)) for path in paths)
    rest = LABEL + BAR + len("100.0 %") + 3 * 2
    if console.is_terminal:
        longest = min(longest, max(12, console.width - rest))
    else:
        console.width = max(console.width, longest + rest)
    for number, result in enumerate(results):
        table = Table(box=None, show_header=number == 0, padding=(0, 2, 0, 0), pad_edge=False)
        table.add_column("video", width=longest, no_wrap=True)
        table.add_column("label", width=LABEL)
        table.add_column("score", width=len("100.0 %"), justify="right")
        table.add_column("", width=BAR, no_wrap=True)
        name = shortened(printable(result.video), longest)
        if isinstance(result, Failed):
            # The reason takes the width of all other columns, so it stands in a line of its own.
            console.print(table) if number == 0 else None
            line = Text.assemble((name.ljust(longest + 2), ""), (result.error.kind, "bold red"))
            line.append(f": {printable(result.error.message)}")
            console.print(line, soft_wrap=True)
            continue
        for rank, prediction in enumerate(result.predictions):
            table.add_row(
                Text(name if rank == 0 else "", style="bold"),
                Text(printable(prediction.label), style="green" if rank == 0 else ""),
                f"{prediction.score:.1%}".replace("%", " %"),
                Text(bar(prediction.score, console), style="green" if rank == 0 else "dim"),
            )
        console.print(table)
        for warning in result.warnings:
            note(f"{result.video} {warning}")


def as_json(results: Iterable[Result], stream: TextIO, paths: Sequence[str]) -> None:
    """One array, written when all is known: never half of one."""
    stream.write(dumps([to_dict(result) for result in results], indent=2) + "\n")


def as_jsonl(results: Iterable[Result], stream: TextIO, paths: Sequence[str]) -> None:
    """An object a line, each as soon as it is known."""
    for result in results:
        stream.write(dumps(to_dict(result)) + "\n")
        stream.flush()


def as_csv(results: Iterable[Result], stream: TextIO, paths: Sequence[str]) -> None:
    """A row a prediction, or one for the error."""
    rows = csv.DictWriter(stream, CSV_COLUMNS, lineterminator="\n")
    rows.writeheader()
    for result in results:
        for values in _csv_rows(result):
            rows.writerow({name: _cell(value) for name, value in values.items()})
        stream.flush()


RENDER = {"table": as_table, "json": as_json, "jsonl": as_jsonl, "csv": as_csv}


def _csv_rows(result: Result) -> Iterator[dict[str, object]]:
    common = {"video": result.video, "status": result.status}
    if isinstance(result, Failed):
        error = {"error_kind": result.error.kind, "error_message": result.error.message}
        yield {**common, **error}
        return
    ran = {name: getattr(result, name) for name in ("model", "device", "dtype", "decoder")}
    for rank, prediction in enumerate(result.predictions, start=1):
        found = {"label": prediction.label, "index": prediction.index, "score": prediction.score}
        yield {**common, "rank": rank, **found, **ran}


def _cell(value: object) -> object:
    """A spreadsheet must not take a cell for a formula, nor a stray byte stop the writing."""
    if not isinstance(value, str):
        return value
    value = value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def dumps(value: object, indent: int | None = None) -> str:
    """The value as JSON that can be written as UTF-8."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # bytes of a file name that are no UTF-8: escaped, but kept
        text = json.dumps(value, indent=indent)
    return text


def shortened(text: str, width: int) -> str:
    """The end of a path tells more than its middle, and its beginning a little."""
    if len(text) <= width:
        return text
    head = (width - 1) // 3
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def bar(score: float, console: Console) -> str:
    """A share from 0 to 1 as a bar of up to `BAR` characters."""
    eighths = round(score * BAR * 8)
    if console.options.ascii_only:
        return "#" * round(score * BAR)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
