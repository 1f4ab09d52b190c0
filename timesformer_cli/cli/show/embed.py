"""Vectors of videos as JSON lines, NumPy with a table beside it, or Parquet."""

import csv
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from timesformer_cli.cli.answers import complain_of
from timesformer_cli.cli.formats import csv_cell, write_json_lines, write_parquet
from timesformer_cli.cli.stderr import terminated_in_order
from timesformer_cli.errors import UsageError
from timesformer_cli.files import delivering
from timesformer_cli.inference.classified import Failed
from timesformer_cli.library.embed import EmbedResult
from timesformer_cli.library.write import (
    COLUMNS,
    npy_file,
    rows_of,
)


def as_jsonl(results: Iterable[EmbedResult], stream: TextIO, paths: object = ()) -> None:
    """One object a video, each as soon as it is known."""
    write_json_lines(results, stream)


def as_parquet(results: Iterable[EmbedResult], stream: TextIO, paths: object = ()) -> None:
    """A row a vector; a video that failed has one without a vector."""
    write_parquet((row for result in results for row in rows_of(result)), COLUMNS, stream)


RENDERERS = {"jsonl": as_jsonl, "parquet": as_parquet}


def write_npy(results: Iterable[EmbedResult], path: Path) -> None:
    """An array float32 `(n d)`, and beside it a table whose row n says what vector n is.

    Videos that failed are in neither, and are named on stderr. Both files appear whole or not at
    all; raises UsageError where they cannot be written.
    """
    columns = [name for name, kind in COLUMNS.items() if isinstance(kind, type)]
    columns = [name for name in columns if not name.startswith("error")]
    try:
        with terminated_in_order(), ExitStack() as stack:
            part, table = (stack.enter_context(delivering(p)) for p in (path, table_beside(path)))
            lines = stack.enter_context(table.open("w", encoding="utf-8", newline=""))
            add = stack.enter_context(npy_file(part))
            writer = csv.DictWriter(lines, columns, lineterminator="\n", extrasaction="ignore")
            writer.writeheader()
            for result in results:
                if isinstance(result, Failed):
                    complain_of(result)
                    continue
                for row in rows_of(result):
                    writer.writerow({name: csv_cell(value) for name, value in row.items()})
                    add(row["vector"])
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from error


def table_beside(path: Path) -> Path:
    """Where the rows of a .npy file stand."""
    return path.with_suffix(".csv")


NPY, LIBRARY = "npy", "lance"
FORMATS = (*RENDERERS, NPY, LIBRARY)
