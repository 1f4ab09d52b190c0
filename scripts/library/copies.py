"""Make copies of clips that a person would call the same: cut, re-timed, with a logo, encoded anew.

The originals are films of still pictures, and real clips where a folder of them is named. Others of
both kinds have no copy: they are what must not be taken for one. Several films show the same
picture, each with a camera of its own.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from scripts.camera_motion.data import Picture
from scripts.camera_motion.pictures import load_pictures

SEED = 20
FRAME, FILMED, SECONDS = (192, 108), 15, (6.0, 9.0)  # px, a second, of a film
KEPT = 0.96  # of the width and of the height
TRIMMED = 1.5  # most seconds that a copy lacks at its beginning
PACES = (0.95, 1.05)  # least and most of the copy's seconds against the original's
RATES = (24, 25, 30)
SIDES = (144, 180, 240)  # px of the copy's shorter side
QUALITIES = (26, 36)  # x264's crf
LOGO = (0.12, 0.2)  # of the width
SHORTEST = 3.0  # seconds of an original
CLIPS = (".avi", ".mp4", ".mkv", ".webm", ".mov")


@dataclass(frozen=True, slots=True)
class Copy:
    """Two videos that are the same, and when the first second of the copy was in the original."""

    original: str
    copy: str
    offset: float
    pace: float


def frames_of_file(path: Path) -> tuple[list[Picture], float]:
    """All pictures of a short video, not larger than a copy can be, and its rate."""
    with av.open(path, metadata_errors="ignore") as file:
        stream = file.streams.video[0]
        scale = min(1.0, max(SIDES) / min(stream.width, stream.height))
        size = round(stream.width * scale), round(stream.height * scale)
        frames = [
            frame.to_ndarray(format="rgb24", width=size[0], height=size[1])
            for frame in file.decode(stream)
        ]
        return frames, float(stream.average_rate or 30)


def is_long(path: Path) -> bool:
    """Whether a video can be read and shows more than a moment."""
    try:
        with av.open(path, metadata_errors="ignore") as file:
            stream = file.streams.video[0]
            count = sum(1 for _ in file.decode(stream))
            return count > SHORTEST * float(stream.average_rate or 30)
    except (av.error.FFmpegError, IndexError):
        return False


def write_video(frames: Sequence[Picture], path: Path, rate: int, crf: int) -> None:
    """Encode as H.264."""
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    with av.open(path, "w") as out:
        stream = out.add_stream(
            "libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.thread_count, stream.time_base = 1, Fraction(1, rate)
        for frame in frames:
            cut = np.ascontiguousarray(frame[:height, :width])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(cut, format="rgb24")))
        out.mux(stream.encode(None))


def film(number: int, pictures: Sequence[Picture], path: Path) -> None:
    """Film a picture: two moves, one after another, over a part of it."""
    if path.exists():
        return
    rng = np.random.default_rng([SEED, 1, number])
    picture = pictures[rng.integers(len(pictures))]
    high, wide = picture.shape[:2]
    # Where the camera is at the beginning, half way and at the end: the middle of what it sees,
    # the logarithm of how much of the picture it sees, and how it is turned.
    knots = rng.uniform([0.3, 0.3, np.log(0.35), -0.15], [0.7, 0.7, np.log(0.8), 0.15], (3, 4))
    times = np.arange(round(rng.uniform(*SECONDS) * FILMED)) / FILMED
    frames = []
    for state in np.stack(
        [np.interp(times / times[-1], (0, 0.5, 1), knots[:, n]) for n in range(4)], axis=1
    ):
        x, y, size, turn = state
        scale = np.exp(size) * min(wide / FRAME[0], high / FRAME[1])
        cos, sin = np.cos(turn) * scale, np.sin(turn) * scale
        turned = np.array([[cos, -sin], [sin, cos]])
        start = np.array([x * wide, y * high]) - turned @ np.array(FRAME) / 2
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        matrix = np.hstack([turned, start[:, None]])
        frames.append(
            cv2.warpAffine(picture, matrix, FRAME, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        )
    write_video(frames, path, FILMED, 24)


def draw_logo(rng: np.random.Generator, frames: Sequence[Picture]) -> None:
    """A box with letters in one of the corners, in all frames alike."""
    height, width = frames[0].shape[:2]
    wide = int(rng.uniform(*LOGO) * width)
    high = max(10, wide // 3)
    left = 6 if rng.random() < 0.5 else width - wide - 6
    top = 6 if rng.random() < 0.5 else height - high - 6
    box, ink = (rng.integers(0, 256, 3).tolist() for _ in range(2))
    logo = np.full((high, wide, 3), box, np.uint8)
    cv2.putText(logo, "LOGO", (2, high - 4), 1, wide / 45, ink, 1, cv2.LINE_AA)
    for frame in frames:
        place = frame[top : top + high, left : left + wide]
        place[:] = (0.2 * place + 0.8 * logo).astype(np.uint8)


def copied(original: Path, path: Path, number: int) -> Copy:
    """Write a copy that is changed in all of these ways at once."""
    rng = np.random.default_rng([SEED, number])
    frames, rate = frames_of_file(original)
    seconds = len(frames) / rate
    offset = float(rng.uniform(0, min(TRIMMED, seconds / 4)))
    pace, new_rate = float(rng.uniform(*PACES)), int(rng.choice(RATES))
    count = int((seconds - offset) * pace * new_rate)
    times = offset + np.arange(count) / new_rate / pace
    height, width = frames[0].shape[:2]
    high, wide = int(KEPT * height), int(KEPT * width)
    top, left = rng.integers(height - high + 1), rng.integers(width - wide + 1)
    scale = int(rng.choice(SIDES)) / min(high, wide)
    size = round(wide * scale), round(high * scale)
    made = [
        cv2.resize(
            frames[min(int(t * rate), len(frames) - 1)][top : top + high, left : left + wide],
            size,
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
        )
        for t in times
    ]
    draw_logo(rng, made)
    write_video(made, path, new_rate, int(rng.integers(*QUALITIES)))
    return Copy(str(original), str(path), offset, pace)


def real_clips(folder: Path | None) -> list[Path]:
    """The videos of a folder, in a fixed order."""
    if folder is None:
        return []
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in CLIPS)


def make_copies(
    folder: Path, pictures: Path, *, copies: int, others: int, clips: Path | None
) -> tuple[list[Path], list[Copy]]:
    """All videos, originals and others and copies, and which are the same.

    Of the real clips that are long enough every other one gets a copy.
    """
    real = real_clips(clips)
    (folder / "films").mkdir(parents=True, exist_ok=True)
    count = max(copies + others - len(real), 0)
    films = [folder / "films" / f"{n:03}.mp4" for n in range(count)]
    if not all(path.exists() for path in films):
        shelf = load_pictures(pictures)
        for number, path in enumerate(films):
            film(number, [*shelf["held-out"], *shelf["examples"], *shelf["train"]], path)
    (folder / "copies").mkdir(exist_ok=True)
    table = folder / "copies.csv"
    if not table.exists():
        long = [path for path in real if is_long(path)]
        originals = [*long[::2], *films][:copies]
        paths = [folder / "copies" / f"{n:03}.mp4" for n in range(len(originals))]
        made = [copied(each, paths[n], n) for n, each in enumerate(originals)]
        with table.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["original", "copy", "offset", "pace"])
            rows.writerows([each.original, each.copy, each.offset, each.pace] for each in made)
    with table.open(newline="") as file:
        same = [
            Copy(row["original"], row["copy"], float(row["offset"]), float(row["pace"]))
            for row in csv.DictReader(file)
        ]
    known = {Path(each.original) for each in same}  # what has a copy is none of the others
    same = same[:copies]
    first = [Path(each.original) for each in same]
    rest = [path for path in [*real, *films] if path not in known][:others]
    return [*first, *rest, *(Path(each.copy) for each in same)], same
