"""What is in a library, in numbers."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from timesformer_cli.library.store import AT_ONCE, Library, Making


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary(Making):
    """What is in a library."""

    vectors: int
    videos: int
    width: int  # numbers of a vector
    bytes: int  # on the disk
    labels: dict[str, int]  # vectors by their best label, the most first
    folders: dict[str, int]  # videos by their folder, the most first


def summary_of(library: Library) -> Summary:
    """What is in it."""
    labels: Counter[str] = Counter()
    folders: Counter[str] = Counter()
    columns = ["video", "content", "label"]
    seen: set[str] = set()
    for batch in library.dataset().to_batches(columns=columns, batch_size=AT_ONCE):
        for video, content, label in zip(
            *(batch.column(name).to_pylist() for name in columns), strict=True
        ):
            labels[label] += 1
            if content not in seen:
                seen.add(content)
                folders[os.path.dirname(video) or "."] += 1
    return Summary(
        **library.making.told(),
        vectors=labels.total(),
        videos=len(seen),
        width=library.dataset().schema.field("vector").type.list_size,
        bytes=_bytes_below(library.path),
        labels=dict(labels.most_common()),
        folders=dict(folders.most_common()),
    )


def labels_in(library: Library) -> set[str]:
    """The labels that rows have."""
    table = library.dataset().to_table(columns=["label"])
    return set(table.column("label").unique().to_pylist())


def _bytes_below(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
