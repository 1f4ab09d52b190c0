"""A library: vectors in a folder that is searched, and grows by what is new.

It is a Lance dataset, a row a vector. Its metadata says which weights made the vectors and how clips
were taken; vectors of others are refused. A video is known by the SHA-256 of its content, so a file
that was moved or copied is not looked at again.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from timesformer_cli.errors import UsageError
from timesformer_cli.files import locked
from timesformer_cli.installing import how_to_install
from timesformer_cli.library.embed import Embedded
from timesformer_cli.library.index import refresh_index
from timesformer_cli.library.write import COLUMNS, rows_of
from timesformer_cli.parquet import LOOK, VECTOR, VERSION, arrow_type
from timesformer_cli.video.look import WIDTH as LOOK_WIDTH

if TYPE_CHECKING:
    import lance
    import pyarrow

LOCK = ".tsf-lock"
AT_ONCE = 65_536  # rows read from the disk at a time
META = "tsf.library"
# Of a row's columns what differs from row to row, with the file's size and time of change.
STORED = "video content size modified start end label score predictions vector look".split()


@dataclass(frozen=True, kw_only=True, slots=True)
class Making:
    """What all vectors of a library have in common."""

    model: str
    revision: str  # of its weights
    every: float | None = None  # seconds between windows; None: one vector a video
    frames: int | None = None
    stride: int | None = None
    views: str = "1x1"
    cuts: bool = True
    normalise: bool = False

    def told(self) -> dict[str, Any]:
        """Field for field."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class KnownFile(NamedTuple):
    """A video of the library, as it was when it was looked at."""

    path: str
    content: str
    size: int
    modified: int  # nanoseconds


@dataclass(slots=True)
class Added:
    """What a run did to a library, in videos."""

    new: int = 0
    changed: int = 0  # the file at a path has other content than before
    moved: int = 0  # the content is at another path than before
    known: int = 0


def require_lance() -> None:
    """Raise UsageError where pylance is not installed."""
    try:
        import lance  # noqa: F401
    except ImportError as error:
        raise UsageError(f"a library needs pylance: {how_to_install('library')}") from error


def file_facts(path: str) -> tuple[int, int]:
    """Size and time of change of a file, by which one sees that it is the same; raises OSError."""
    status = os.stat(path)
    return status.st_size, status.st_mtime_ns


class Library:
    """An open library. What others write meanwhile is seen from the next call on."""

    def __init__(self, path: Path, making: Making) -> None:
        self.path, self.making = path, making

    @classmethod
    def open(cls, path: Path) -> "Library":
        """A library that is there; raises UsageError where there is none."""
        require_lance()
        found = _metadata(path)
        if found is None:
            raise UsageError(f"{path}: is no library; tsf embed VIDEO... -o {path} makes one")
        return cls(path, Making(**found))

    @classmethod
    def create(cls, path: Path, making: Making) -> "Library":
        """The library at this path, new or as it is; raises UsageError where it is made otherwise."""
        require_lance()
        # A library that another run is making has some of its own folders.
        own = ("_", "data", LOCK)
        others = path.exists() and any(not e.name.startswith(own) for e in path.iterdir())
        if others and _metadata(path) is None:
            raise UsageError(f"{path}: is a folder, and no library; name another")
        found = _metadata(path)
        if found is not None:
            made = Making(**found)
            other = [n for n in found if getattr(made, n) != getattr(making, n) and n != "model"]
            if "revision" in other:
                raise UsageError(
                    f"{path}: was made with other weights ({made.model}, {made.revision[:19]}); "
                    "their vectors cannot be compared: give that model, or another library"
                )
            if other:
                was = ", ".join(f"{name} {getattr(made, name)}" for name in other)
                raise UsageError(f"{path}: was made otherwise ({was}); say so, or name another")
        return cls(path, making)

    def dataset(self) -> "lance.LanceDataset":
        """The rows as Lance has them now, with what others wrote."""
        import lance

        return lance.dataset(str(self.path))

    @property
    def exists(self) -> bool:
        """Whether anything was ever written to it."""
        return _metadata(self.path) is not None

    def files(self) -> dict[str, KnownFile]:
        """All videos by their path. They are held in memory: 0.4 GB for a million."""
        if not self.exists:
            return {}
        known: dict[str, KnownFile] = {}
        columns = ["video", "content", "size", "modified"]
        for batch in self.dataset().to_batches(columns=columns, batch_size=AT_ONCE):
            for row in zip(*(batch.column(name).to_pylist() for name in columns), strict=True):
                known[row[0]] = KnownFile(*row)
        return known

    def add(
        self,
        videos: Sequence[Embedded],
        files: Mapping[str, KnownFile],
        instead: Iterable[str] = (),
    ) -> None:
        """Write videos, each with all of its vectors or not at all; raises OSError.

        `files` are these videos, by path, as they were when they were looked at. Rows of the paths
        `instead` go first. What another run has written meanwhile is not written
        twice. One run writes at a time, and the others wait for it.
        """
        import lance

        with self._locked():
            if not self.exists:
                if not videos:
                    return
                width = len(videos[0].embeddings[0].vector)
                schema = _schema(width, self.making)
                lance.write_dataset(schema.empty_table(), str(self.path), mode="create")
            self._forget(instead)
            dataset = self.dataset()
            there = self._contents(dataset, [video.content for video in videos])
            first = {video.content: video for video in reversed(videos)}  # of two copies, one
            rows = [
                row | {"size": files[video.video].size, "modified": files[video.video].modified}
                for video in videos
                if video.content not in there and first[video.content] is video
                for row in rows_of(video)
            ]
            if rows:
                import pyarrow

                table = pyarrow.Table.from_pylist(rows, dataset.schema)
                lance.write_dataset(table, dataset, mode="append")

    def move(self, content: str, path: str) -> None:
        """Give the rows of this content another path; raises OSError."""
        size, modified = file_facts(path)
        values = {"video": quoted(path), "size": str(size), "modified": str(modified)}
        with self._locked():
            self.dataset().update(values, where=f"content = {quoted(content)}")

    def forget(self, paths: Iterable[str]) -> int:
        """Remove the rows of these paths, and return how many."""
        with self._locked():
            return self._forget(paths)

    def _forget(self, paths: Iterable[str]) -> int:
        gone = 0
        for some in _in_groups(list(paths)):
            listed = ", ".join(map(quoted, some))
            gone += int(self.dataset().delete(f"video IN ({listed})")["num_deleted_rows"])
        return gone

    def compact(self) -> int:
        """Join small files, renew the index, and remove what no row needs any more.

        Returns how many rows are in the index: none where there are too few for one.
        """
        from datetime import timedelta

        with self._locked():
            dataset = self.dataset()
            dataset.optimize.compact_files()
            indexed = refresh_index(dataset)
            dataset.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
            return indexed

    def _contents(self, dataset: "lance.LanceDataset", contents: Sequence[str]) -> set[str]:
        """Which of these contents have rows."""
        found: set[str] = set()
        for some in _in_groups(contents):
            listed = ", ".join(map(quoted, some))
            table = dataset.to_table(columns=["content"], filter=f"content IN ({listed})")
            found.update(table.column("content").to_pylist())
        return found

    def _locked(self) -> Any:
        self.path.mkdir(parents=True, exist_ok=True)
        return locked(self.path / LOCK)


def quoted(text: str) -> str:
    """Text in an expression of Lance's, in which only the quote is special."""
    return "'" + text.replace("'", "''") + "'"


def _in_groups(items: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    for first in range(0, len(items), size):
        yield items[first : first + size]


def _schema(width: int, making: Making) -> "pyarrow.Schema":
    import pyarrow

    columns = {name: COLUMNS.get(name, int) for name in STORED} | {LOOK: LOOK}
    widths = {VECTOR: width, LOOK: LOOK_WIDTH}
    metadata = {META: json.dumps(making.told()), "tsf.schema": VERSION}
    return pyarrow.schema(
        [
            pyarrow.field(name, arrow_type(kind, widths.get(name, -1)))
            for name, kind in columns.items()
        ],
        metadata=metadata,
    )


def _metadata(path: Path) -> Mapping[str, Any] | None:
    """What the library says of its making; None where there is no library."""
    import lance

    if not (path / "_versions").is_dir():
        return None
    try:
        told = (lance.dataset(str(path)).schema.metadata or {}).get(META.encode())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read ({str(error).splitlines()[0][:200]})") from error
    if told is None:
        raise UsageError(f"{path}: is a Lance dataset that tsf did not make")
    found: dict[str, Any] = json.loads(told)
    return found
