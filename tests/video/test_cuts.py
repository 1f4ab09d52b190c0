"""Cuts: found at every join of real clips, and nowhere else."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from timesformer_cli.video import cuts
from timesformer_cli.video.cuts import CutFinder, small_size
from timesformer_cli.video.facts import Pixels

FPS = 30.0
SHOWN = small_size(640, 360)


def found(pictures: Iterable[Pixels]) -> list[int]:
    finder = CutFinder(FPS)
    return [cut for picture in pictures if (cut := finder.feed(picture)) is not None]


def moving(seed: int, frames: int, step: int = 2) -> Iterable[Pixels]:
    """A drawn picture that the camera moves over."""
    rng = np.random.default_rng(seed)
    width, height = SHOWN
    wide = cv2.resize(rng.integers(0, 256, (9, 24, 3), np.uint8), (width * 4, height * 2))
    for number in range(frames):
        yield wide[:height, number * step :][:, :width]


def test_a_moving_camera_is_no_cut_and_another_picture_is():
    pictures = [*moving(1, 60), *moving(2, 40), *moving(3, 50, step=3)]
    assert found(pictures) == [60, 100]


def gray(tint: int, luma: int = 60) -> Pixels:
    """A gray picture in which one colour is a little more than the others."""
    picture = np.full((SHOWN[1], SHOWN[0], 3), luma, np.uint8)
    picture[:, :, tint] += 3
    return picture


@pytest.mark.parametrize("luma", [5, 60, 250])
def test_another_tint_of_gray_is_no_cut(luma):
    assert found([gray(number // 20 % 3, luma) for number in range(80)]) == []


def test_a_cut_between_wide_black_borders_is_found():
    pictures = [*moving(1, 40, step=0), *moving(2, 40, step=0)]
    bordered = []
    for picture in pictures:
        bordered.append(np.zeros_like(picture))
        bordered[-1][:, 30:60] = picture[:, 30:60] // 2 + 20
    assert found(bordered) == [40]


def test_a_flash_is_no_shot():
    pictures = list(moving(1, 80))
    pictures[40] = np.full_like(pictures[0], 255)
    assert len(found(pictures)) <= 1


def test_a_video_that_changes_its_shape_goes_on():
    small = small_size(480, 480)
    pictures = list(moving(1, 60))
    squeezed = [cv2.resize(picture, small, interpolation=cv2.INTER_AREA) for picture in pictures]
    assert found([*pictures[:30], *squeezed[30:]]) == []
    another = [
        cv2.resize(picture, small, interpolation=cv2.INTER_AREA) for picture in moving(2, 40)
    ]
    assert found([*pictures, *another]) == [60]


def test_cuts_are_those_of_scenedetect_where_colours_change_much():
    scenedetect = pytest.importorskip("scenedetect")
    detectors = pytest.importorskip("scenedetect.detectors")
    pictures: list[Pixels] = []
    for seed in range(30):
        length, step = 5 + seed * 7 % 40, seed % 5
        pictures += moving(seed, length, step)
    shortest = round(cuts.SHORTEST * FPS)
    theirs = detectors.AdaptiveDetector(
        adaptive_threshold=cuts.RATIO,
        min_scene_len=shortest,
        window_width=cuts.LAG,
        min_content_val=cuts.LEAST,
    )
    size = SHOWN[0] // cuts.SAMPLES, SHOWN[1] // cuts.SAMPLES
    expected = []
    for number, picture in enumerate(pictures):
        cells = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        told = theirs.process_frame(scenedetect.FrameTimecode(number, FPS), cells)
        expected += [timecode.frame_num for timecode in told]
    assert len(expected) > 10 and found(pictures) == expected


def test_every_join_of_real_clips_is_a_cut(real_clips: Path) -> None:
    av = pytest.importorskip("av")
    pictures: list[Pixels] = []
    joins = []
    names = "nasa_13013 carphone_pristine birthday basketball making_cake sample_demo_22 test"
    for name in names.split():
        joins.append(len(pictures))
        with av.open(str(real_clips / f"{name}.mp4")) as container:
            for frame in islice(container.decode(video=0), 45):
                pictures.append(frame.reformat(*SHOWN, format="bgr24").to_ndarray())
    assert found(pictures) == joins[1:]
