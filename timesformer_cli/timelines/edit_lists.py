"""A timeline for programs that cut films: OpenTimelineIO, and CMX 3600 edit decision lists.

Each segment is a clip of the video, at its own time, named by its label; between segments there are
gaps. opentimelineio writes both formats.
"""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from timesformer_cli.errors import UsageError
from timesformer_cli.installing import how_to_install
from timesformer_cli.timelines.results import Segment, Timeline
from timesformer_cli.timelines.subtitles import segment_name
from timesformer_cli.timelines.text import one_line

if TYPE_CHECKING:
    import opentimelineio

# Frames a second that timecodes exist for, as SMPTE 12M and its use for faster video have them.
TIMECODE_RATES = (24000 / 1001, 24, 25, 30000 / 1001, 30, 48000 / 1001, 48, 50, 60000 / 1001, 60)
DROP_FRAME = (30000 / 1001, 60000 / 1001)  # timecodes leave out numbers, so that they keep time
SAME = 5e-4  # a share; rates that lie closer are one, while 23.976 and 24 are two
DAY = 86400.0  # seconds; a timecode begins anew then
SEGMENTS = "segments"  # the name of the track, where there is one
REEL = 8  # characters of a reel's name
ADAPTER = "cmx_3600"  # opentimelineio's name of the edit decision list


def require_edit_lists(format: str) -> None:
    """Raise UsageError where the packages that write `otio` or `edl` are not installed."""
    try:
        from opentimelineio import adapters
    except ImportError as error:
        raise UsageError(f"{format} needs opentimelineio: {how_to_install('edit')}") from error
    if format == "edl" and ADAPTER not in adapters.available_adapter_names():
        raise UsageError(f"edl needs otio-cmx3600-adapter: {how_to_install('edit')}")


def to_otio(timeline: Timeline) -> str:
    """The segments as an OpenTimelineIO file (.otio), at the video's own rate."""
    return str(_edit_list(timeline, _known_rate(timeline.fps) or timeline.fps).to_json_string())


def to_edl(timeline: Timeline) -> str:
    """The segments as a CMX 3600 edit decision list (.edl), at `timecode_rate`.

    Raises UsageError for a video of more than a day, which timecodes cannot count.
    """
    from opentimelineio import adapters

    if timeline.shots and timeline.shots[-1].end >= DAY:
        raise UsageError(
            f"{timeline.video}: timecodes end at 24 hours; write .otio in place of .edl"
        )
    if _overlap(timeline.segments):
        raise UsageError(
            f"{timeline.video}: labels overlap, and an .edl has one track; write .otio in place of it"
        )
    rate = timecode_rate(timeline.fps)
    edits = _edit_list(timeline, rate)
    header = f"TITLE: {edits.name}\n"
    header += f"FCM: {'DROP FRAME' if rate in DROP_FRAME else 'NON-DROP FRAME'}\n\n"
    edits.name = ""  # or the adapter writes a title of its own, before which no FCM can stand
    if not timeline.segments:  # which the adapter cannot write
        return header
    return header + str(adapters.write_to_string(edits, ADAPTER, rate=rate, reelname_len=REEL))


def timecode_rate(fps: float) -> float:
    """The rate at which timecodes count the frames of a video of `fps` frames a second.

    That is `fps` itself where there are timecodes for it; else the nearest rate that is a multiple
    of it, or that it is a multiple of; else 30.

        29.97 -> 30000/1001    15 -> 30    12.5 -> 25    120 -> 60    17.3 -> 30
    """
    if known := _known_rate(fps):
        return known

    def apart(rate: float) -> float:
        return max(rate, fps) / min(rate, fps)

    whole = [rate for rate in TIMECODE_RATES if abs(apart(rate) / round(apart(rate)) - 1) < SAME]
    return min(whole, key=apart, default=30)


def _known_rate(fps: float) -> float | None:
    near = min(TIMECODE_RATES, key=lambda rate: abs(rate / fps - 1))
    return near if abs(near / fps - 1) < SAME else None


def _edit_list(timeline: Timeline, rate: float) -> "opentimelineio.schema.Timeline":
    from opentimelineio import opentime, schema

    def range_of(first: int, last: int) -> opentime.TimeRange:
        return opentime.TimeRange(
            opentime.RationalTime(first, rate), opentime.RationalTime(last - first, rate)
        )

    path = Path(timeline.video)
    name = one_line(path.name)
    url = path.absolute().as_uri()
    reel = re.sub(r"[^A-Za-z0-9]", "", path.stem)[:REEL].upper() or "AX"  # AX is any source
    length = round(timeline.shots[-1].end * rate) if timeline.shots else 0
    edits = schema.Timeline(name)
    for title, segments in _tracks(timeline.segments).items():
        track = schema.Track(name=title, kind=schema.TrackKind.Video)
        done = 0
        for segment in segments:
            first = max(done, round(segment.start * rate))
            last = max(first + 1, round(segment.end * rate))
            if first > done:
                track.append(schema.Gap(source_range=range_of(0, first - done)))
            facts = {
                "index": segment.index,
                "score": segment.score,
                "peak": segment.peak,
                "shot": segment.shot,
                "model": timeline.model,
            }
            track.append(
                schema.Clip(
                    name=segment_name(segment),
                    media_reference=schema.ExternalReference(url, range_of(0, max(length, last))),
                    source_range=range_of(first, last),
                    metadata={"tsf": facts, ADAPTER: {"reel": reel}},
                )
            )
            done = last
        edits.tracks.append(track)
    return edits


def _tracks(segments: Sequence[Segment]) -> dict[str, list[Segment]]:
    """One track; where labels overlap, as those of a model of several labels, one for each label."""
    tracks: dict[str, list[Segment]] = {} if segments else {SEGMENTS: []}
    apart = _overlap(segments)
    for segment in segments:
        tracks.setdefault(one_line(segment.label) if apart else SEGMENTS, []).append(segment)
    return tracks


def _overlap(segments: Sequence[Segment]) -> bool:
    return any(after.start < before.end for before, after in pairwise(segments))
