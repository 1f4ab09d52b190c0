"""Rows in Parquet files, written as they come; pyarrow does it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from timesformer_cli.errors import UsageError
from timesformer_cli.installing import how_to_install

if TYPE_CHECKING:
    import pyarrow

# What a column may hold, besides str, int and float: labels with their scores, the same with how
# similar they are, a vector, a look.
PREDICTIONS, FITTING, VECTOR, LOOK = "predictions", "fitting", "vector", "look"
Columns = Mapping[str, type | str]
ROWS = 1024  # in a row group
VERSION = "1"  # of what the columns mean, in the file's metadata


def require_parquet() -> None:
    """Raise UsageError where pyarrow is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise UsageError(f"parquet needs pyarrow: {how_to_install('parquet')}") from error


@contextmanager
def parquet_rows(file: BinaryIO, columns: Columns) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that writes one row, by column; what a row lacks is null. Raises OSError."""
    import pyarrow
    from pyarrow import parquet

    schema = parquet_schema(columns)
    waiting: list[Mapping[str, Any]] = []
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:

        def add(row: Mapping[str, Any]) -> None:
            waiting.append(row)
            if len(waiting) == ROWS:
                flush()

        def flush() -> None:
            if waiting:
                writer.write_table(pyarrow.Table.from_pylist(waiting, schema))
                waiting.clear()

        yield add
        flush()


def parquet_schema(columns: Columns) -> "pyarrow.Schema":
    """The columns with their types, and the version of what they mean."""
    import pyarrow

    return pyarrow.schema(
        [pyarrow.field(name, arrow_type(kind)) for name, kind in columns.items()],
        metadata={"tsf.schema": VERSION},
    )


def arrow_type(kind: type | str, width: int = -1) -> "pyarrow.DataType":
    """The type of a column; vectors of one width may say it."""
    import pyarrow

    prediction = [
        ("label", pyarrow.string()),
        ("index", pyarrow.int32()),
        ("score", pyarrow.float64()),
    ]
    types: dict[type | str, Any] = {
        str: pyarrow.string(),
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        PREDICTIONS: pyarrow.list_(pyarrow.struct(prediction)),
        FITTING: pyarrow.list_(pyarrow.struct([*prediction, ("similarity", pyarrow.float64())])),
        VECTOR: pyarrow.list_(pyarrow.float32(), width),
        LOOK: pyarrow.list_(pyarrow.float16(), width),
    }
    return types[kind]
