"""Tables with a column for each class, which holds 1 for clips that have it and 0 for the others."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from timesformer_cli.callbacks import NoteCallback
from timesformer_cli.errors import UsageError

YES, NO = frozenset(("1", "1.0", "true", "yes")), frozenset(("0", "0.0", "false", "no"))


def find_class_columns(
    source: Path,
    headings: Sequence[str],
    rows: Sequence[tuple[str, list[str]]],
    beside: Collection[int],
    note: NoteCallback,
) -> Mapping[int, str]:
    """The places of the columns that are classes, with their names; `beside` are none.

    A column without any 0 and 1 is none either, and `note` hears of it. Raises UsageError.
    """
    others = [place for place in range(len(headings)) if place not in beside]
    classes = {
        place: headings[place]
        for place in others
        if any(_has(cells[place]) is not None for _, cells in rows)
    }
    if not classes:
        raise UsageError(
            f"{source}: no column 'label', and none of 0 and 1, which would be a class's; there are "
            f"{', '.join(headings)}"
        )
    if unused := [headings[place] for place in others if place not in classes]:
        note(f"{source}: columns without 0 and 1 are no classes: {', '.join(unused)}")
    names = list(classes.values())
    for name in names:
        if not name or names.count(name) > 1:
            what = f"'{name}' heads several columns" if name else "a column of 0 and 1 has no name"
            raise UsageError(f"{source}: {what}; each class has one column and a name")
    return classes


def labels_of_row(where: str, cells: Sequence[str], classes: Mapping[int, str]) -> tuple[str, ...]:
    """The classes of a row; raises UsageError for a cell that is neither 0 nor 1."""
    labels = []
    for place, name in classes.items():
        has = _has(cells[place])
        if has is None:
            raise UsageError(f"{where}: '{cells[place]}' under '{name}', a class; write 0 or 1")
        labels += [name] * has
    return tuple(labels)


def _has(cell: str) -> bool | None:
    """What a cell of a class's column says; None where it is neither 0 nor 1."""
    word = cell.casefold()
    return True if word in YES else False if word in NO else None
