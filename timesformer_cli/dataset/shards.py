"""Which tar files a source of labelled clips means: one, several in braces, or a folder of them."""

import os
import re
from collections.abc import Sequence
from itertools import product
from math import prod
from pathlib import Path

from timesformer_cli.callbacks import NoteCallback
from timesformer_cli.dataset.split_names import split_named
from timesformer_cli.errors import UsageError
from timesformer_cli.video.listed import has_video_suffix
from timesformer_cli.video.tar_members import SHARD

PACKED = re.compile(r"\.(tgz|tbz2?|txz|tar\.(gz|bz2|xz|zst|lz4?))\Z", re.IGNORECASE)
RANGE = re.compile(r"(\d+)\.\.(\d+)")
BRACES = re.compile(r"\{([^{}]*)\}")
MOST = 100_000  # tar files that a name in braces may mean


def shards_at(source: Path, note: NoteCallback) -> list[tuple[Path, str | None]]:
    """The tar files that a source means, each with its split or None; none at all where it is something else.

    A source is a tar file, several in braces (`train-{000..009}.tar`), a folder of them, or one with
    folders of the splits. Raises UsageError for one that is not there or compressed, and where some
    are called like splits and others not.
    """
    if source.is_dir():
        found = _inside(source, note)
    elif BRACES.search(str(source)) and not os.path.lexists(source):
        found = _of_braces(source)
    else:
        found = [source] if source.suffix.lower() == SHARD or PACKED.search(source.name) else []
    if packed := [path for path in found if PACKED.search(path.name)]:
        raise UsageError(
            f"{packed[0]}: is compressed, and members are read where they lie; unpack it to "
            f"{PACKED.sub(SHARD, packed[0].name)} (gunzip, unzstd, ...)"
        )
    splits = [_split(path, source) for path in found]
    if None in splits and len(set(splits)) > 1:
        split, other = (
            next(path for path, each in zip(found, splits, strict=True) if (each is None) == none)
            for none in (False, True)
        )
        raise UsageError(
            f"{source}: {split.name} is called like a split and {other.name} is not; rename one, or "
            "put tar files in train, val and test"
        )
    once = {
        os.path.realpath(path): (path, split) for path, split in zip(found, splits, strict=True)
    }
    return list(once.values())


def joined_names(names: Sequence[str]) -> str:
    """One source for what a shell made of braces, or a glob: several tar files, in braces again.

    Raises UsageError for what is no tar file, and for a name that braces cannot hold.
    """
    names = list(dict.fromkeys(names))
    if len(names) == 1:
        return names[0]
    for name in names:
        if Path(name).suffix.lower() != SHARD:
            raise UsageError(f"{name}: is no tar file; several DATA are for tar files")
        if re.search(r"[{},]", name):
            raise UsageError(f"{name}: has a comma or a brace; put the tar files in a folder")
    start = _shared(names)
    end = _shared([name[len(start) :][::-1] for name in names])[::-1]
    inner = [name[len(start) : len(name) - len(end)] for name in names]
    between = f"{inner[0]}..{inner[-1]}"
    counted = RANGE.fullmatch(between) and list(_choices(between)) == inner
    return f"{start}{{{between if counted else ','.join(inner)}}}{end}"


def _shared(texts: Sequence[str]) -> str:
    return os.path.commonprefix(texts)  # noqa: RUF071 - of texts, not of folders


def plain_name(source: Path) -> str:
    """What to call a source: its name without suffix and braces, or its folder's."""
    source = source.absolute()
    if not BRACES.search(source.name):
        return source.stem
    return re.sub(r"[\W\d_]+\Z", "", BRACES.sub("", source.stem)) or source.parent.name


def _inside(folder: Path, note: NoteCallback) -> list[Path]:
    """The tar files of a folder, or of its folders of splits; none where other folders have videos."""
    try:
        inside = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise UsageError(f"{folder}: cannot be listed ({error.strerror})") from error
    tars, folders = _tars(inside), [path for path in inside if path.is_dir()]
    below = {
        path: sorted(path.iterdir())
        for path in folders
        if split_named(path.name) and os.access(path, os.R_OK)
    }
    in_splits = [tar for listed in below.values() for tar in _tars(listed)]
    classes = [path for path in folders if path not in below]
    classes += [path for listed in below.values() for path in listed if path.is_dir()]
    found = tars + in_splits
    if found and any(map(_holds_videos, classes)):
        note(f"{folder}: tar files beside folders of videos are not read ({found[0]})")
        return []
    return found


def _holds_videos(folder: Path) -> bool:
    return any(has_video_suffix(name) for _, _, names in os.walk(folder) for name in names)


def _tars(paths: Sequence[Path]) -> list[Path]:
    kinds = (path for path in paths if path.suffix.lower() == SHARD or PACKED.search(path.name))
    return [path for path in kinds if not path.name.startswith(".") and not path.is_dir()]


def _of_braces(source: Path) -> list[Path]:
    """`train-{000..009}.tar`, `{a,b}.tar`: what WebDataset and shells write so; raises UsageError."""
    text = os.fspath(source)
    literal = BRACES.split(text)  # text, inner, text, inner, ..., text
    choices = [_choices(inner) for inner in literal[1::2]]
    if (count := prod(map(len, choices))) > MOST:
        raise UsageError(f"{source}: means {count:,} tar files; {MOST:,} are read")
    found = [
        Path("".join(a + b for a, b in zip(literal[::2], (*chosen, ""), strict=True)))
        for chosen in product(*choices)
    ]
    if not all(path.suffix.lower() == SHARD or PACKED.search(path.name) for path in found):
        return []
    if missing := [path for path in found if not os.path.lexists(path)]:
        more = f" (and {len(missing) - 1} more of {len(found)})" if len(missing) > 1 else ""
        raise UsageError(f"{missing[0]}: does not exist{more}")
    return found


def _choices(inner: str) -> Sequence[str]:
    between = RANGE.fullmatch(inner)
    if between is None:
        return inner.split(",")
    first, last = between.groups()
    width = max(map(len, (first, last))) if first[0] == "0" or last[0] == "0" else 0
    low, high = int(first), int(last)
    if abs(high - low) >= MOST:
        raise UsageError(f"{{{inner}}} means {abs(high - low) + 1:,} tar files; {MOST:,} are read")
    step = 1 if high >= low else -1
    return [f"{number:0{width}d}" for number in range(low, high + step, step)]


def _split(path: Path, source: Path) -> str | None:
    """The split that the name of a tar file says, without its number, or that of its folder."""
    own = split_named(re.sub(r"[\W\d_]+\Z", "", path.stem))
    above = split_named(path.parent.name) if path.parent != source and source.is_dir() else None
    return above or own
