"""Read labelled clips: a folder per class, a table, or a list of paths and class numbers."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from timesformer_cli.callbacks import NoteCallback, ignore_note
from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.dataset.folders import labelled_videos
from timesformer_cli.dataset.multi_label import join_labels, seem_several, split_labels
from timesformer_cli.dataset.named_videos import NamedVideos
from timesformer_cli.dataset.part_times import require_forwards
from timesformer_cli.dataset.repeated import each_once, labels_together
from timesformer_cli.dataset.shard_clips import shard_clips
from timesformer_cli.dataset.shards import shards_at
from timesformer_cli.dataset.table import read_rows
from timesformer_cli.dataset.table_row import TableRow
from timesformer_cli.errors import UsageError
from timesformer_cli.video.listed import composed

# What `group_by` may be beside another column or a pattern: the column, or the clip's folder.
GROUP, FOLDER = "group", "folder"
WHOLE = re.compile(r"(\d+)(?:\.0*)?")  # a class number; spreadsheets write 3 as 3.0


def read_labelled_clips(
    source: Path,
    *,
    labels: tuple[str, ...] | None = None,
    group_by: str = GROUP,
    multi_label: bool = False,
    labels_from: str | None = None,
    fps: float | None = None,
    note: NoteCallback = ignore_note,
) -> list[LabelledClip]:
    """The clips of a folder (`<label>/*.mp4` or `train/<label>/*.mp4`), a table, annotations or tars.

    A table has a heading: `path,label` and perhaps `split`, `group`, `start` and `end`, or other
    names for them. Without one it is a list of `path label_index`, and `labels` names the numbers.
    Its paths start at its own folder. Tar files (`shards_at`) hold videos and their labels as
    WebDataset writes them (`shard_clips`). `labels_from` says where in a folder the labels are
    (`labelled_videos`). `group_by` is a column of the table, `folder`, or a pattern of the path
    whose first bracket is the group. `fps` is the rate of folders of pictures, which are then
    videos, and of times that are counted in frames. A clip that comes again in its split is left
    out, and `note` hears of it. With `multi_label` a clip may have several labels: `run|walk`, a
    column for each class, or the clip in several rows or folders. Raises UsageError that says file
    and line, and for a clip with two labels otherwise.
    """
    if shards := shards_at(source, note):
        _require_no_labels_from(source, labels_from, "tar files have their")
        how: dict[str, Any] = {"group_by": group_by, "multi_label": multi_label, "fps": fps}
        clips = shard_clips(source, shards, **how, note=note)
    elif source.is_dir():
        clips = list(_in_folder(source, labels_from, fps, note, multi_label=multi_label))
    else:
        _require_no_labels_from(source, labels_from, "a table has its")
        rows = read_rows(source, labels, group_by, multi_label=multi_label, fps=fps, note=note)
        clips = _in_table(source, rows, fps, note)
        # A row of class columns says all of its clip.
        clips = each_once(source, clips, note) if rows and rows[0].complete else clips
    if not clips:
        raise UsageError(f"{source}: no clips in it")
    once = clips  # of a folder, training lists what is in several classes, and goes on
    if multi_label:
        once = labels_together(source, clips, note)
    elif several := seem_several(dict.fromkeys(clip.label for clip in clips)):
        note(f"{source}: '{several}' is one class of that name; --multi-label makes it several")
    named = any(clip.group is not None for clip in once) if shards else once[0].group is not None
    if group_by == GROUP or (named and (shards or not source.is_dir())):
        return once
    return [replace(clip, group=_group(clip.path, group_by)) for clip in once]


def _require_no_labels_from(source: Path, labels_from: str | None, whose: str) -> None:
    if labels_from is not None:
        raise UsageError(f"{source}: --labels-from is for folders, and {whose} labels")


def require_some_there(source: Path, clips: Sequence[LabelledClip]) -> None:
    """Raise UsageError where not one of the clips is a file: the list's paths are wrong."""
    if not any(os.path.lexists(clip.file.replace("\0", "")) for clip in clips):
        raise UsageError(
            f"{source}: none of its clips is there; the first should be {clips[0].file} "
            f"(paths start at the folder of {source.name})"
        )


def class_names(clips: Sequence[LabelledClip]) -> tuple[str, ...]:
    """The labels, sorted; where all are numbers, by value."""
    names = {label for clip in clips for label in clip.classes}
    if all(name.isdecimal() for name in names):
        # By the name as well: "1" and "01" must not stand as a set happens to give them.
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def _in_folder(
    source: Path,
    labels_from: str | None,
    fps: float | None,
    note: NoteCallback,
    *,
    multi_label: bool,
) -> Iterator[LabelledClip]:
    for found in labelled_videos(source, labels_from, fps, note):
        label = composed(found.label)
        several = split_labels(label) if multi_label else None
        if several and "" in several:
            raise UsageError(f"{found.video.path}: an empty label in '{label}'")
        video = found.video
        yield LabelledClip(
            video.path, label, found.split, found.group, labels=several, fps=video.fps
        )


def _in_table(
    source: Path, rows: Sequence[TableRow], fps: float | None, note: NoteCallback
) -> list[LabelledClip]:
    require_forwards(source, rows)
    videos, clips = NamedVideos(source), []
    said = [(row.label,) if row.labels is None else row.labels for row in rows]
    written = iter(_plain_numbers(composed(label) for labels in said for label in labels))
    for row, labels in zip(rows, said, strict=True):
        named = tuple(islice(written, len(labels)))
        several = None if row.labels is None else named
        path, is_cut = videos.find(row)
        clips.append(
            LabelledClip(
                path=path,
                label=named[0] if several is None else join_labels(several),
                split=row.split,
                group=row.group,
                labels=several,
                start=0.0 if is_cut else row.start,
                end=None if is_cut else row.end,
                fps=fps if os.path.isdir(path.replace("\0", "")) else None,
                where=row.where,
            )
        )
    for remark in videos.notes():
        note(remark)
    return clips


def _plain_numbers(labels: Iterable[str]) -> list[str]:
    """The labels; where all of them are whole numbers, `3.0` is 3."""
    labels = list(labels)
    whole = [WHOLE.fullmatch(label) for label in labels]
    return [match[1] for match in whole if match] if all(whole) else labels


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
