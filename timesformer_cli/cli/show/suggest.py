"""Suggested clips as a table to fill in, JSON or JSON lines."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from timesformer_cli.cli.formats import write_csv, write_json_array, write_json_lines
from timesformer_cli.library.suggest import Suggestion

CSV_COLUMNS = "path label guess score margin distance".split()


def as_csv(suggestions: Sequence[Suggestion], stream: TextIO) -> None:
    """One row each, the label empty; paths are absolute, so that the table may lie anywhere."""
    rows = (
        {
            "path": str(Path(one.video).absolute()),
            "label": "",
            "guess": one.guess,
            "score": round(one.score, 4),
            "margin": round(one.margin, 4),
            "distance": round(one.distance, 4),
        }
        for one in suggestions
    )
    write_csv(rows, CSV_COLUMNS, stream)


RENDERERS: Mapping[str, Callable[[Sequence[Suggestion], TextIO], None]] = {
    "csv": as_csv,
    "json": write_json_array,
    "jsonl": write_json_lines,
}
