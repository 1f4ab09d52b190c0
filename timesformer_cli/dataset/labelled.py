"""Read labelled clips: a folder per class, a table, or a list of paths and class numbers."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.dataset.folders import class_folders
from timesformer_cli.dataset.label_matching import folded
from timesformer_cli.dataset.multi_label import join_labels, seem_several, split_labels
from timesformer_cli.dataset.table import TableRow, read_rows
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.video import find_videos
from timesformer_cli.video.listed import ListedNames, composed

# What `group_by` may be beside another column or a pattern: the column, or the clip's folder.
GROUP, FOLDER = "group", "folder"
WHOLE = re.compile(r"(\d+)(?:\.0*)?")  # a class number; spreadsheets write 3 as 3.0


@dataclass(frozen=True, slots=True)
class LabelledClip:
    """One clip and its class, or its classes where clips may have several."""

    path: str
    label: str  # several stand as in a table, parted by bars
    split: str | None = None  # train, val or test; None means that the source does not say
    group: str | None = None  # clips of one group, such as takes of one scene, stay in one split
    labels: tuple[str, ...] | None = None  # where clips may have several, or none

    @property
    def classes(self) -> tuple[str, ...]:
        """All classes of the clip: one, but where clips may have several."""
        return (self.label,) if self.labels is None else self.labels


def read_labelled_clips(
    source: Path,
    *,
    labels: tuple[str, ...] | None = None,
    group_by: str = GROUP,
    multi_label: bool = False,
    note: NoteCallback = ignore_note,
) -> list[LabelledClip]:
    """The clips of a folder (`<label>/*.mp4` or `train/<label>/*.mp4`) or of a table.

    A table has a heading: `path,label` and perhaps `split` and `group`, or other names for them.
    Without one it is a list of `path label_index`, and `labels` names the numbers. Its paths start
    at its own folder. `group_by` is a column of the table, `folder`, or a pattern of the path whose
    first bracket is the group. A file that comes again in its split is left out, and `note` hears
    of it. With `multi_label` a clip may have several labels: `run|walk`, a column for each class,
    or the file in several rows or folders. Raises UsageError that says file and line, and for a
    file with two labels otherwise.
    """
    if source.is_dir():
        clips = list(_in_folder(source, multi_label))
    else:
        rows = read_rows(source, labels, group_by, multi_label=multi_label, note=note)
        clips = _in_table(source, rows, note)
        # A row of class columns says all of its clip.
        clips = each_once(source, clips, note) if rows and rows[0].complete else clips
    if not clips:
        raise UsageError(f"{source}: no clips in it")
    once = clips  # of a folder, training lists what is in several classes, and goes on
    if multi_label:
        once = _labels_together(source, clips, note)
    elif several := seem_several(dict.fromkeys(clip.label for clip in clips)):
        note(f"{source}: '{several}' is one class of that name; --multi-label makes it several")
    if group_by == GROUP or once[0].group is not None:
        return once
    return [replace(clip, group=_group(clip.path, group_by)) for clip in once]


def require_some_there(source: Path, clips: Sequence[LabelledClip]) -> None:
    """Raise UsageError where not one of the clips is a file: the list's paths are wrong."""
    if not any(os.path.lexists(clip.path.replace("\0", "")) for clip in clips):
        raise UsageError(
            f"{source}: none of its clips is there; the first should be {clips[0].path} "
            f"(paths start at the folder of {source.name})"
        )


def class_names(clips: Sequence[LabelledClip]) -> tuple[str, ...]:
    """The labels, sorted; where all are numbers, by value."""
    names = {label for clip in clips for label in clip.classes}
    if all(name.isdecimal() for name in names):
        # By the name as well: "1" and "01" must not stand as a set happens to give them.
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _in_folder(source: Path, multi_label: bool) -> Iterator[LabelledClip]:
    for split, folder in class_folders(source):
        for video in find_videos([str(folder)]):
            if video.error is not None:
                raise UsageError(f"{video.path}: {video.error}; fill it or remove it")
            label = composed(folder.name)
            several = split_labels(label) if multi_label else None
            if several and "" in several:
                raise UsageError(f"{folder}: an empty label in its name")
            yield LabelledClip(video.path, label, split, labels=several)


def _in_table(source: Path, rows: Sequence[TableRow], note: NoteCallback) -> list[LabelledClip]:
    names, clips = ListedNames(), []
    said = [(row.label,) if row.labels is None else row.labels for row in rows]
    written = iter(_plain_numbers(composed(label) for labels in said for label in labels))
    for row, labels in zip(rows, said, strict=True):
        named = tuple(islice(written, len(labels)))
        try:
            path = names.find(str(Path(row.path)), str(source.parent))
        except VideoError as error:
            raise UsageError(f"{row.where}: '{row.path}' {error}") from error
        several = None if row.labels is None else named
        label = named[0] if several is None else join_labels(several)
        clips.append(LabelledClip(str(Path(path)), label, row.split, row.group, several))
    if remark := names.note(str(source)):
        note(remark)
    return clips


def _plain_numbers(labels: Iterable[str]) -> list[str]:
    """The labels; where all of them are whole numbers, `3.0` is 3."""
    labels = list(labels)
    whole = [WHOLE.fullmatch(label) for label in labels]
    return [match[1] for match in whole if match] if all(whole) else labels


def each_once(
    source: Path, clips: Sequence[LabelledClip], note: NoteCallback
) -> list[LabelledClip]:
    """The clips without those whose file is in their split before; a link is the file it leads to."""
    first: dict[tuple[int, int] | str, LabelledClip] = {}
    once: dict[tuple[str | None, tuple[int, int] | str], LabelledClip] = {}
    for clip in clips:
        file = _identity(clip.path)
        before = first.setdefault(file, clip)
        if folded(before.label) != folded(clip.label):
            other = "" if before.path == clip.path else f" (as {before.path})"
            raise UsageError(
                f"{source}: {clip.path} is labelled '{before.label}'{other} and '{clip.label}'; "
                "keep one of them"
            )
        once.setdefault((clip.split, file), clip)
    if again := len(clips) - len(once):
        counted = "clip counts" if again == 1 else "clips count"
        note(f"{source}: {again} {counted} once, though listed again")
    return list(once.values())


def _labels_together(
    source: Path, clips: Sequence[LabelledClip], note: NoteCallback
) -> list[LabelledClip]:
    """The clips, each file once in its split, with the labels of all of its rows or folders."""
    together: dict[tuple[str | None, tuple[int, int] | str], LabelledClip] = {}
    for clip in clips:
        key = clip.split, _identity(clip.path)
        before = together.setdefault(key, clip)
        labels = tuple(dict.fromkeys((*before.classes, *clip.classes)))
        together[key] = replace(before, label=join_labels(labels), labels=labels)
    if again := len(clips) - len(together):
        note(f"{source}: {again} more labels of clips that are listed before")
    return list(together.values())


def _identity(path: str) -> tuple[int, int] | str:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.abspath(path.replace("\0", ""))
    return status.st_dev, status.st_ino


def _group(path: str, group_by: str) -> str:
    """A clip's folder, or what the pattern's first bracket matches, or its whole match."""
    if group_by == FOLDER:
        return str(Path(path).parent)
    try:
        match = re.search(group_by, path)
    except re.error as error:
        raise UsageError(f"--group-by '{group_by}': no column of that name, and {error}") from error
    if match is None:
        raise UsageError(f"--group-by '{group_by}' is neither a column nor in {path}")
    return match[match.re.groups and 1] or match[0]
