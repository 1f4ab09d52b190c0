"""Draw timelines: pictures of the video, below them a row for each label, with cuts as thin lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timesformer_cli.cli.draw.style import COLOURS, FAINT, GREY, STYLE, save_figure
from timesformer_cli.cli.formats import percent, shortened
from timesformer_cli.cli.stderr import note, printable
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import UsageError
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.timelines.results import Timeline
from timesformer_cli.timelines.text import clock
from timesformer_cli.video import DecodePool, VideoPath
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.messages import Decoded
from timesformer_cli.video.sample import Jitter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_VIDEOS, MOST_PICTURES, MOST_LABELS = 6, 12, 12
WIDE = 10.0  # inches
STRIP = 9.2  # inches that the pictures take side by side, about
ROW, HIGH, REST = 0.3, 1.0, 0.85  # inches of a label's row, of the pictures, of heading and axis
FAINTEST, FULLEST = (
    0.15,
    0.75,
)  # opacity of segments with a score of 0 and of 1: black stays legible
WRITTEN = 0.045  # share of the time axis that a segment needs for its score to be written in it
TRACKS = COLOURS[:-1]  # without black, in which scores are written
SHORT = 200  # pixels along the short side of a picture


@dataclass(frozen=True, kw_only=True, slots=True)
class _Drawn:
    """One timeline, its pictures, and the labels that have a row."""

    timeline: Timeline
    left: float  # seconds
    right: float
    pictures: tuple[Pixels | None, ...]  # at even moments
    labels: tuple[str, ...]  # in the order in which they first occur
    dropped: int  # labels without a row

    @property
    def height(self) -> float:
        return REST + ROW * max(1, len(self.labels)) + (HIGH if self.pictures else 0)


def require_few(videos: Sequence[VideoPath]) -> None:
    """Raise UsageError for more videos than a picture has room for."""
    if len(videos) > MOST_VIDEOS:
        raise UsageError(f"--plot draws up to {MOST_VIDEOS} videos, not {len(videos)}; give fewer")


def draw_timelines(
    timelines: Sequence[Timeline], path: Path, options: TimelineOptions, fps: float | None
) -> None:
    """Draw the timelines below one another into a file of the suffix's format.

    Where none has a length, notes that there is nothing to draw. Raises UsageError.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with DecodePool(2, options.timeout, options.decoder, debug=options.debug) as pool:
        panels = [_prepared(timeline, pool, fps) for timeline in timelines if timeline.shots]
    if not panels:
        note(f"{path}: not drawn, because no video could be read")
        return
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDE, sum(panel.height for panel in panels)), layout="constrained")
        parts = figure.subfigures(
            len(panels), 1, squeeze=False, height_ratios=[panel.height for panel in panels]
        )
        for part, panel in zip(parts[:, 0], panels, strict=True):
            _draw_panel(part, panel)
        save_figure(figure, path, dpi=160)


def _prepared(timeline: Timeline, pool: DecodePool, fps: float | None) -> _Drawn:
    labels = list(dict.fromkeys(segment.label for segment in timeline.segments))
    if len(labels) > MOST_LABELS:  # those that last longest, in the order of time
        lasting = {
            label: sum(s.end - s.start for s in timeline.segments if s.label == label)
            for label in labels
        }
        most = sorted(labels, key=lambda label: -lasting[label])[:MOST_LABELS]
        kept = [label for label in labels if label in most]
    else:
        kept = labels
    left, right = timeline.shots[0].start, timeline.shots[-1].end
    return _Drawn(
        timeline=timeline,
        left=left,
        right=right,
        pictures=tuple(_pictures(VideoPath(timeline.video, None, fps), left, right, pool)),
        labels=tuple(kept),
        dropped=len(labels) - len(kept),
    )


def _pictures(
    video: VideoPath, left: float, right: float, pool: DecodePool
) -> Iterator[Pixels | None]:
    """Pictures at even moments from left to right; None for one that cannot be read."""
    one = Sampling(frames=1, stride=None)  # at a share of the video that a jitter says
    preprocessing = Preprocessing(resize=SHORT, crop=(SHORT, SHORT))

    def decoded(shares: Sequence[float]) -> Iterator[Decoded | None]:
        jitters = [Jitter((min(share, 1.0),)) for share in shares]
        for found in pool.decode([video] * len(shares), one, preprocessing, 1, 0, jitters=jitters):
            yield found if isinstance(found, Decoded) else None

    (first,) = decoded([0.5])
    if first is None:
        return
    height, width = first.frames.shape[2:4]
    count = max(1, min(MOST_PICTURES, round(STRIP / HIGH * height / width)))
    length = max(first.probe.duration, 1e-6)
    moments = [left + (right - left) * (number + 0.5) / count for number in range(count)]
    for found in decoded([moment / length for moment in moments]):
        yield None if found is None else found.frames[0, 0]


def _draw_panel(part: Any, panel: _Drawn) -> None:
    timeline = panel.timeline
    rows = max(1, len(panel.labels))
    if panel.pictures:
        strip, axes = part.subplots(2, 1, sharex=True, height_ratios=[HIGH, ROW * rows])
        _draw_pictures(strip, panel)
    else:
        strip = axes = part.subplots()
    name = shortened(printable(timeline.video), 70)
    strip.set_title(name, loc="left", fontweight="bold")
    strip.set_title(printable(timeline.model), loc="right", color=GREY, fontsize=9)
    _draw_segments(axes, panel)
    _draw_clock(axes, panel)
    if panel.dropped:
        axes.set_xlabel(
            f"the {len(panel.labels)} labels that last longest; {panel.dropped} more occur",
            color=GREY,
        )


def _draw_pictures(axes: "Axes", panel: _Drawn) -> None:
    step = (panel.right - panel.left) / len(panel.pictures)
    for number, picture in enumerate(panel.pictures):
        start = panel.left + number * step
        if picture is not None:
            gap = step * 0.02
            axes.imshow(picture, extent=(start + gap, start + step - gap, 0, 1), aspect="auto")
    axes.set_ylim(0, 1)
    axes.set_yticks([])
    axes.tick_params(bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)


def _draw_segments(axes: "Axes", panel: _Drawn) -> None:
    for number, label in enumerate(panel.labels):
        colour = TRACKS[number % len(TRACKS)]
        axes.axhline(number, color=FAINT, linewidth=0.6, zorder=0)
        for segment in panel.timeline.segments:
            if segment.label == label:
                axes.broken_barh(
                    [(segment.start, segment.end - segment.start)],
                    (number - 0.36, 0.72),
                    facecolor=_tinted(colour, segment.score),
                    linewidth=0,
                )
                if segment.end - segment.start > WRITTEN * (panel.right - panel.left):
                    middle = (segment.start + segment.end) / 2
                    score = percent(segment.score, 0)
                    axes.text(middle, number, score, ha="center", va="center_baseline", fontsize=7)
    for shot in panel.timeline.shots[1:]:
        axes.axvline(shot.start, color=GREY, linewidth=0.8, linestyle=(0, (4, 2)))
    names = [shortened(printable(label), 32) for label in panel.labels]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(max(1, len(names)) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelcolor="black")
    axes.spines["left"].set_visible(False)
    if not names:
        axes.text(0.5, 0.5, "nothing", transform=axes.transAxes, ha="center", color=GREY)


def _tinted(colour: str, score: float) -> tuple[float, ...]:
    """The colour, the paler the lower the score."""
    from matplotlib.colors import to_rgb

    opacity = FAINTEST + (FULLEST - FAINTEST) * min(1.0, score)
    return tuple(1 - opacity * (1 - part) for part in to_rgb(colour))


def _draw_clock(axes: "Axes", panel: _Drawn) -> None:
    """Ticks at whole seconds, minutes or hours."""
    length = panel.right - panel.left
    steps = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)
    step = next((step for step in steps if length / step <= 12), length / 6)
    first = int(panel.left / step + 0.999)
    ticks = [number * step for number in range(first, int(panel.right / step + 1e-6) + 1)]
    axes.set_xticks(ticks, [clock(tick, 0 if step >= 1 else 1) for tick in ticks])
    axes.set_xlim(panel.left, panel.right)
