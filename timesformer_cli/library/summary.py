"""What is in a library, in numbers."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from timesformer_cli.library.store import AT_ONCE, Library, Making


@dataclass(slots=True)
class Summary:
    """What is in a library."""

    making: Making
    bytes: int  # on the disk
    vectors: int = 0
    videos: int = 0
    width: int = 0
    labels: Counter[str] = field(default_factory=Counter)  # vectors by their best label
    folders: Counter[str] = field(default_factory=Counter)  # videos by their folder


def summary_of(library: Library) -> Summary:
    """What is in it."""
    summary = Summary(making=library.making, bytes=_bytes_below(library.path))
    columns = ["video", "content", "label"]
    seen: set[str] = set()
    for batch in library.dataset().to_batches(columns=columns, batch_size=AT_ONCE):
        for video, content, label in zip(
            *(batch.column(name).to_pylist() for name in columns), strict=True
        ):
            summary.vectors += 1
            summary.labels[label] += 1
            if content not in seen:
                seen.add(content)
                summary.folders[os.path.dirname(video) or "."] += 1
    summary.videos = len(seen)
    summary.width = library.dataset().schema.field("vector").type.list_size
    return summary


def labels_in(library: Library) -> set[str]:
    """The labels that rows have."""
    table = library.dataset().to_table(columns=["label"])
    return set(table.column("label").unique().to_pylist())


def _bytes_below(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
