"""A timeline as subtitles, SubRip and WebVTT: a cue for each segment, with its label and score.

Labels are anybody's text, and players read marks in it: tags, and in SubRip also what stands in
braces. WebVTT can write such characters so that they are no marks; SubRip cannot, so there they are
written with characters that look alike.
"""

from collections.abc import Callable, Iterator

from timesformer_cli.timelines.results import Segment, Timeline
from timesformer_cli.timelines.text import one_line

# Angle quotation marks, parentheses, and the backslash of mathematics.
ALIKE = str.maketrans({"<": "\u2039", ">": "\u203a", "{": "(", "}": ")", "\\": "\u29f5"})
ESCAPED = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def to_srt(timeline: Timeline) -> str:
    """The segments as a SubRip file (.srt)."""
    cues = _cues(timeline, ",", lambda text: text.translate(ALIKE))
    return "".join(f"{number}\n{cue}\n" for number, cue in enumerate(cues, start=1))


def to_vtt(timeline: Timeline) -> str:
    """The segments as a WebVTT file (.vtt)."""
    cues = _cues(timeline, ".", lambda text: text.translate(ESCAPED))
    return "WEBVTT\n\n" + "".join(f"{cue}\n" for cue in cues)


def segment_name(segment: Segment) -> str:
    """The segment's label on one line; a label of which nothing is left goes by its number."""
    return one_line(segment.label) or f"class {segment.index}"


def _cues(timeline: Timeline, point: str, harmless: Callable[[str], str]) -> Iterator[str]:
    for segment in timeline.segments:
        start, end = (_cue_time(moment, point) for moment in (segment.start, segment.end))
        yield f"{start} --> {end}\n{harmless(segment_name(segment))} ({100 * segment.score:.0f} %)\n"


def _cue_time(seconds: float, point: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest:02}{point}{milliseconds:03}"
