"""Vectors of videos as JSON lines, NumPy with a table beside it, or Parquet."""

import csv
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from timesformer_cli.cli.formats import csv_cell, write_json_line
from timesformer_cli.cli.stderr import complain, terminated_in_order
from timesformer_cli.errors import UsageError
from timesformer_cli.files import delivering
from timesformer_cli.inference.classify import Failed
from timesformer_cli.library.embed import EmbedResult
from timesformer_cli.library.write import (
    COLUMNS,
    embedded_to_dict,
    npy_file,
    parquet_file,
    rows_of,
)


def as_jsonl(results: Iterable[EmbedResult], stream: TextIO, paths: object = ()) -> None:
    """One object a video, each as soon as it is known."""
    for result in results:
        write_json_line(embedded_to_dict(result), stream)
        stream.flush()


def as_npy(results: Iterable[EmbedResult], path: Path) -> None:
    """An array float32 `(n d)`, and beside it a table whose row n says what vector n is.

    Videos that failed are in neither.
    """
    with ExitStack() as stack:
        part, table = (stack.enter_context(delivering(p)) for p in (path, table_beside(path)))
        lines = stack.enter_context(table.open("w", encoding="utf-8", newline=""))
        add = stack.enter_context(npy_file(part))
        columns = [name for name in COLUMNS if not name.startswith("error")]
        writer = csv.DictWriter(lines, columns, lineterminator="\n")
        writer.writeheader()
        for result in results:
            for row, embedding in rows_of(result):
                if embedding is not None:
                    writer.writerow({name: csv_cell(value) for name, value in row.items()})
                    add(embedding.vector)


def as_parquet(results: Iterable[EmbedResult], path: Path) -> None:
    """A row a vector; a video that failed has one without a vector."""
    with delivering(path) as part, parquet_file(part) as add:
        for result in results:
            for row in rows_of(result):
                add(row)


def table_beside(path: Path) -> Path:
    """Where the rows of a .npy file stand."""
    return path.with_suffix(".csv")


# By format: what writes a file of it as a whole.
WRITERS: dict[str, Callable[[Iterable[EmbedResult], Path], None]] = {
    "npy": as_npy,
    "parquet": as_parquet,
}
LIBRARY = "lance"
FORMATS = ("jsonl", *WRITERS, LIBRARY)


def write_vectors(results: Iterable[EmbedResult], format: str, path: Path) -> None:
    """Write a file that appears whole or not at all; videos that failed are named on stderr."""

    def told() -> Iterable[EmbedResult]:
        for result in results:
            if isinstance(result, Failed):
                complain(f"{result.video}: {result.error.kind}: {result.error.message}")
            yield result

    try:
        with terminated_in_order():
            WRITERS[format](told(), path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error
