"""The headings of tables of labelled clips, as other programs and people call them."""

import csv
import re
from collections.abc import Collection, Sequence

from timesformer_cli.errors import UsageError

# Headings that say what a column holds, without case, spaces and signs. The first is ours, and is
# taken where others of its kind stand beside it.
PATH = (
    "path paths videopath video videos videoname videofile file files filename filepath clip clips "
    "clippath clipname clipfile relativepath relpath"
).split()
# What names a video without its folder and suffix, where no column is a path.
IDS = "youtubeid ytid videoid".split()
LABEL = (
    "label labels labelname labelid labelindex class classes classname classid classindex category "
    "categoryname categoryid target action actionname activity"
).split()
START = "start starttime startseconds startsec starts timestart begin begintime tstart".split()
END = "end endtime endseconds endsec ends timeend stop stoptime tend".split()
START_FRAME = "startframe framestart beginframe firstframe".split()
END_FRAME = "endframe frameend stopframe lastframe".split()
TIMES = {"start": START, "end": END, "start_frame": START_FRAME, "end_frame": END_FRAME}


def find_headings(
    where: str, line: str, delimiters: str, *, class_columns: bool = False
) -> str | None:
    """The delimiter under which a line names a path and a label; None where it is no heading.

    With `class_columns` a path alone will do, with other columns beside it. Raises UsageError for a
    heading that names only one of them, or one of them twice.
    """
    parsed = {delimiter: cells_of(line, delimiter) for delimiter in delimiters}
    known = {
        delimiter: (path_columns(cells), places_of(cells, LABEL))
        for delimiter, cells in parsed.items()
    }
    for delimiter, (paths, labels) in known.items():
        if len(paths) == len(labels) == 1:
            return delimiter
    best = max(known, key=lambda delimiter: sum(map(len, known[delimiter])))
    if class_columns:
        wide = [each for each, (paths, labels) in known.items() if len(paths) == 1 and not labels]
        widest = max(wide, key=lambda each: len(parsed[each]), default=None)
        if widest is not None and len(parsed[widest]) > 1:
            return widest
    cells, found_columns = parsed[best], known[best]
    if not any(found_columns) or any(re.fullmatch(r"[\d.]+", cell) for cell in cells):
        return None
    there = ", ".join(cells)
    for names, found, kind in zip((PATH, LABEL), found_columns, ("path", "label"), strict=True):
        if not found:
            raise UsageError(
                f"{where}: no column '{kind}'; there are {there}; names known for it: "
                f"{', '.join(names)}"
                + ("; --multi-label reads a column of 0 and 1 for each class" * (kind == "label"))
            )
        if len(found) > 1:
            raise UsageError(_ambiguous(where, cells, found, kind))
    return None


def time_columns(where: str, headings: Sequence[str]) -> dict[str, int]:
    """The places of the columns that say where a part begins and ends; those that are there.

    Raises UsageError where several may say it.
    """
    places: dict[str, int] = {}
    for kind, names in TIMES.items():
        found = places_of(headings, names)
        if len(found) > 1:
            raise UsageError(_ambiguous(where, headings, found, kind))
        # Where the times are there, frames are not needed, and so no frame rate.
        if found and kind.removesuffix("_frame") not in places:
            places[kind] = found[0]
    return places


def unused_note(headings: Sequence[str], used: Collection[int]) -> str | None:
    """What to say of columns that nothing reads; None where there are none."""
    unused = [name or f"(column {at + 1})" for at, name in enumerate(headings) if at not in used]
    if not unused:
        return None
    return f"columns that are not used: {', '.join(unused)}"


def places_of(cells: Sequence[str], names: Sequence[str]) -> list[int]:
    """The places of the headings that are known: of our own name where it is there, else of all."""
    plain = _plain(cells)
    own = [place for place, cell in enumerate(plain) if cell == names[0]]
    return own or [place for place, cell in enumerate(plain) if cell in names]


def path_columns(cells: Sequence[str]) -> list[int]:
    """The places of headings that name a file; where none does, of those that name a video."""
    return places_of(cells, PATH) or places_of(cells, IDS)


def is_id(heading: str) -> bool:
    """Whether a heading says that its column names videos without folder and suffix."""
    return _plain([heading])[0] in IDS


def cells_of(line: str, delimiter: str) -> list[str]:
    """The cells of one line, stripped; empty where it cannot be cut there."""
    try:
        rows = list(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    except csv.Error:
        return []
    return [cell.strip() for cell in rows[0]]


def _plain(cells: Sequence[str]) -> list[str]:
    return [re.sub(r"[\s_.-]+", "", cell).casefold() for cell in cells]


def _ambiguous(where: str, cells: Sequence[str], found: Sequence[int], kind: str) -> str:
    named = " and ".join(f"'{cells[place]}'" for place in found)
    return (
        f"{where}: {named} may each be the {kind}; call the one that is '{kind}', and the "
        "others something else"
    )
