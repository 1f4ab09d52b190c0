"""Measure camera-motion models on real footage: windows whose motion a classical estimator calls clear.

A model's windows and scores are those of `tsf timeline` without cuts, and so of `tsf classify`. What
the camera did in them says `oracle.py`, which knows no model and errs, too: look at a `--sheet`.
Several models are measured on the same windows.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from scripts.camera_motion.figures import Row, table
from scripts.camera_motion.oracle import ANSWERS, Motion, Stretch, clear_motions
from scripts.camera_motion.sheet import contact_sheet
from timesformer_cli.errors import TsfError, VideoError
from timesformer_cli.files import replace_file
from timesformer_cli.inference.classified import Failed
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.inference.open import describe_model
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.timelines.results import Timeline
from timesformer_cli.timelines.run import Step, run_timelines
from timesformer_cli.video import VideoPath, find_videos
from timesformer_cli.video.decoders.base import ReaderDeclined
from timesformer_cli.video.sample import span
from timesformer_cli.weights.catalogue import BUNDLED

HOP = 0.5  # seconds
SHEET_SEED = 0

Scored = dict[Stretch, Prediction]  # one model's best label for each window of a video


def labels_of(models: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Each model's labels; exits where the models cannot be measured on the same windows."""
    descriptions = {model: describe_model(model) for model in models}
    spans = {model: span(each.sampling) for model, each in descriptions.items()}
    for model, length in spans.items():
        if length is None:
            raise SystemExit(f"{model}: it spreads its frames over a whole video: no windows")
        missing = [label for label in ANSWERS if label not in descriptions[model].labels]
        if missing:
            raise SystemExit(f"{model}: it has no label {', '.join(map(repr, missing))}")
    if len(set(spans.values())) > 1:
        told = ", ".join(f"{model} {length:.3g} s" for model, length in spans.items())
        raise SystemExit(f"windows of different lengths ({told}): measure one model at a time")
    return {model: tuple(each.labels) for model, each in descriptions.items()}


def timelines(videos: Sequence[VideoPath], model: str, hop: float) -> Iterator[Timeline | Failed]:
    """What the model says of windows every `hop` seconds, by video."""
    options = TimelineOptions(
        model=model, every=hop, cuts=False, windows=True, top_k=1, decoder="av"
    )
    for told in run_timelines(videos, options):
        if not isinstance(told, Step):
            yield told


def scored_windows(
    videos: Sequence[VideoPath], model: str, hop: float
) -> Iterator[tuple[str, Scored]]:
    """Each video that can be read, and the model's answers in its windows of whole length."""
    for told in timelines(videos, model, hop):
        if isinstance(told, Failed):
            note(f"left out: {told.video}: {told.error.message}")
            continue
        if told.error:
            note(f"{told.video}: {told.error}")
        yield (
            told.video,
            {
                Stretch(window.start, window.end): window.predictions[0]
                for window in told.windows
                if window.end - window.start > told.span - 0.01  # the times are rounded
            },
        )


def spread_out(windows: Sequence[Stretch], most: int | None) -> Sequence[Stretch]:
    """At most so many windows, evenly over all."""
    if most is None or len(windows) <= most:
        return windows
    return [windows[number] for number in np.linspace(0, len(windows) - 1, most).astype(int)]


def measured(
    videos: Sequence[VideoPath],
    models: Sequence[str],
    *,
    hop: float = HOP,
    most: int | None = None,
    known: Mapping[tuple[str, Stretch], Motion] | None = None,
) -> list[Row]:
    """The rows of these videos. With `known` motions nothing is measured anew."""
    scored = {model: dict(scored_windows(videos, model, hop)) for model in models}
    rows: list[Row] = []
    examined = 0
    for video, first in scored[models[0]].items():
        windows = [
            window
            for window in first
            if all(window in by_video.get(video, {}) for by_video in scored.values())
        ]
        if known is None:
            windows = spread_out(windows, most)
            motions = motions_in(video, windows)
        else:
            motions = {window: motion for (path, window), motion in known.items() if path == video}
            if not set(motions) <= set(windows):
                raise SystemExit(
                    f"{video}: known motions of other windows; give the --hop of their run"
                )
        examined += len(windows)
        rows += [
            Row(
                video=video,
                start=window.start,
                end=window.end,
                oracle=motion.label,
                **{name: round(value, 5) for name, value in motion.numbers.items()},
                answers={
                    model: (scored[model][video][window].label, scored[model][video][window].score)
                    for model in models
                },
            )
            for window, motion in motions.items()
        ]
        note(f"{video}: {len(motions)} clear windows of {len(windows)}")
    note(f"{len(rows)} clear windows of {examined} in {len(scored[models[0]])} videos")
    return rows


def motions_in(video: str, windows: Sequence[Stretch]) -> dict[Stretch, Motion]:
    """The clear motions of a video's windows; none where it cannot be read."""
    try:
        return clear_motions(video, windows) if windows else {}
    except (VideoError, ReaderDeclined) as error:
        note(f"left out: {video}: {error}")
        return {}


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """The rows as JSON lines, field for field."""
    replace_file(path, "".join(json.dumps(asdict(row)) + "\n" for row in rows).encode())


def read_motions(path: Path) -> dict[tuple[str, Stretch], Motion]:
    """The oracle's part of rows that were written, by video and window."""
    found = {}
    for line in path.read_text().splitlines():
        row = Row(**json.loads(line))
        motion = Motion(row.oracle, row.right, row.down, row.growth, row.turn)
        found[row.video, Stretch(row.start, row.end)] = motion
    return found


def drawn(rows: Sequence[Row], count: int, *, wrong_only: bool) -> list[Row]:
    """At most so many rows, the same ones each time, in order."""
    if wrong_only:
        rows = [
            row for row in rows if any(label != row.oracle for label, _ in row.answers.values())
        ]
    random = np.random.default_rng(SHEET_SEED)
    chosen = random.choice(len(rows), min(count, len(rows)), replace=False)
    return [rows[number] for number in sorted(chosen)]


def captions(row: Row) -> list[str]:
    """What stands beside a window's pictures."""
    return [
        f"{Path(row.video).name}",
        f"{row.start:g} s",
        f"oracle: {row.oracle}",
        f"x {row.right:.2f} y {row.down:.2f} zoom {row.growth:.2f} turn {row.turn:.0f}",
        *(
            f"{Path(name).name}: {label} {score:.2f}"
            for name, (label, score) in row.answers.items()
        ),
    ]


def note(text: str) -> None:
    """One line on stderr."""
    print(text, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", nargs="+", help="files, folders and globs")
    parser.add_argument(
        "--model", nargs="+", default=[BUNDLED], help="names or folders, side by side"
    )
    parser.add_argument("--hop", type=float, default=HOP, help="seconds between two windows")
    parser.add_argument("--most", type=int, help="windows of a video, evenly over it; default all")
    parser.add_argument("-o", "--output", type=Path, help="the rows as JSON lines")
    parser.add_argument(
        "--known", type=Path, help="rows of an earlier run: its windows and motions are taken"
    )
    parser.add_argument("--sheet", type=Path, help="a PNG of windows, to look at")
    parser.add_argument("--sheet-windows", type=int, default=50, help="on the sheet, at most")
    parser.add_argument(
        "--wrong-only", action="store_true", help="only windows where a model is wrong"
    )
    options = parser.parse_args(arguments)
    if options.hop <= 0 or (options.most is not None and options.most < 1):
        parser.error("--hop and --most must be above 0")
    # The decoder has the other processor; threads that wait for one another would only spin.
    torch.set_num_threads(1)
    try:
        models = labels_of(options.model)
        rows = measured(
            find_videos(options.videos),
            list(models),
            hop=options.hop,
            most=options.most,
            known=None if options.known is None else read_motions(options.known),
        )
        if options.output is not None:
            write_rows(rows, options.output)
        if not rows:
            raise SystemExit("no window has a clear motion")
        print(table(rows, models))
        if options.sheet is not None:
            shown = drawn(rows, options.sheet_windows, wrong_only=options.wrong_only)
            windows = [(row.video, Stretch(row.start, row.end), captions(row)) for row in shown]
            replace_file(options.sheet, contact_sheet(windows))
    except TsfError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
