"""Join real clips into one video and see what `tsf timeline` makes of the joins.

The joined video is encoded anew, every clip scaled and padded to one size. Two things are measured:
which joins are found as cuts, and whether the windows of a part have the scores that `classify`
gives to the same frames in a video of their own. Cuts that are found inside a clip may be real:
they are listed, to be looked at.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from scripts.camera_motion.things import Picture
from scripts.timeline.score import CLASSES, MODEL, NEAR, cuts_of, near, timelines
from timesformer_cli.api import classify, load_model
from timesformer_cli.inference.classified import Classified
from timesformer_cli.inference.label_choice import Prediction
from timesformer_cli.timelines.options import TimelineOptions
from timesformer_cli.timelines.results import Timeline
from timesformer_cli.video.find import find_videos
from timesformer_cli.video.sample import span

RATE = 30
SIZE = (640, 360)
SHORTEST, LONGEST = 4.0, 20.0  # seconds of one part
LOOKS = 4  # windows of each part, of which all but the last are compared
LOSSLESS = {"crf": "0", "preset": "ultrafast"}
ORDINARY = {"crf": "23", "preset": "veryfast"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One clip in a joined video, in seconds."""

    clip: str
    start: float
    end: float


def frames_at_rate(clip: Path) -> Iterator[Picture]:
    """A clip's frames, RGB, at RATE: the one on screen at each moment, at most LONGEST seconds."""
    count, shown = 0, None
    with av.open(str(clip), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        start: float | None = None
        for frame in container.decode(stream):
            time = float(frame.pts * stream.time_base) if frame.pts is not None else count / RATE
            start = time if start is None else start
            while shown is not None and count / RATE < time - start - 1e-3:
                if count >= LONGEST * RATE:
                    return
                yield padded(shown)
                count += 1
            shown = frame.to_ndarray(format="rgb24")
    if shown is not None and count < LONGEST * RATE:
        yield padded(shown)


def padded(picture: Picture) -> Picture:
    """A picture in the middle of a black one of SIZE, as large as it fits."""
    width, height = SIZE
    scale = min(width / picture.shape[1], height / picture.shape[0])
    inner = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
    resized = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA)
    canvas[top : top + inner[1], left : left + inner[0]] = resized
    return canvas


def join(clips: Sequence[Path], path: Path) -> list[Part]:
    """Join the clips that have SHORTEST seconds; those that cannot be read are left out and named."""
    parts, total = [], 0
    with Encoder(path, ORDINARY) as encoder:
        for clip in clips:
            try:
                frames = list(frames_at_rate(clip))
            except (av.error.FFmpegError, IndexError) as error:
                print(f"left out: {clip.name}: {error}")
                continue
            if len(frames) < SHORTEST * RATE:
                continue
            for frame in frames:
                encoder.add(av.VideoFrame.from_ndarray(frame, format="rgb24"))
            parts.append(Part(clip=clip.name, start=total / RATE, end=(total + len(frames)) / RATE))
            total += len(frames)
    return parts


class Encoder:
    """Writes frames, one after another, as H.264 at RATE."""

    def __init__(self, path: Path, options: dict[str, str]) -> None:
        self.out = av.open(str(path), "w")
        self.stream = self.out.add_stream("libx264", rate=RATE, options=options)
        self.stream.width, self.stream.height = SIZE
        self.stream.pix_fmt = "yuv420p"
        self.stream.thread_count = 1
        self.count = 0

    def add(self, frame: av.VideoFrame) -> None:
        """Encode one more frame."""
        frame.pts, frame.time_base = self.count, Fraction(1, RATE)
        frame.pict_type = 0  # or it would be encoded as it was before
        self.count += 1
        self.out.mux(self.stream.encode(frame))

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.out.mux(self.stream.encode(None))
        self.out.close()


def cut_out(joined: Path, first: int, last: int, path: Path) -> None:
    """Write these frames of the joined video, as they are decoded, to a lossless video."""
    with av.open(str(joined)) as container, Encoder(path, LOSSLESS) as encoder:
        for number, frame in enumerate(container.decode(container.streams.video[0])):
            if number >= last:
                return
            if number >= first:
                encoder.add(frame)


def differences(joined: Path, parts: Sequence[Part], folder: Path) -> Iterator[tuple[Part, float]]:
    """For each part, how far scores of its windows are from those that `classify` gives to it alone.

    The part is cut out into a lossless video of its own, and LOOKS clips of it are classified. The
    same windows are taken from the joined video, between the part's first moment and its last. The
    last one is not compared: it ends with the part, at a moment when the joined video shows the next.
    """
    model = load_model(MODEL, dtype="auto")
    length = span(model.sampling)
    assert length is not None
    for number, part in enumerate(parts):
        alone = folder / f"part{number}.mp4"
        cut_out(joined, round(part.start * RATE), round(part.end * RATE), alone)
        (own,) = classify(alone, model, clips=LOOKS, top_k=CLASSES)
        if not isinstance(own, Classified):
            raise SystemExit(f"{part.clip}: {own.error.message}")
        (inside,) = timelines(
            [joined],
            TimelineOptions(
                model=model,
                cuts=False,
                start=part.start,
                end=part.end,
                every=(part.end - part.start - length) / (LOOKS - 1),
            ),
        )
        yield (
            part,
            max(
                _differ(one.predictions, other.predictions)
                for one, other in zip(own.views[:-1], inside.windows[:-1], strict=True)
            ),
        )


def _differ(one: Sequence[Prediction], other: Sequence[Prediction]) -> float:
    scores = {prediction.index: prediction.score for prediction in one}
    return max(abs(scores[prediction.index] - prediction.score) for prediction in other)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="+", help="files and folders of clips to join")
    parser.add_argument("--keep", type=Path, help="write the joined video here")
    parser.add_argument("--no-scores", action="store_true", help="look at cuts only")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    clips = [Path(video.path) for video in find_videos(options.clips) if video.error is None]
    with tempfile.TemporaryDirectory() as folder:
        joined = options.keep or Path(folder) / "joined.mp4"
        parts = join(clips, joined)
        (timeline,) = timelines([joined], TimelineOptions(model=MODEL))
        report(parts, timeline)
        if not options.no_scores:
            for part, difference in differences(joined, parts, Path(folder)):
                print(f"{part.clip}: scores differ by up to {difference:.6f}")


def report(parts: Sequence[Part], timeline: Timeline) -> None:
    """Say which joins were found, which were not, and what else was found."""
    joins, cuts = [part.start for part in parts[1:]], cuts_of(timeline.shots)
    print(
        f"{len(parts)} clips, {parts[-1].end:.1f} s, {MODEL}: {near(joins, cuts)} of {len(joins)} "
        f"joins found within {NEAR} s, {len(cuts) - near(joins, cuts)} other cuts"
    )
    for before, after in pairwise(parts):
        if not near([after.start], cuts):
            print(f"missed: {before.clip} to {after.clip} at {after.start:.2f} s")
    for cut in cuts:
        if not near([cut], joins):
            part = next(part for part in parts if part.start <= cut < part.end)
            print(f"other cut: {cut:.2f} s, in {part.clip} at {cut - part.start:.2f} s")


if __name__ == "__main__":
    main()
