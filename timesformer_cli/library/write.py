"""Vectors in files that other programs read: NumPy's .npy, and Parquet. Rows are written as they come."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from timesformer_cli.errors import UsageError
from timesformer_cli.inference.classify import Failed
from timesformer_cli.installing import how_to_install
from timesformer_cli.library.embed import Embedded, Embedding, EmbedResult, Vector

if TYPE_CHECKING:
    import pyarrow

# What a row says beside its vector; a video that failed has one row with its error, and no vector.
COLUMNS = (
    "video status content start end label score model revision device dtype decoder "
    "error_kind error_message"
).split()
NUMBERS = ("start", "end", "score")
SCHEMA_VERSION = "1"  # of Parquet files; it changes with the meaning of a column
ROWS = 1024  # in a row group
HEADER = 128  # bytes that NumPy's header takes, whatever the shape

Row = tuple[dict[str, Any], Embedding | None]


def rows_of(result: EmbedResult) -> Iterator[Row]:
    """What each row says beside its vector and its other labels, and where these are."""
    if isinstance(result, Failed):
        error = {"error_kind": result.error.kind, "error_message": result.error.message}
        yield {"video": result.video, "status": result.status, **error}, None
        return
    shared = {name: getattr(result, name) for name in COLUMNS if hasattr(result, name)}
    for embedding in result.embeddings:
        best = embedding.predictions[0]
        own = {"start": embedding.start, "end": embedding.end}
        yield {**shared, **own, "label": best.label, "score": best.score}, embedding


def embedded_to_dict(result: EmbedResult) -> dict[str, Any]:
    """The result, field for field; vectors as lists of numbers, and only what there is."""
    values = asdict(result)
    if isinstance(result, Embedded):
        for value, embedding in zip(values["embeddings"], result.embeddings, strict=True):
            value["vector"] = [round(float(number), 6) for number in embedding.vector]
        values = {
            name: value
            for name, value in values.items()
            if value or name not in ("warnings", "error")
        }
    return values


@contextmanager
def npy_file(path: Path) -> Iterator[Callable[[Vector], None]]:
    """Write vectors, one after another, as an array float32 `(n d)`; raises OSError."""
    count = width = 0
    with path.open("wb") as file:
        file.write(bytes(HEADER))

        def add(vector: Vector) -> None:
            nonlocal count, width
            count, width = count + 1, len(vector)
            file.write(vector.astype("<f4").tobytes())

        yield add
        file.seek(0)  # the shape is known now
        described = {"descr": "<f4", "fortran_order": False, "shape": (count, width)}
        np.lib.format.write_array_header_1_0(file, described)
        assert file.tell() == HEADER


def require_parquet() -> None:
    """Raise UsageError where pyarrow is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise UsageError(f"parquet needs pyarrow: {how_to_install('parquet')}") from error


@contextmanager
def parquet_file(path: Path) -> Iterator[Callable[[Row], None]]:
    """Write rows, one after another, to a Parquet file, in groups of ROWS; raises OSError.

    The columns are COLUMNS, `predictions`, a list of labels with their scores, best first, and
    `vector`, a list of float32. The file's metadata has the version of
    this schema under `tsf.schema`.
    """
    from pyarrow import parquet

    schema = _schema()
    with parquet.ParquetWriter(path, schema, compression="zstd") as file:
        waiting: list[dict[str, Any]] = []

        def flush() -> None:
            import pyarrow

            if waiting:
                file.write_table(pyarrow.Table.from_pylist(waiting, schema))
                waiting.clear()

        def add(row: Row) -> None:
            said, embedding = row
            several = {} if embedding is None else _several(embedding)
            waiting.append({**said, **several})
            if len(waiting) == ROWS:
                flush()

        yield add
        flush()


def _several(embedding: Embedding) -> dict[str, Any]:
    return {
        "predictions": [asdict(prediction) for prediction in embedding.predictions],
        "vector": embedding.vector,
    }


def _schema() -> "pyarrow.Schema":
    import pyarrow

    columns = [
        pyarrow.field(name, pyarrow.float64() if name in NUMBERS else pyarrow.string())
        for name in COLUMNS
    ]
    prediction = [
        ("label", pyarrow.string()),
        ("index", pyarrow.int32()),
        ("score", pyarrow.float64()),
    ]
    columns += [
        pyarrow.field("predictions", pyarrow.list_(pyarrow.struct(prediction))),
        pyarrow.field("vector", pyarrow.list_(pyarrow.float32())),
    ]
    return pyarrow.schema(columns, metadata={"tsf.schema": SCHEMA_VERSION})
