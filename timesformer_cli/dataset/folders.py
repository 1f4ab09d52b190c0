"""Labelled clips in folders: a folder for each class, split folders and groups above them."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from timesformer_cli.callbacks import NoteCallback
from timesformer_cli.dataset.split_names import spelled_twice, split_named
from timesformer_cli.errors import ErrorKind, UsageError
from timesformer_cli.video import VideoPath, find_videos
from timesformer_cli.video.decoders.pillow import pictures_of
from timesformer_cli.video.find import is_dangling_folder

# What `labels_from` may be beside a pattern: the folder that holds the clip, or the one above it.
PARENT, GRANDPARENT = "parent", "grandparent"
FRAMES = "holds pictures (frames); --fps RATE reads each such folder as a video"
TABLE = "list the clips in a table (path,label,split)"


@dataclass(frozen=True, slots=True)
class FolderClip:
    """A video below a folder, and what the folders on the way say of it."""

    video: VideoPath
    label: str
    split: str | None
    group: str | None = None  # the folder above that of its class


def labelled_videos(
    source: Path, labels_from: str | None, fps: float | None, note: NoteCallback
) -> list[FolderClip]:
    """The videos below a folder with their labels: the folders at the top, below those of splits.

    With `labels_from` the label is the folder that holds the clip (`parent`), the one above it
    (`grandparent`), or what a pattern's first bracket matches in the path below the source. With
    `fps` folders of pictures are videos. Raises UsageError for what may be meant in two ways.
    """
    if labels_from is None:
        found = [
            FolderClip(video, folder.name, split)
            for split, folder in class_folders(source)
            for video in _videos(folder, fps)
        ]
        _require_no_groups_above(source, found, note)
    else:
        found = [
            _labelled(top, split, video, labels_from)
            for split, top in _split_folders(source)
            for video in _videos(top, fps)
        ]
    if fps is None and (frames := _folder_of_pictures(source)):
        note(f"{frames} {FRAMES}")
    return found


def class_folders(source: Path) -> Iterator[tuple[str | None, Path]]:
    """Each class folder, with its split where the folders above are splits.

    Either all folders have names of splits and class folders in them, or none has such a name:
    whatever lies between is a question to the user. Raises UsageError.
    """
    for split, top in _split_folders(source):
        classes = _folders(top)
        if split is None:
            for folder in classes:
                _require_no_splits_below(folder)
        elif not classes:
            raise UsageError(
                f"{top}: it is called like a split and has no class folders in it; put each "
                f"class's clips in a folder of its own there, or, if '{top.name}' is a class, "
                f"rename it or {TABLE}"
            )
        for folder in classes:
            yield split, folder


def _split_folders(source: Path) -> list[tuple[str | None, Path]]:
    """The folders of the splits; the source itself where there are none. Raises UsageError."""
    folders = _folders(source)
    if not folders:
        raise UsageError(
            f"{source}: no folders in it; put each class's clips in a folder of its own"
        )
    splits = [folder for folder in folders if split_named(folder.name)]
    if not splits:
        return [(None, source)]
    if others := [folder for folder in folders if folder not in splits]:
        raise UsageError(_mixed(source, splits, others))
    if twice := spelled_twice(folder.name for folder in splits):
        raise UsageError(
            f"{source}: {_names(twice)} are one split in two spellings; put their clips together "
            "or rename one"
        )
    return [(split_named(folder.name), folder) for folder in splits]


def _videos(folder: Path, fps: float | None) -> Iterator[VideoPath]:
    for video in find_videos([str(folder)], fps=fps):
        if video.error is not None:
            frames = video.error.kind == ErrorKind.NO_VIDEOS and _folder_of_pictures(folder)
            raise UsageError(
                f"{frames}: {FRAMES}"
                if frames
                else f"{video.path}: {video.error}; fill it or remove it"
            )
        yield video


def _labelled(top: Path, split: str | None, video: VideoPath, labels_from: str) -> FolderClip:
    """A clip whose label is a folder on the way to it, or a part of its path."""
    inside = Path(video.path).relative_to(top)
    above = {PARENT: 1, GRANDPARENT: 2}.get(labels_from)
    if above is None:
        return FolderClip(video, _matched(labels_from, inside.as_posix(), video.path), split)
    if len(inside.parts) <= above:
        raise UsageError(
            f"{video.path}: no folder of a class in {top}, of which --labels-from {labels_from} "
            "makes the label"
        )
    label = inside.parts[-above - 1]
    if split_named(label):
        raise UsageError(
            f"{video.path}: the class would be '{label}', which is called like a split; rename it, "
            f"choose another --labels-from, or {TABLE}"
        )
    outer = Path(*inside.parts[: -above - 1])
    return FolderClip(video, label, split, None if outer == Path() else str(outer))


def _matched(pattern: str, text: str, path: str) -> str:
    try:
        match = re.search(pattern, text)
    except re.error as error:
        raise UsageError(
            f"--labels-from '{pattern}': neither {PARENT} nor {GRANDPARENT}, and as a pattern: {error}"
        ) from error
    label = match and (match[match.re.groups and 1] or "")
    if not label:
        raise UsageError(f"--labels-from '{pattern}' matches no label in {path}")
    return label


def _require_no_groups_above(source: Path, clips: Sequence[FolderClip], note: NoteCallback) -> None:
    """Ask whether folders within folders are the classes, where both may be.

    They may be where no clip lies in an outer folder itself, and inner folders of one name lie in
    several outer ones, as takes, actors or classes do. Raises UsageError.
    """
    inner: defaultdict[str, set[str]] = defaultdict(set)
    for clip in clips:
        folder = Path(clip.video.path).parent
        if folder.name == clip.label:
            return
        inner[folder.name].add(clip.label)
    outer = {clip.label for clip in clips}
    if len(inner) < 2 and len(outer) < 2:
        return
    named = _names(sorted(outer), 3), _names(sorted(inner), 3)
    if len(outer) == 1 or any(len(above) > 1 for above in inner.values()):
        raise UsageError(
            f"{source}: folders within folders: the classes are the outer ones ({named[0]}) with "
            f"--labels-from {GRANDPARENT}, or the inner ones ({named[1]}) with --labels-from {PARENT}"
        )
    note(
        f"{source}: the classes are the outer folders ({named[0]}); --labels-from {PARENT} makes them "
        f"the inner ones ({named[1]})"
    )


def _folder_of_pictures(top: Path) -> str | None:
    """A folder of several pictures at or below this one; None where there is none."""
    for folder, folders, _ in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(pictures_of(folder)) > 1:
            return folder
    return None


def _mixed(source: Path, splits: Sequence[Path], others: Sequence[Path]) -> str:
    names, beside = _names([one.name for one in splits]), _names([one.name for one in others])
    is_split = "is called like a split" if len(splits) == 1 else "are called like splits"
    return (
        f"{source}: {names} {is_split}, and {beside} beside it not; if these are the splits, move "
        f"{beside} elsewhere or call it train, val or test; if all are classes, rename {names} or "
        f"{TABLE}"
    )


def _require_no_splits_below(folder: Path) -> None:
    below = _folders(folder)
    if below and all(split_named(inside.name) for inside in below):
        raise UsageError(
            f"{folder}: {_names([inside.name for inside in below])} in it are called like splits; "
            f"put splits above classes ({split_named(below[0].name)}/{folder.name}), rename "
            f"them, or {TABLE}"
        )


def _names(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"'{name}'" for name in names[:most]) + more


def _folders(folder: Path) -> list[Path]:
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UsageError(f"{folder}: cannot be listed ({error.strerror})") from error
    for path in inside:
        if is_dangling_folder(str(path)):
            raise UsageError(f"{path}: is a link to a file that does not exist; mend or remove it")
    return [path for path in inside if path.is_dir()]
