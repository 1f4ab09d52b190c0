"""Vectors as rows, and in NumPy's files."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from timesformer_cli.errors import ErrorKind
from timesformer_cli.inference.classified import Failed, Fault
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.library.embed import Embedded, Embedding, EmbedResult, Vector
from timesformer_cli.parquet import LOOK, PREDICTIONS, VECTOR, Columns

# What a row says; a video that failed has one row with its error, and no vector.
COLUMNS: Columns = {
    **dict.fromkeys(("video", "status", "content"), str),
    "start": float,
    "end": float,
    "label": str,
    "score": float,
    **dict.fromkeys(("model", "revision", "device", "dtype", "decoder"), str),
    "error_kind": str,
    "error_message": str,
    "predictions": PREDICTIONS,
    "vector": VECTOR,
}
HEADER = 128  # bytes that NumPy's header takes, whatever the shape


def rows_of(result: EmbedResult) -> Iterator[dict[str, Any]]:
    """A row for each vector, by column."""
    if isinstance(result, Failed):
        error = {"error_kind": result.error.kind, "error_message": result.error.message}
        yield {"video": result.video, "status": result.status, **error}
        return
    shared = {name: getattr(result, name) for name in COLUMNS if hasattr(result, name)}
    for embedding in result.embeddings:
        best = embedding.predictions[:1]  # none of a model without classes
        yield {
            **shared,
            "start": embedding.start,
            "end": embedding.end,
            **({"label": best[0].label, "score": best[0].score} if best else {}),
            "predictions": [asdict(prediction) for prediction in embedding.predictions],
            "vector": embedding.vector,
            "look": None if embedding.look is None else embedding.look.astype(np.float16),
        }


def embedded_of_rows(rows: Sequence[Mapping[str, Any]]) -> EmbedResult:
    """The inverse of `rows_of`, without warnings."""
    first = rows[0]
    if first["status"] == "error":
        return Failed(
            first["video"], "error", Fault(ErrorKind(first["error_kind"]), first["error_message"])
        )
    embeddings = tuple(
        Embedding(
            start=row["start"],
            end=row["end"],
            predictions=tuple(Prediction(**told) for told in row["predictions"]),
            vector=np.asarray(row["vector"], np.float32),
            look=None if row.get(LOOK) is None else np.asarray(row[LOOK], np.float32),
        )
        for row in rows
    )
    names = "video status content model revision device dtype decoder".split()
    return Embedded(**{name: first[name] for name in names}, embeddings=embeddings)


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
