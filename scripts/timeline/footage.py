"""Make long videos whose camera motions and cuts are known, to measure `tsf timeline` with.

A virtual camera films still pictures that the camera-motion model has never seen. Its motions are
drawn as those of the model's clips, and each goes on for 4 to 15 seconds. At half of the changes
the picture changes too, which is a hard cut; at the others the shot goes on and only the motion
changes. Beside each video lies its truth, a table of `start,end,label,cut_before`.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path

import av
import cv2
import numpy as np

from scripts.camera_motion.film import view_matrix
from scripts.camera_motion.paths import MOTIONS, SECONDS, Camera, Floats, draw_camera
from scripts.camera_motion.pictures import load_pictures, textures
from scripts.camera_motion.texture import shows_texture
from scripts.camera_motion.things import Picture
from scripts.camera_motion.train import HELD_OUT_SEED
from timesformer_cli.files import replace_file

RATE = 30
SHORTEST, LONGEST = 4.0, 15.0  # seconds of one motion
CUTS = 0.5  # share of the changes that are cuts
MOST_ZOOM = np.log(4)  # of one motion: the fastest zoom of a clip cannot go on for long
# Least and most of a picture that fills the frame's height, as in the model's clips once they are
# zoomed: pixels, and times the picture's shorter side.
NEAREST, FARTHEST = 70, 1.5
TEXTURES = 40
PHOTOGRAPHS = 0.8  # share of the shots; the others film drawn textures
ENCODING = {"crf": "23", "preset": "veryfast"}
NO_KEYSTONE = np.zeros(2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One motion of a video, in seconds."""

    start: float
    end: float
    label: str
    cut_before: bool


@dataclass(frozen=True, slots=True)
class Filmed:
    """One shot as its camera sees it: a picture, and where the camera is at each frame."""

    picture: Picture
    view: float  # picture pixels that fill the frame's height at magnification 1
    centres: Floats  # (frame, xy), picture pixels
    poses: Floats  # (frame, log magnification and roll)


def draw_parts(rng: np.random.Generator, seconds: float) -> list[Part]:
    """Draw which motions follow one another; neighbours differ, and ends lie on frames."""
    ends, left = [], round(seconds * RATE)
    shortest, longest = round(SHORTEST * RATE), round(LONGEST * RATE)
    while left:
        length = int(rng.integers(shortest, longest + 1))
        # What is left over must make a part too.
        length = left if left < 2 * shortest else min(length, left - shortest)
        left -= length
        ends.append(round(seconds * RATE) - left)
    changes = len(ends) - 1
    cuts = rng.permutation(np.arange(changes) < CUTS * changes).tolist()
    labels = [int(rng.integers(len(MOTIONS)))]
    for _ in range(changes):
        labels.append((labels[-1] + int(rng.integers(1, len(MOTIONS)))) % len(MOTIONS))
    return [
        Part(start=start / RATE, end=end / RATE, label=MOTIONS[label], cut_before=cut)
        for (start, end), label, cut in zip(
            pairwise([0, *ends]), labels, [False, *cuts], strict=True
        )
    ]


def shots_of(parts: Sequence[Part]) -> list[list[Part]]:
    """The parts between two cuts, together."""
    numbers = np.cumsum([part.cut_before for part in parts])
    return [
        [part for _, part in group]
        for _, group in groupby(zip(numbers, parts, strict=True), key=lambda pair: pair[0])
    ]


def steps(camera: Camera, frames: int) -> Floats:
    """What a camera does from each frame to the next, at an even pace: (frame, degree of freedom)."""
    t = np.arange(frames + 1) / RATE / SECONDS
    move = camera.move.copy()
    move[2] = np.clip(move[2], -MOST_ZOOM / t[-1], MOST_ZOOM / t[-1])
    waves = np.sin(2 * np.pi * camera.frequency * t[:, None, None] + camera.phase)
    return np.diff(np.outer(t, move + camera.drift) + (waves * camera.amplitude).sum(-1), axis=0)


def draw_filmed(
    rng: np.random.Generator,
    parts: Sequence[Part],
    pictures: Sequence[Picture],
    drawn: Sequence[Picture],
) -> Filmed:
    """Draw a picture and a camera path for a shot, until there is texture to see at each second."""
    while True:
        shelf = pictures if pictures and rng.random() < PHOTOGRAPHS else drawn
        picture = shelf[rng.integers(len(shelf))]
        paths = [
            steps(
                draw_camera(rng, MOTIONS.index(part.label))[0],
                round((part.end - part.start) * RATE),
            )
            for part in parts
        ]
        moves = np.concatenate(paths)[:-1]
        poses = np.concatenate([np.zeros((1, 2)), np.cumsum(moves[:, 2:], axis=0)])
        near, far = NEAREST, FARTHEST * min(picture.shape[:2])
        low = np.log(near) + poses[:, 0].max()
        high = np.log(far) + poses[:, 0].min()
        if low > high:
            continue
        view = float(np.exp(rng.uniform(low, high)))
        # A step is so much of the frame as the camera sees it now, along its own axes.
        scale = view * np.exp(-poses[:-1, 0])
        cos, sin = np.cos(poses[:-1, 1]) * scale, np.sin(poses[:-1, 1]) * scale
        right, down = moves[:, 0], moves[:, 1]
        gone = np.stack([cos * right - sin * down, sin * right + cos * down], axis=1)
        start = rng.uniform(0.2, 0.8, 2) * picture.shape[1::-1]
        centres = start + np.concatenate([np.zeros((1, 2)), np.cumsum(gone, axis=0)])
        filmed = Filmed(picture, view, centres, poses)
        looks = frames_of(filmed, (96, 96), range(0, len(poses), RATE))
        if all(shows_texture(frame) for frame in looks):
            return filmed


def frames_of(filmed: Filmed, size: tuple[int, int], numbers: Sequence[int]) -> Iterator[Picture]:
    """Film these frames of a shot; `size` is width and height, and the height is the frame."""
    width, height = size
    to_frame = np.array(
        [
            [1 / height, 0, (0.5 - width / 2) / height],
            [0, 1 / height, 0.5 / height - 0.5],
            [0, 0, 1],
        ]
    )
    levels = [filmed.picture]  # each half as large: sampling a large view directly would alias
    for number in numbers:
        magnification, roll = filmed.poses[number]
        view = filmed.view * np.exp(-magnification)
        level = max(0, int(np.log2(max(1.0, view / height / 1.3)) + 0.5))
        while len(levels) <= level:
            levels.append(
                cv2.resize(levels[-1], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            )
        centre = (filmed.centres[number] + 0.5) / 2**level - 0.5
        state = np.array([0, 0, magnification, roll])
        matrix = view_matrix(state, centre, filmed.view / 2**level, NO_KEYSTONE) @ to_frame
        yield cv2.warpAffine(
            levels[level],
            matrix[:2],
            size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )


def film(
    path: Path,
    seed: int,
    seconds: float,
    size: tuple[int, int],
    pictures: Sequence[Picture],
    drawn: Sequence[Picture],
    encoding: Mapping[str, str] = ENCODING,
) -> list[Part]:
    """Film and encode one video, and write its truth beside it."""
    rng = np.random.default_rng([HELD_OUT_SEED, seed])
    parts = draw_parts(rng, seconds)
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=RATE, options=dict(encoding))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.thread_count = 1
        stream.time_base = Fraction(1, RATE)
        for shot in shots_of(parts):
            filmed = draw_filmed(rng, shot, pictures, drawn)
            for frame in frames_of(filmed, size, range(len(filmed.poses))):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode(None))
    write_truth(parts, truth_of(path))
    return parts


def truth_of(path: Path) -> Path:
    """Where the truth of a video lies."""
    return path.with_suffix(".csv")


def write_truth(parts: Sequence[Part], path: Path) -> None:
    """Write the truth; it appears last and whole, so that it stands for a finished video."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["start", "end", "label", "cut_before"])
    for part in parts:
        rows.writerow(
            [f"{part.start:.4f}", f"{part.end:.4f}", part.label, "yes" if part.cut_before else "no"]
        )
    replace_file(path, text.getvalue().encode())


def read_truth(path: Path) -> list[Part]:
    """Read what `write_truth` wrote."""
    with path.open(newline="") as file:
        return [
            Part(
                start=float(row["start"]),
                end=float(row["end"]),
                label=row["label"],
                cut_before=row["cut_before"] == "yes",
            )
            for row in csv.DictReader(file)
        ]


def make_footage(
    folder: Path, seeds: Sequence[int], *, seconds: float, size: tuple[int, int], pictures: Path
) -> list[Path]:
    """The videos of these seeds, two at a time; those that are there already are not made anew."""
    # Before it starts threads: a fork would wait for them for ever.
    cv2.setNumThreads(1)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{seconds:g}s-{size[0]}x{size[1]}-{seed}.mp4" for seed in seeds]
    missing = [
        (path, seed) for path, seed in zip(paths, seeds, strict=True) if not truth_of(path).exists()
    ]
    if missing:
        pictures.mkdir(parents=True, exist_ok=True)
        splits = load_pictures(pictures)
        shelf = [*splits["held-out"], *splits["examples"]]
        one = partial(
            film,
            seconds=seconds,
            size=size,
            pictures=shelf,
            drawn=textures(HELD_OUT_SEED, TEXTURES),
        )
        with ProcessPoolExecutor(2) as pool:
            list(pool.map(one, *zip(*missing, strict=True)))
    return paths


def picture_size(text: str) -> tuple[int, int]:
    """Width and height of `320x180`, for argparse."""
    width, _, height = text.partition("x")
    return int(width), int(height)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which footage is made and where it lies."""
    parser.add_argument("--folder", type=Path, default=Path("build/timeline"), help="of the videos")
    parser.add_argument(
        "--pictures", type=Path, default=Path("build/pictures"), help="cache of pictures"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=600.0, help="of one video")
    parser.add_argument("--size", type=picture_size, default=(320, 180), metavar="WIDTHxHEIGHT")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    options = parser.parse_args(arguments)
    for path in make_footage(
        options.folder,
        options.seeds,
        seconds=options.seconds,
        size=options.size,
        pictures=options.pictures,
    ):
        parts = read_truth(truth_of(path))
        cuts = sum(part.cut_before for part in parts)
        print(f"{path}: {len(parts)} motions, {cuts} cuts")


if __name__ == "__main__":
    main()
