"""What annotation tools export and benchmarks publish, known by its content: JSON and XML."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from timesformer_cli.callbacks import NoteCallback
from timesformer_cli.dataset.cvat import cvat_rows
from timesformer_cli.dataset.json_lines import PlacedObject, read_placed_json
from timesformer_cli.dataset.label_studio import are_tasks, label_studio_rows
from timesformer_cli.dataset.part_times import parse_time, require_time
from timesformer_cli.dataset.split_names import SPLITS, split_named
from timesformer_cli.dataset.table_row import TableRow
from timesformer_cli.dataset.table_text import json_kind
from timesformer_cli.errors import UsageError

KNOWN = (
    "known are ActivityNet's annotations ('database'), and exports of Label Studio (JSON) and CVAT "
    "(XML); save another table as CSV (UTF-8)"
)


def is_annotation(source: Path, text: str) -> bool:
    """Whether a text is JSON or XML, by its content or its name, and so no table."""
    if source.suffix.lower() in (".json", ".xml"):
        return True
    return text.lstrip().startswith(("<?xml", "<annotations")) or json_kind(text) == "json"


def annotation_rows(
    source: Path, text: str, fps: float | None, note: NoteCallback
) -> list[TableRow]:
    """The clips that an annotation file lists; `fps` is the rate of what counts in frames.

    `note` hears what it was read as, and what in it is not used. Raises UsageError that says file
    and line.
    """
    unused: dict[str, None] = {}
    if text.lstrip().startswith("<"):
        kind, rows = "CVAT's export", cvat_rows(source, text, fps, unused)
    else:
        value = read_placed_json(source, text)
        if are_tasks(value):
            kind, rows = "Label Studio's export", label_studio_rows(source, value, fps, unused)
        elif isinstance(value, PlacedObject) and isinstance(value.get("database"), PlacedObject):
            kind, rows = "ActivityNet's annotations", list(_activity_net(source, value, unused))
        else:
            raise UsageError(f"{source}: is JSON of an unknown kind; {KNOWN}")
    videos = len({row.path for row in rows})
    beside = f"; not used: {', '.join(unused)}" if unused else ""
    note(f"{source}: read as {kind}: {len(rows)} clips of {videos} videos{beside}")
    return rows


def _activity_net(source: Path, value: PlacedObject, unused: dict[str, None]) -> Iterator[TableRow]:
    unused |= dict.fromkeys(key for key in value if key != "database")
    for name, video in value["database"].items():
        where = f"{source}:{getattr(video, 'line', value['database'].line)}"
        if not isinstance(video, PlacedObject) or not isinstance(
            video.get("annotations", []), list
        ):
            raise UsageError(f"{where}: '{name}' has no list 'annotations'")
        unused |= dict.fromkeys(key for key in video if key not in ("subset", "annotations"))
        subset = str(video.get("subset", ""))
        split = split_named(subset)
        if subset and split is None:
            raise UsageError(f"{where}: subset '{subset}'; there are {', '.join(SPLITS)}")
        if not video.get("annotations"):
            unused[f"videos without annotations ({subset or 'no subset'})"] = None
        for one in video.get("annotations", []):
            yield _segment(source, where, name, split, one, unused)


def _segment(
    source: Path, above: str, name: str, split: str | None, one: Any, unused: dict[str, None]
) -> TableRow:
    where = f"{source}:{one.line}" if isinstance(one, PlacedObject) else above
    if not isinstance(one, PlacedObject) or not isinstance(one.get("label"), str):
        raise UsageError(f"{where}: an annotation of '{name}' without a label")
    times = one.get("segment")
    if not isinstance(times, list) or len(times) != 2:
        raise UsageError(f"{where}: 'segment' of '{name}' is not [start, end]")
    start, end = (
        parse_time(where, "segment", each)
        if isinstance(each, str)
        else require_time(where, "segment", each)
        for each in times
    )
    unused |= dict.fromkeys(key for key in one if key not in ("label", "segment"))
    if not one["label"].strip():
        raise UsageError(f"{where}: an annotation of '{name}' without a label")
    return TableRow(
        where=where,
        path=name,
        label=one["label"].strip(),
        split=split,
        start=start or 0.0,
        end=end,
        names=(f"v_{name}", name),
    )
