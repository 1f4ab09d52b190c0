"""Class folders, and split folders of them, in a folder of labelled clips."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from timesformer_cli.dataset.split_names import spelled_twice, split_named
from timesformer_cli.errors import UsageError
from timesformer_cli.video.find import is_dangling_folder

TABLE = "list the clips in a table (path,label,split)"


def class_folders(source: Path) -> Iterator[tuple[str | None, Path]]:
    """Each class folder, with its split where the folders above are splits.

    Either all folders have names of splits and class folders in them, or none has such a name:
    whatever lies between is a question to the user. Raises UsageError.
    """
    folders = _folders(source)
    if not folders:
        raise UsageError(
            f"{source}: no folders in it; put each class's clips in a folder of its own"
        )
    splits = [folder for folder in folders if split_named(folder.name)]
    if not splits:
        for folder in folders:
            _require_no_splits_below(folder)
            yield None, folder
        return
    if others := [folder for folder in folders if folder not in splits]:
        raise UsageError(_mixed(source, splits, others))
    if twice := spelled_twice(folder.name for folder in splits):
        raise UsageError(
            f"{source}: {_names(twice)} are one split in two spellings; put their clips together "
            "or rename one"
        )
    for split in splits:
        classes = _folders(split)
        if not classes:
            raise UsageError(
                f"{split}: it is called like a split and has no class folders in it; put each "
                f"class's clips in a folder of its own there, or, if '{split.name}' is a class, "
                f"rename it or {TABLE}"
            )
        for folder in classes:
            yield split_named(split.name), folder


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
