"""Measure `tsf timeline` on footage whose motions and cuts are known, beside simpler ways.

The simpler ways get the same windows of the same model: `grid` lays them over the whole video and
takes the best label of each, as a loop around a clip classifier would.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from scripts.timeline.footage import Part, add_options, make_footage, read_truth, truth_of
from timesformer_cli.benchmark.machine import device_name
from timesformer_cli.inference.device import find_device
from timesformer_cli.inference.label_choice import LabelChoice
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.timelines.results import ScoredWindow, Segment, Timeline
from timesformer_cli.timelines.run import Step, run_timelines
from timesformer_cli.timelines.segments import SegmentRules, automatic_price, segments_of
from timesformer_cli.video import VideoPath
from timesformer_cli.video.windows import Shot

MODEL = "camera-motion"
CLASSES = 11  # of the model; as many predictions of a window are all of its scores
QUARTER = 0.25  # seconds
OVERLAP = 0.5  # intersection over union from which a segment counts as found
NEAR = 0.3  # seconds from a cut within which it counts as found
PRICES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
HEAD = """\
| | quarter seconds right | segment F1 | boundary error, all | within shots | cuts found | cuts right | segments |
|---|---|---|---|---|---|---|---|
"""


class Stretch(Protocol):
    """A labelled stretch of time: a part of the truth, or a segment that was found."""

    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def label(self) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How what was found agrees with the truth; counts, so that videos add up."""

    right: int = 0  # quarter seconds
    quarters: int = 0
    matched: int = 0  # segments
    found: int = 0
    true: int = 0
    errors_at_cuts: tuple[float, ...] = ()  # seconds, of the bounds between matched neighbours
    errors_within: tuple[float, ...] = ()
    cuts_matched: int = 0
    cuts_found: int = 0
    cuts_true: int = 0

    def __add__(self, other: Score) -> Score:
        names = [field.name for field in fields(self)]
        return Score(**{name: getattr(self, name) + getattr(other, name) for name in names})

    @property
    def share_right(self) -> float:
        """Share of the quarter seconds that have the right label."""
        return self.right / self.quarters

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall of the segments."""
        return 2 * self.matched / (self.found + self.true)


def score(truth: Sequence[Part], found: Sequence[Stretch], cuts: Sequence[float]) -> Score:
    """Compare what was found with the truth; `cuts` are the moments of the cuts that were found."""
    moments = np.arange(QUARTER / 2, truth[-1].end, QUARTER)
    right = sum(_label_at(truth, moment) == _label_at(found, moment) for moment in moments)
    pairs = matching(truth, found)
    errors: dict[bool, list[float]] = {True: [], False: []}
    for before in range(len(truth) - 1):
        after = before + 1
        if before in pairs and pairs.get(after) == pairs[before] + 1:
            bound = (found[pairs[before]].end + found[pairs[after]].start) / 2
            errors[truth[after].cut_before].append(abs(bound - truth[after].start))
    true_cuts = [part.start for part in truth if part.cut_before]
    return Score(
        right=right,
        quarters=len(moments),
        matched=len(pairs),
        found=len(found),
        true=len(truth),
        errors_at_cuts=tuple(errors[True]),
        errors_within=tuple(errors[False]),
        cuts_matched=near(true_cuts, cuts),
        cuts_found=len(cuts),
        cuts_true=len(true_cuts),
    )


def matching(truth: Sequence[Stretch], found: Sequence[Stretch]) -> dict[int, int]:
    """Which found segment is which true one: equal labels, the greatest overlap first."""
    overlaps = sorted(
        (
            (_overlap(part, segment), i, j)
            for i, part in enumerate(truth)
            for j, segment in enumerate(found)
            if part.label == segment.label
        ),
        reverse=True,
    )
    pairs: dict[int, int] = {}
    for overlap, i, j in overlaps:
        if overlap >= OVERLAP and i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs


def near(true: Sequence[float], found: Sequence[float]) -> int:
    """How many moments are found within NEAR, each by one of its own."""
    left = sorted(found)
    for moment in sorted(true):
        if (close := next((f for f in left if abs(f - moment) <= NEAR), None)) is not None:
            left.remove(close)
    return len(found) - len(left)


def smoothed(timeline: Timeline, price: float) -> list[Segment]:
    """The segments that the timeline's windows give at another price of a change."""
    return [
        segment
        for number, shot in enumerate(timeline.shots)
        for segment in segments_of(
            shot, number, *_evidence(timeline.windows, number), SegmentRules(price=price)
        )
    ]


def _evidence(
    windows: Sequence[ScoredWindow], shot: int
) -> tuple[list[float], np.ndarray, LabelChoice]:
    """Centres, scores and labels of a shot's windows."""
    mine = [window for window in windows if window.shot == shot]
    labels = {p.index: p.label for p in windows[0].predictions}
    scores = np.zeros((len(mine), len(labels)), np.float32)
    for row, window in zip(scores, mine, strict=True):
        for prediction in window.predictions:
            row[prediction.index] = prediction.score
    centres = [(window.start + window.end) / 2 for window in mine]
    return centres, scores, LabelChoice.of_all([labels[index] for index in range(len(labels))])


def _label_at(stretches: Sequence[Stretch], moment: float) -> str | None:
    return next((s.label for s in stretches if s.start <= moment < s.end), None)


def _overlap(one: Stretch, other: Stretch) -> float:
    both = min(one.end, other.end) - max(one.start, other.start)
    return max(0.0, both) / (max(one.end, other.end) - min(one.start, other.start))


def cuts_of(shots: Sequence[Shot]) -> list[float]:
    """The moments at which one shot ends and the next begins."""
    return [after.start for _, after in pairwise(shots)]


def timelines(paths: Sequence[Path], options: TimelineOptions) -> list[Timeline]:
    """The timelines of these videos, with all scores of their windows."""
    options = replace(options, windows=True, top_k=CLASSES)
    made = []
    told = run_timelines([VideoPath(str(path)) for path in paths], options)
    results = (one for one in told if not isinstance(one, Step))
    for path, result in zip(paths, results, strict=True):
        if not isinstance(result, Timeline) or result.error:
            raise SystemExit(f"{path}: {result.error}")
        made.append(result)
    return made


def rows(paths: Sequence[Path], every: float | None = None) -> Iterator[tuple[str, list[Score]]]:
    """Each way by name, and its score for each video."""
    truths = [read_truth(truth_of(path)) for path in paths]

    def scores(found: Iterable[tuple[Timeline, Sequence[Segment]]]) -> list[Score]:
        return [
            score(truth, segments, cuts_of(timeline.shots))
            for truth, (timeline, segments) in zip(truths, found, strict=True)
        ]

    def at(lines: Sequence[Timeline], price: float) -> list[Score]:
        return scores((line, smoothed(line, price)) for line in lines)

    ours = timelines(paths, TimelineOptions(model=MODEL, every=every))
    yield "tsf timeline", scores((line, line.segments) for line in ours)
    for price in PRICES:
        yield f"cuts, a change costs {price:g} nats", at(ours, price)
    whole = timelines(paths, TimelineOptions(model=MODEL, every=every, cuts=False))
    automatic = automatic_price(whole[0].span, whole[0].every)
    yield f"no cuts, a change costs {automatic:.3g} nats", at(whole, automatic)
    yield f"grid, every {whole[0].every:.3g} s", at(whole, 0.0)
    coarse = [replace(line, windows=line.windows[::2]) for line in whole]
    yield f"grid, every {2 * whole[0].every:.3g} s", at(coarse, 0.0)
    refined = timelines(paths, TimelineOptions(model=MODEL, every=every, refine=True))
    yield "tsf timeline --refine", scores((line, line.segments) for line in refined)


def row(name: str, scores: Sequence[Score]) -> str:
    """One line of the table: all videos together, and the least and greatest F1 of one video."""
    total = sum(scores, Score())
    f1s = [each.f1 for each in scores]
    cells = [
        name,
        f"{total.share_right:.1%}",
        f"{total.f1:.3f} ({min(f1s):.3f} to {max(f1s):.3f})",
        _median([*total.errors_at_cuts, *total.errors_within]),
        _median(total.errors_within),
        f"{total.cuts_matched} of {total.cuts_true}",
        f"{total.cuts_matched} of {total.cuts_found}",
        f"{total.found} for {total.true}",
    ]
    return "| " + " | ".join(cells) + " |"


def _median(errors: Sequence[float]) -> str:
    return f"{statistics.median(errors):.2f} s ({len(errors)})" if errors else "-"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    parser.add_argument("--every", type=float, help="seconds between two windows")
    options = parser.parse_args(arguments)
    # The decoder has the other processor; threads that wait for one another would only spin.
    torch.set_num_threads(1)
    paths = make_footage(
        options.folder,
        options.seeds,
        seconds=options.seconds,
        size=options.size,
        pictures=options.pictures,
    )
    began = os.getloadavg()[0]
    print(
        f"{len(paths)} videos of {options.seconds:g} s (seeds {', '.join(map(str, options.seeds))}), "
        f"{options.size[0]}x{options.size[1]}; {device_name(find_device('cpu'))}, "
        f"{os.cpu_count()} processors, load {began:.1f}\n"
    )
    print(HEAD, end="")
    for name, scores in rows(paths, options.every):
        print(row(name, scores), flush=True)


if __name__ == "__main__":
    main()
