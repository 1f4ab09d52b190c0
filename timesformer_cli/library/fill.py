"""Filling a library: what is known is passed over, what is new is written as it comes."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from timesformer_cli.errors import ErrorKind, VideoError
from timesformer_cli.inference.classified import Failed, failed
from timesformer_cli.library.embed import Embedded, EmbedResult, content_of
from timesformer_cli.library.store import Added, KnownFile, Library, file_facts
from timesformer_cli.video import VideoPath

ROWS, SECONDS = 512, 10.0  # written at once: so many rows, or what came in so many seconds


class Filling:
    """One run into a library: first `to_embed`, then `write` with what became of these videos."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.added = Added()
        self.looked: dict[str, KnownFile] = {}  # the files that were hashed, by path
        self._changed: set[str] = set()

    def to_embed(self, videos: Iterable[VideoPath]) -> Iterator[VideoPath | Failed]:
        """The videos that the library does not know, and those that cannot be read.

        A file is hashed unless its path, size and time of change are known. One whose content is
        known from a path where it is no longer gets its new path.
        """
        files = self.library.files()
        by_content = {file.content: file for file in files.values()}
        for video in videos:
            if video.error is not None:
                yield failed(video.path, video.error)
                continue
            try:
                video.path.encode()
                content = self._content(video.path, files.get(video.path))
            except UnicodeEncodeError:
                yield failed(
                    video.path, VideoError(ErrorKind.BAD_NAME, "its name is not UTF-8; rename it")
                )
                continue
            except OSError as error:
                yield failed(
                    video.path, VideoError(ErrorKind.NOT_READABLE, error.strerror or str(error))
                )
                continue
            before = by_content.get(content)
            if before is None:
                if video.path in files:
                    self._changed.add(video.path)
                by_content[content] = self.looked[video.path]  # two copies: once
                yield video
            elif before.path != video.path and not os.path.exists(before.path):
                self.library.move(content, video.path)
                self.added.moved += 1
            else:
                self.added.known += 1

    def unknown(self, facts: Mapping[str, tuple[int, int]]) -> set[str]:
        """The paths that the library does not know with this size and time of change.

        Nothing is read. What differs from what is known takes its place when it is written.
        """
        files, found = self.library.files(), set()
        for path, (size, modified) in facts.items():
            known = files.get(path)
            if known is not None and (known.size, known.modified) == (size, modified):
                self.added.known += 1
                continue
            if known is not None:
                self._changed.add(path)
            self.looked[path] = KnownFile(path, "", size, modified)
            found.add(path)
        return found

    @property
    def contents(self) -> dict[str, str]:
        """The SHA-256 of the files that were hashed, by path."""
        return {path: file.content for path, file in self.looked.items()}

    def write(self, results: Iterable[EmbedResult]) -> Iterator[EmbedResult]:
        """Pass the results through, and write them; what came is written even after an error."""
        waiting: list[Embedded] = []
        since = time.monotonic()
        try:
            for result in results:
                if isinstance(result, Embedded) and result.embeddings:
                    waiting.append(result)
                late = time.monotonic() - since > SECONDS
                if late or sum(len(video.embeddings) for video in waiting) >= ROWS:
                    self._write(waiting)
                    since = time.monotonic()
                yield result
        finally:
            self._write(waiting)

    def _write(self, waiting: list[Embedded]) -> None:
        if not waiting:
            return
        changed = self._changed.intersection(video.video for video in waiting)
        self.library.add(waiting, self.looked, instead=changed)
        self.added.changed += len(changed)
        self.added.new += len(waiting) - len(changed)
        waiting.clear()

    def _content(self, path: str, known: KnownFile | None) -> str:
        size, modified = file_facts(path)
        # A folder's own facts stay as they are when one of its pictures changes.
        same = known is not None and (known.size, known.modified) == (size, modified)
        if known is not None and same and not os.path.isdir(path):
            return known.content
        # The facts of before: what is written to meanwhile is looked at again by the next run.
        self.looked[path] = KnownFile(path, content_of(path), size, modified)
        return self.looked[path].content


def recheck(
    library: Library, tell: Callable[[int, int], None] = lambda done, total: None
) -> tuple[list[str], list[str]]:
    """The paths of a library that are gone, and those whose content is another one now."""
    files: Sequence[KnownFile] = list(library.files().values())
    gone, changed = [], []
    for number, file in enumerate(files):
        tell(number, len(files))
        try:
            if content_of(file.path) != file.content:
                changed.append(file.path)
        except OSError:
            gone.append(file.path)
    return gone, changed
