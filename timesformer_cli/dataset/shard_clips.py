"""Labelled clips in tar files, as WebDataset names their members: `key.mp4` beside `key.cls`.

A key is a member's name up to the first dot behind its last slash. The label of a video is that of
its key: the text of `key.cls`, else of `key.txt`, else what `key.json` calls the label. The JSON may
also say `start`, `end`, `split` and a group.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from timesformer_cli.callbacks import NoteCallback
from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.dataset.headings import LABEL, places_of, time_columns
from timesformer_cli.dataset.multi_label import join_labels, split_labels
from timesformer_cli.dataset.part_times import parse_time, require_time, seconds_of_frame
from timesformer_cli.dataset.split_names import SPLITS, split_named
from timesformer_cli.errors import UsageError
from timesformer_cli.files import regular_file
from timesformer_cli.video.listed import composed, has_video_suffix
from timesformer_cli.video.tar_members import TarPart, tar_members

TEXTS, JSON = ("cls", "txt"), "json"  # what says the label: the first that is there
LARGEST_LABEL = 1 << 16  # bytes of a member that says one
MOST_TOLD = 5  # faults that are named


@dataclass(kw_only=True)
class _Reader:
    """How members become clips, and what was found on the way."""

    group_by: str
    multi_label: bool
    fps: float | None
    faults: list[str] = field(default_factory=list)
    unused: Counter[str] = field(default_factory=Counter)


def shard_clips(
    source: Path,
    shards: Sequence[tuple[Path, str | None]],
    *,
    group_by: str,
    multi_label: bool,
    fps: float | None,
    note: NoteCallback,
) -> list[LabelledClip]:
    """The clips in tar files, each with its split, in their order.

    What cannot be used is left out, and `note` hears of it with its tar file and member: a tar file
    that is cut short, a name that leads out of it, a link, a name that comes twice, a video without
    a label, a label without a video.
    """
    reader = _Reader(group_by=group_by.lower(), multi_label=multi_label, fps=fps)
    clips = [clip for path, split in shards for clip in _of_shard(path, split, reader)]
    for fault in reader.faults[:MOST_TOLD]:
        note(f"left out: {fault}")
    if (more := len(reader.faults) - MOST_TOLD) > 0:
        note(f"left out: {more} more like these")
    if reader.unused:
        named = ", ".join(f"{name} ({count})" for name, count in reader.unused.most_common())
        note(f"{source}: not used: {named}")
    return clips


def _of_shard(path: Path, split: str | None, reader: _Reader) -> Iterator[LabelledClip]:
    parts: dict[str, TarPart] = {}
    said: dict[str, bytes] = {}  # of members that say a label
    twice: dict[str, None] = {}
    try:
        with regular_file(path) as (file, _):
            length = os.fstat(file.fileno()).st_size
            for member in tar_members(file, length, _is_known):
                if member.error is not None:
                    name = f"/{member.name}" if member.name else ""
                    reader.faults.append(f"{path}{name}: {member.error}")
                elif member.name in parts or member.name in said:
                    twice[member.name] = None
                elif has_video_suffix(member.name):
                    parts[member.name] = member.part
                else:
                    said[member.name] = _content(file, member.part)
    except OSError as error:
        reader.faults.append(f"{path}: cannot be read ({error.strerror or error})")
        return
    reader.faults += [f"{path}/{name}: is in its tar file twice" for name in twice]
    known: set[str] = set()
    for name, part in parts.items():
        beside = _beside(name, said)
        known.update(beside.values())
        if twice.keys() & {name, *beside.values()}:
            continue
        try:
            values = _values(path, name, beside, said, reader)
        except UsageError as fault:
            reader.faults.append(str(fault))
            continue
        where = f"{path}/{name}"
        place = (os.fspath(path), *part)
        yield LabelledClip(where, **{"split": split, **values}, member=place, where=where)
    without = (name for name in said if name not in known)
    reader.faults += [f"{path}/{name}: a label without a video" for name in without]


def _is_known(name: str) -> bool:
    """Whether a member is a video or may say a label; hidden ones are neither."""
    hidden = os.path.basename(name).startswith(".")
    return not hidden and (
        has_video_suffix(name) or os.path.splitext(name)[1].lower()[1:] in (*TEXTS, JSON)
    )


def _content(file: IO[bytes], part: TarPart) -> bytes:
    """The bytes of a small member; one more than are allowed of a large one."""
    file.seek(part.offset)
    return file.read(min(part.size, LARGEST_LABEL + 1))


def _beside(name: str, said: Mapping[str, bytes]) -> dict[str, str]:
    """The members that say something of a video, by their kind.

    Of `a/key.left.mp4` these are `a/key.left.cls`, ..., or else `a/key.cls`.
    """
    folder, base = os.path.split(name)
    found: dict[str, str] = {}
    for stem in (os.path.splitext(base)[0], base.partition(".")[0]):
        for kind in (*TEXTS, JSON):
            for spelled in (kind, kind.upper()):
                if (full := os.path.join(folder, f"{stem}.{spelled}")) in said:
                    found.setdefault(kind, full)
    return found


def _values(
    shard: Path,
    name: str,
    beside: Mapping[str, str],
    said: Mapping[str, bytes],
    reader: _Reader,
) -> dict[str, Any]:
    """What the members beside a video say of it, as fields of its clip; raises UsageError."""
    texts = {kind: _text(f"{shard}/{full}", said[full]) for kind, full in beside.items()}
    labels: list[str] | None = None
    values: dict[str, Any] = {}
    if JSON in texts:
        labels, values = _in_json(f"{shard}/{beside[JSON]}", texts.pop(JSON), reader)
    if texts:
        kind = next(kind for kind in TEXTS if kind in texts)
        reader.unused.update(f".{other} beside .{kind}" for other in texts if other != kind)
        if labels is not None:
            reader.unused[f"labels in .json beside .{kind}"] += 1
        where, text = f"{shard}/{beside[kind]}", texts[kind].strip()
        if len(text.splitlines()) > 1:
            raise UsageError(f"{where}: has several lines, and a label is one")
        labels = list(split_labels(text)) if reader.multi_label else [text]
    if labels is None:
        raise UsageError(f"{shard}/{name}: a video without a label (.cls, .txt or .json)")
    if not all(labels):
        raise UsageError(f"{shard}/{name}: its label is empty")
    if not reader.multi_label and len(labels) != 1:
        raise UsageError(f"{shard}/{name}: has {len(labels)} labels; --multi-label reads them")
    several = tuple(dict.fromkeys(map(composed, labels)))
    if reader.multi_label:
        return {"label": join_labels(several), "labels": several, **values}
    return {"label": several[0], **values}


def _text(where: str, content: bytes) -> str:
    if len(content) > LARGEST_LABEL:
        raise UsageError(f"{where}: has more than {LARGEST_LABEL >> 10} KB, which is no label")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{where}: is not UTF-8") from None


def _in_json(where: str, text: str, reader: _Reader) -> tuple[list[str] | None, dict[str, Any]]:
    """The labels that a JSON text has, None where it has none, and the other fields of a clip."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: is no JSON ({error})") from None
    if not isinstance(value, dict):
        return _labels(where, value, reader), {}
    keys = list(value)
    places, times = places_of(keys, LABEL), time_columns(where, keys)
    if len(places) > 1:
        named = " and ".join(f"'{keys[place]}'" for place in places)
        raise UsageError(f"{where}: {named} may each be the label; call one of them 'label'")
    labels = _labels(where, value[keys[places[0]]], reader) if places else None
    values: dict[str, Any] = {}
    for kind, place in times.items():
        moment = value[keys[place]]
        if moment is None:
            continue
        read = parse_time if isinstance(moment, str) else require_time
        seconds = read(where, keys[place], moment)
        if kind.endswith("_frame") and seconds is not None:
            seconds = seconds_of_frame(where, seconds, reader.fps)
        values[kind.removesuffix("_frame")] = seconds
    start, end = values.get("start") or 0.0, values.get("end")
    if end is not None and end <= start:
        raise UsageError(f"{where}: its part ends at {end:g} s and begins at {start:g} s")
    lowered = {key.lower(): key for key in keys}
    if (split := value.get(lowered.get("split", ""))) is not None:
        values["split"] = split_named(str(split))
        if values["split"] is None:
            raise UsageError(f"{where}: split '{split}'; there are {', '.join(SPLITS)}")
    if (group := value.get(lowered.get(reader.group_by, ""))) is not None:
        values["group"] = str(group)
    used = {keys[place] for place in (*places, *times.values())}
    used |= {lowered[name] for name in ("split", reader.group_by) if name in lowered}
    reader.unused.update(f"'{key}' in .json" for key in keys if key not in used)
    return labels, {**values, "start": start}


def _labels(where: str, value: Any, reader: _Reader) -> list[str]:
    """The labels that a value of JSON means: a text, a number, or a list of these."""
    if isinstance(value, list):
        return [label for one in value for label in _labels(where, one, reader)]
    if isinstance(value, float) and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UsageError(f"{where}: a label is a text or a number; got {value!r:.40}")
    text = str(value).strip()
    return list(split_labels(text)) if reader.multi_label else [text]
