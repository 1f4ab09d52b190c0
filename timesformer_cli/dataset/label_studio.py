"""Exports of Label Studio (JSON): whole videos by choices, parts by labels on a timeline."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from timesformer_cli.dataset.json_lines import PlacedObject
from timesformer_cli.dataset.multi_label import join_labels
from timesformer_cli.dataset.part_times import require_time, seconds_of_frame
from timesformer_cli.dataset.split_names import split_named
from timesformer_cli.dataset.table_row import TableRow
from timesformer_cli.errors import UsageError
from timesformer_cli.video.listed import has_video_suffix

UPLOADED = re.compile(r"[0-9a-f]{8}-(?=.)")  # what Label Studio puts before an uploaded file's name
RATES = ("fps", "framerate", "frame_rate")  # keys of a task's data that may say it
# Which list of a result's value holds its labels, by the result's type.
CHOICES, TIMELINE, LABELS = "choices", "timelinelabels", "labels"


def are_tasks(value: Any) -> bool:
    """Whether a JSON value is a list of tasks, each with its data."""
    return (
        isinstance(value, list)
        and bool(value)
        and isinstance(value[0], PlacedObject)
        and ("data" in value[0] or "annotation_id" in value[0])
    )


def label_studio_rows(
    source: Path, tasks: list[Any], fps: float | None, unused: dict[str, None]
) -> list[TableRow]:
    """The clips of an export; what is not used is added to `unused`. Raises UsageError."""
    return [row for task in tasks for row in _of_task(source, task, fps, unused)]


def _of_task(
    source: Path, task: Any, fps: float | None, unused: dict[str, None]
) -> Iterator[TableRow]:
    if not isinstance(task, PlacedObject):
        raise UsageError(f"{source}: a task that is no object, but {task!r:.40}")
    where = f"{source}:{task.line}"
    if "annotation_id" in task and "annotations" not in task:
        raise UsageError(f"{where}: is Label Studio's JSON-MIN; export JSON in its place")
    data, annotations = task.get("data"), task.get("annotations")
    if not isinstance(data, PlacedObject) or not isinstance(annotations, list):
        raise UsageError(f"{where}: a task without 'data' and 'annotations'")
    key = _video_key(where, data)
    rate = fps or next((data[name] for name in RATES if name in data), None)
    if rate is not None and (require_time(where, "the frame rate", rate) == 0):
        raise UsageError(f"{where}: a frame rate of 0")
    used = (key, "split", "group", *RATES)
    unused |= dict.fromkeys(f"data.{name}" for name in data if name not in used)
    split = split_named(str(data.get("split", "")))
    about = _of_video(str(data[key])) | {"split": split, "group": data.get("group")}
    for annotation in annotations:
        if not isinstance(annotation, PlacedObject) or not isinstance(
            annotation.get("result"), list
        ):
            raise UsageError(f"{where}: an annotation without 'result'")
        if annotation.get("was_cancelled"):
            unused["cancelled annotations"] = None
            continue
        for result in annotation["result"]:
            yield from _of_result(source, annotation, result, rate, about, unused)


def _video_key(where: str, data: PlacedObject) -> str:
    """Which of a task's data is the video: the key of that name, or the only file of a video."""
    if isinstance(data.get("video"), str):
        return "video"
    found = [
        name
        for name, value in data.items()
        if isinstance(value, str) and has_video_suffix(_file(value))
    ]
    if len(found) != 1:
        raise UsageError(
            f"{where}: {len(found)} videos in 'data' ({', '.join(data)}); one must be there"
        )
    return found[0]


def _of_video(written: str) -> dict[str, Any]:
    """The path of a task's video, and names under which the file may lie."""
    path = _file(written)
    stem = os.path.splitext(os.path.basename(path))[0]
    return {"path": path, "names": (stem, UPLOADED.sub("", stem, count=1))}


def _file(written: str) -> str:
    """`a/b.mp4` of `/data/local-files/?d=a/b.mp4`, `b.mp4` of an upload or an address elsewhere."""
    parts = urlsplit(written)
    if parts.path.rstrip("/").endswith("/local-files"):
        return parse_qs(parts.query).get("d", [""])[0].lstrip("/")
    if (parts.scheme and parts.netloc) or written.startswith("/data/upload/"):
        return os.path.basename(unquote(parts.path))
    return written


def _of_result(
    source: Path,
    annotation: PlacedObject,
    result: Any,
    rate: float | None,
    about: dict[str, Any],
    unused: dict[str, None],
) -> Iterator[TableRow]:
    placed = isinstance(result, PlacedObject)
    where = f"{source}:{result.line if placed else annotation.line}"
    value = result.get("value") if placed else None
    if not isinstance(value, PlacedObject):
        raise UsageError(f"{where}: a result without 'value'")
    kind = str(result.get("type"))
    if kind not in (CHOICES, TIMELINE, LABELS) or (kind == LABELS and "start" not in value):
        unused[f"results of type {kind}"] = None
        return
    labels = value.get(kind)
    if not isinstance(labels, list) or not labels or not all(_is_label(one) for one in labels):
        raise UsageError(f"{where}: '{kind}' holds no label")
    row = about | {"where": where, "label": join_labels(one.strip() for one in labels)}
    if kind == CHOICES:
        yield TableRow(**row)
    elif kind == LABELS:
        start, end = (require_time(where, name, value.get(name)) for name in ("start", "end"))
        yield TableRow(**row, start=start, end=end)
    else:
        for start, end in _ranges(where, value):
            # Its frames are counted from 1, and the last one belongs to the range.
            first = seconds_of_frame(where, start - 1, rate)
            yield TableRow(**row, start=first, end=seconds_of_frame(where, end, rate))


def _is_label(one: Any) -> bool:
    return isinstance(one, str) and bool(one.strip())


def _ranges(where: str, value: PlacedObject) -> Iterator[tuple[float, float]]:
    ranges = value.get("ranges")
    if not isinstance(ranges, list) or not ranges:
        raise UsageError(f"{where}: no 'ranges'")
    for one in ranges:
        if not isinstance(one, PlacedObject):
            raise UsageError(f"{where}: a range that is not start and end")
        start, end = (require_time(where, name, one.get(name)) for name in ("start", "end"))
        if not 1 <= start <= end:
            raise UsageError(
                f"{where}: a range of frames from {start:g} to {end:g}, counted from 1"
            )
        yield start, end
