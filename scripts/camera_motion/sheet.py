"""A contact sheet: the first, middle and last frame of windows, with what is said of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby

import cv2
import numpy as np

from scripts.camera_motion.oracle import Stretch
from scripts.camera_motion.things import Picture
from timesformer_cli.video.decoders.base import ReadJob
from timesformer_cli.video.decoders.indexed import read_av
from timesformer_cli.video.facts import UPRIGHT, Orientation
from timesformer_cli.video.probe import probe
from timesformer_cli.video.safe_file import VideoFile
from timesformer_cli.video.transform import upright

WIDTH, HEIGHT = 192, 144  # pixels of one picture's place
WORDS = 270  # pixels beside the pictures
LINE = 18  # pixels from one line of words to the next
INK, PAPER = (0, 0, 0), 255

Captioned = tuple[str, Stretch, Sequence[str]]  # a video, a window of it, and the lines beside it


def fitted(
    picture: Picture, *, pixel_aspect: float = 1.0, orientation: Orientation = UPRIGHT
) -> Picture:
    """The whole picture, upright, in its place."""
    picture = upright(picture, orientation)
    height, width = picture.shape[:2]
    wide = width * (1 / pixel_aspect if orientation.turns % 2 else pixel_aspect)
    scale = min((WIDTH - 4) / wide, (HEIGHT - 4) / height)
    size = max(1, round(wide * scale)), max(1, round(height * scale))
    shrunk = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
    place = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
    top, left = (HEIGHT - size[1]) // 2, (WIDTH - size[0]) // 2
    place[top : top + size[1], left : left + size[0]] = shrunk
    return place


def pictures_at(video: str, moments: Sequence[float]) -> list[Picture]:
    """The pictures that are on screen at these moments, which are sorted, each in its place."""
    with VideoFile(video) as file:
        described = probe(file)
        prepare = partial(fitted, orientation=described.orientation)
        reading = read_av(ReadJob(file, described, moments, prepare))
    return reading.pictures


def strips(windows: Sequence[Captioned]) -> Iterator[Picture]:
    """One strip for each window, in order; the windows of a video stand together."""
    for video, group in groupby(windows, key=lambda window: window[0]):
        together = list(group)
        wanted = [(start, (start + end) / 2, end) for _, (start, end), _ in together]
        moments = sorted({moment for three in wanted for moment in three})
        shown = dict(zip(moments, pictures_at(video, moments), strict=True))
        for three, (_, _, lines) in zip(wanted, together, strict=True):
            words = np.full((HEIGHT, WORDS, 3), PAPER, np.uint8)
            for number, line in enumerate(lines, 1):
                place = (6, LINE * number)
                plain = line.encode("ascii", "replace").decode()
                cv2.putText(words, plain, place, 0, 0.4, INK, 1, cv2.LINE_AA)
            yield np.hstack([*(shown[moment] for moment in three), words])


def contact_sheet(windows: Sequence[Captioned]) -> bytes:
    """The sheet as PNG."""
    empty = np.full((HEIGHT, 3 * WIDTH + WORDS, 3), PAPER, np.uint8)
    sheet = np.vstack(list(strips(windows)) or [empty])
    return cv2.imencode(".png", cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))[1].tobytes()
