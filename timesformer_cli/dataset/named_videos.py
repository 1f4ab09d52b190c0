"""The videos that rows of a table or an annotation mean: by their path, or by name alone."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from timesformer_cli.dataset.table_row import TableRow
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.video import find_videos
from timesformer_cli.video.listed import ListedNames, composed


class NamedVideos:
    """Finds the videos of one source; what is named without its folder may lie anywhere below it."""

    def __init__(self, source: Path) -> None:
        self._source, self._listed = source, ListedNames()
        self._cut = 0

    def find(self, row: TableRow) -> tuple[str, bool]:
        """The path that a row means, and whether that file is the row's part alone, cut out already.

        The path as it is written where there is no such file. Raises UsageError where several fit.
        """
        if row.cut is not None and (found := self._below(row.where, (row.cut,))):
            self._cut += 1
            return found, True
        try:
            path = self._listed.find(str(Path(row.path)), str(self._source.parent))
        except VideoError as error:
            raise UsageError(f"{row.where}: '{row.path}' {error}") from error
        if row.names and not os.path.lexists(path.replace("\0", "")):
            path = self._below(row.where, row.names) or path
        return str(Path(path)), False

    def notes(self) -> Iterator[str]:
        """What to tell the user about names that were read otherwise, and of files cut already."""
        if remark := self._listed.note(str(self._source)):
            yield remark
        if self._cut:
            clips = "1 clip is a file" if self._cut == 1 else f"{self._cut} clips are files"
            yield f"{self._source}: {clips} of the part alone (ID_000010_000020), taken whole"

    def _below(self, where: str, names: Sequence[str]) -> str | None:
        for name in names:
            found = self._by_stem.get(composed(name), [])
            if len(found) > 1:
                raise UsageError(f"{where}: '{name}' may be {' or '.join(found[:3])}; remove one")
            if found:
                return found[0]
        return None

    @cached_property
    def _by_stem(self) -> Mapping[str, list[str]]:
        """The videos below the source's folder by their names without suffixes."""
        stems: defaultdict[str, list[str]] = defaultdict(list)
        for video in find_videos([str(self._source.parent)]):
            if video.error is None:
                stems[composed(Path(video.path).stem)].append(video.path)
        return stems
