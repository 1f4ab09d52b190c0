"""Clips that are listed more than once, and parts of one video that contradict one another."""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path

from timesformer_cli.callbacks import NoteCallback
from timesformer_cli.dataset.clip import LabelledClip, named_part
from timesformer_cli.dataset.label_matching import folded, shown_label
from timesformer_cli.dataset.multi_label import join_labels
from timesformer_cli.errors import UsageError

MOST = 5  # contradictions that an error names
Identity = tuple[int, int] | str
Part = tuple[Identity, float, float | None]


def each_once(
    source: Path, clips: Sequence[LabelledClip], note: NoteCallback
) -> list[LabelledClip]:
    """The clips without those that are in their split before; a link is the file it leads to.

    Raises UsageError for a clip with two labels, and for parts of one video that overlap and have
    different ones.
    """
    first: dict[Part, LabelledClip] = {}
    once: dict[tuple[str | None, Part], LabelledClip] = {}
    for clip in clips:
        part = _part(clip)
        before = first.setdefault(part, clip)
        if folded(before.label) != folded(clip.label) and not clip.is_part:
            other = "" if before.path == clip.path else f" (as {before.path})"
            raise UsageError(
                f"{source}: {clip.path} is labelled '{before.label}'{other} and '{clip.label}'; "
                "keep one of them"
            )
        once.setdefault((clip.split, part), clip)
    if contradictions := list(_contradictions(source, clips)):
        more = len(contradictions) - MOST
        named = "; ".join(contradictions[:MOST]) + (f"; and {more} more" if more > 0 else "")
        raise UsageError(
            f"{source}: parts of one video overlap and have different labels: {named}; mend these "
            "lines, or --multi-label"
        )
    if again := len(clips) - len(once):
        counted = "clip counts" if again == 1 else "clips count"
        note(f"{source}: {again} {counted} once, though listed again")
    return list(once.values())


def labels_together(
    source: Path, clips: Sequence[LabelledClip], note: NoteCallback
) -> list[LabelledClip]:
    """The clips, each once in its split, with the labels of all of its rows or folders."""
    together: dict[tuple[str | None, Part], LabelledClip] = {}
    for clip in clips:
        key = clip.split, _part(clip)
        before = together.setdefault(key, clip)
        labels = tuple(dict.fromkeys((*before.classes, *clip.classes)))
        together[key] = replace(before, label=join_labels(labels), labels=labels)
    if again := len(clips) - len(together):
        note(f"{source}: {again} more labels of clips that are listed before")
    return list(together.values())


def overlapping(clips: Iterable[LabelledClip]) -> Iterator[tuple[LabelledClip, LabelledClip]]:
    """Each pair of these clips of one video that share a moment of it."""
    open_: list[LabelledClip] = []
    for clip in sorted(clips, key=lambda clip: clip.start):
        open_ = [before for before in open_ if _end(before) > clip.start]
        yield from ((before, clip) for before in open_)
        open_.append(clip)


def _contradictions(source: Path, clips: Sequence[LabelledClip]) -> Iterator[str]:
    """Each pair of clips that share a moment of a video and have different labels."""
    if not any(clip.is_part for clip in clips):
        return
    of_file: defaultdict[Identity, list[LabelledClip]] = defaultdict(list)
    for clip in clips:
        of_file[_identity(clip.path)].append(clip)
    for inside in of_file.values():
        for one, other in overlapping(inside):
            if folded(one.label) != folded(other.label):
                named = (
                    f"{_line(source, clip)} '{shown_label(clip.label)}'"
                    f"{named_part(clip.start, clip.end)}"
                    for clip in (one, other)
                )
                yield f"{' and '.join(named)} of {os.path.basename(one.path)}"


def _line(source: Path, clip: LabelledClip) -> str:
    """`line 7` of a clip that the source lists, else its place in full."""
    where = clip.where or clip.path
    return where.replace(f"{source}:", "line ", 1) if where.startswith(f"{source}:") else where


def _end(clip: LabelledClip) -> float:
    return inf if clip.end is None else clip.end


def _part(clip: LabelledClip) -> Part:
    return _identity(clip.path), clip.start, clip.end


def _identity(path: str) -> Identity:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.abspath(path.replace("\0", ""))
    return status.st_dev, status.st_ino
