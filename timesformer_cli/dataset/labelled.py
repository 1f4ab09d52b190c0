"""Read labelled clips: a folder per class, a table, or a list of paths and class numbers."""

import csv
import io
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from timesformer_cli.errors import UsageError
from timesformer_cli.video import find_videos

SPLITS = ("train", "val", "test")
# What `group_by` may be beside another column or a pattern: the column, or the clip's folder.
GROUP, FOLDER = "group", "folder"


@dataclass(frozen=True, slots=True)
class LabelledClip:
    """One clip and its class."""

    path: str
    label: str
    split: str | None = None  # one of SPLITS; None means that the source does not say
    group: str | None = None  # clips of one group, such as takes of one scene, stay in one split


def read_labelled_clips(
    source: Path, *, labels: tuple[str, ...] | None = None, group_by: str = GROUP
) -> list[LabelledClip]:
    """The clips of a folder (`<label>/*.mp4` or `train/<label>/*.mp4`) or of a table.

    A table has a header: `path,label` and perhaps `split` and `group`, with commas or tabs. Without
    one it is a list of `path label_index`, and `labels` names the numbers. Its paths start at its
    own folder. `group_by` is a column of the table, `folder`, or a pattern of the path whose first
    bracket is the group. Raises UsageError that says file and line.
    """
    if source.is_dir():
        clips = list(_in_folder(source))
    else:
        clips = list(_in_table(source, _read(source), labels, group_by))
    if not clips:
        raise UsageError(f"{source}: no clips in it")
    if group_by == GROUP or clips[0].group is not None:
        return clips
    return [replace(clip, group=_group(clip.path, group_by)) for clip in clips]


def require_some_there(source: Path, clips: Sequence[LabelledClip]) -> None:
    """Raise UsageError where not one of the clips is a file: the list's paths are wrong."""
    if not any(os.path.lexists(clip.path.replace("\0", "")) for clip in clips):
        raise UsageError(
            f"{source}: none of its clips is there; the first should be {clips[0].path} "
            f"(paths start at the folder of {source.name})"
        )


def class_names(clips: Sequence[LabelledClip]) -> tuple[str, ...]:
    """The labels, sorted; where all are numbers, by value."""
    names = {clip.label for clip in clips}
    if all(name.isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def _in_folder(source: Path) -> Iterator[LabelledClip]:
    folders = _folders(source)
    if folders and all(folder.name in SPLITS and _folders(folder) for folder in folders):
        for part in folders:
            yield from _in_classes(part, _folders(part), part.name)
    elif folders:
        yield from _in_classes(source, folders, None)
    else:
        raise UsageError(
            f"{source}: no folders in it; put each class's clips in a folder of its own"
        )


def _in_classes(parent: Path, folders: Sequence[Path], split: str | None) -> Iterator[LabelledClip]:
    for folder in folders:
        for video in find_videos([str(folder)]):
            if video.error is not None:
                raise UsageError(f"{video.path}: {video.error}; fill it or remove it")
            yield LabelledClip(video.path, folder.name, split)


def _folders(folder: Path) -> list[Path]:
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder}: cannot be listed ({error.strerror})") from error
    return [path for path in inside if path.is_dir() and not path.name.startswith(".")]


def _in_table(
    source: Path, text: str, labels: tuple[str, ...] | None, group_by: str
) -> Iterator[LabelledClip]:
    first = text.partition("\n")[0]
    delimiter = "\t" if "\t" in first else ","
    rows = _rows(source, text, delimiter)
    _, header = next(rows, (1, []))
    names = [cell.lower() for cell in header]
    if "path" not in names:
        yield from _numbered(source, text, labels)
        return
    if "label" not in names:
        raise UsageError(f"{source}:1: no column 'label'; there are {', '.join(header)}")
    grouping = group_by.lower()
    for number, cells in rows:
        where = f"{source}:{number}"
        if len(cells) != len(names):
            raise UsageError(
                f"{where}: {len(cells)} cells under {len(names)} headings; "
                "quote what has a comma in it"
            )
        row = dict(zip(names, cells, strict=True))
        split = row.get("split", "").lower() or None
        if split is not None and split not in SPLITS:
            raise UsageError(f"{where}: split '{split}'; there are {', '.join(SPLITS)}")
        if not row["path"] or not row["label"]:
            raise UsageError(f"{where}: no {'label' if row['path'] else 'path'}")
        path = str(source.parent / row["path"])
        yield LabelledClip(path, row["label"], split, row.get(grouping) or None)


def _numbered(source: Path, text: str, labels: tuple[str, ...] | None) -> Iterator[LabelledClip]:
    """Clips of lines with a path and a class number, parted by a space, comma or tab."""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        parts = re.fullmatch(r"(.+?)[\s,]+(\d+)", line.strip())
        if parts is None:
            raise UsageError(
                f"{source}:{number}: neither a heading with 'path' and 'label' above it, "
                "nor a path and a class number"
            )
        label = parts[2]
        if labels is not None:
            if int(label) >= len(labels):
                raise UsageError(f"{source}:{number}: class {label} of {len(labels)} (from 0)")
            label = labels[int(label)]
        yield LabelledClip(str(source.parent / parts[1]), label)


def _rows(source: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and cells of each row that is not empty."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise UsageError(f"{source}:{reader.line_num}: {error}") from error


def _read(source: Path) -> str:
    try:
        # "sig": spreadsheets put a byte order mark in front.
        return source.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{source}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UsageError(f"{source}:{line}: not UTF-8; save the table as UTF-8") from error


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
