"""The clips that the camera-motion model is trained on show what their labels say."""

import numpy as np
import pytest

# OpenCV's wheel needs libGL, which a machine without a screen may lack.
cv2 = pytest.importorskip("cv2", exc_type=ImportError)

from scripts.camera_motion.data import Maker, render
from scripts.camera_motion.paths import (
    FRAMES,
    LABELS,
    MOTION,
    SIDE,
    Camera,
    Ease,
    draw_camera,
    transform,
)
from scripts.camera_motion.pictures import draw_texture, textures
from scripts.camera_motion.wear import Clip

STEADY = Ease(0, 1, 1, 0)
MOVING = sorted(MOTION)
STEP = np.array([0.12, 0.12, 0.25, 0.3])


def film(label: int) -> Clip:
    """A clean clip of one move over a texture, without any nuisance."""
    axis, sign = MOTION[label]
    move, still, waves = np.zeros(4), np.zeros(4), np.zeros((4, 1))
    move[axis] = sign * STEP[axis]
    camera = Camera(move, STEADY, still, STEADY, waves, waves, waves)
    picture = draw_texture(np.random.default_rng(3))
    times, centre = np.linspace(0, 1, FRAMES), np.array([224.0, 224.0])
    return render(picture, camera, centre=centre, view=200, times=times, side=SIDE)


def observed(clip: Clip) -> str:
    """Name the camera's move by measurement alone: an affine fit to tracked corners."""
    first, last = (cv2.cvtColor(np.ascontiguousarray(clip[i]), cv2.COLOR_RGB2GRAY) for i in (0, -1))
    corners = cv2.goodFeaturesToTrack(first, 80, 0.02, 4)
    moved, found, _ = cv2.calcOpticalFlowPyrLK(first, last, corners, None, winSize=(31, 31))
    good = found.ravel() == 1
    fit, _ = cv2.estimateAffinePartial2D(corners[good], moved[good], ransacReprojThreshold=1.0)
    centre = np.array([SIDE / 2, SIDE / 2, 1])
    right, down = fit @ centre - centre[:2]
    growth, turn = np.log(np.hypot(fit[0, 0], fit[1, 0])), np.arctan2(fit[1, 0], fit[0, 0])
    names = {
        # Content goes against the camera; y points down, so a positive turn is clockwise.
        "pan left": right / SIDE,
        "pan right": -right / SIDE,
        "tilt up": down / SIDE,
        "tilt down": -down / SIDE,
        "zoom in": growth * 0.4,
        "zoom out": -growth * 0.4,
        "roll clockwise": -turn * 0.4,
        "roll counter-clockwise": turn * 0.4,
    }
    return max(names, key=lambda name: names[name])


@pytest.mark.parametrize("label", MOVING, ids=[LABELS[label] for label in MOVING])
def test_a_move_looks_like_its_label(label: int) -> None:
    assert observed(film(label)) == LABELS[label]


@pytest.mark.parametrize("which", range(16))
@pytest.mark.parametrize("label", MOVING, ids=[LABELS[label] for label in MOVING])
def test_a_symmetry_changes_the_label_as_it_changes_the_motion(label: int, which: int) -> None:
    clip, changed = transform(film(label), label, which)
    assert observed(clip) == LABELS[changed]


@pytest.mark.parametrize("which", range(16))
@pytest.mark.parametrize("name", ["static", "shake"])
def test_symmetries_keep_what_has_no_direction(name: str, which: int) -> None:
    label = LABELS.index(name)
    assert transform(film(1), label, which)[1] == label


def test_the_same_number_makes_the_same_clip() -> None:
    makers = [Maker(5, [], textures(5, 4)) for _ in range(2)]
    for number in range(20):
        (one, label, size), (two, again, same) = (maker(number) for maker in makers)
        assert (label, size) == (again, same)
        assert np.array_equal(one, two)
    assert not np.array_equal(makers[0](0)[0], makers[0](10)[0])


@pytest.mark.parametrize("label", range(len(LABELS)), ids=LABELS)
def test_clips_have_the_models_shape_and_the_asked_label(label: int) -> None:
    clip, given, size = Maker(1, [], textures(1, 4))(7, label)
    assert clip.shape == (FRAMES, SIDE, SIDE, 3)
    assert clip.dtype == np.uint8
    assert given == label
    assert 0 <= size <= 1


def test_shake_is_far_above_the_jitter_of_still_and_of_moving_cameras() -> None:
    times = np.linspace(0, 1, FRAMES)

    def wobble(label: int, seed: int) -> float:
        camera, _ = draw_camera(np.random.default_rng(seed), label)
        waves = np.sin(2 * np.pi * camera.frequency * times[:, None, None] + camera.phase)
        shift = (waves * camera.amplitude).sum(-1) * np.array([1, 1, 0.38, 0.38])
        return float(np.sqrt(((shift - shift.mean(0)) ** 2).sum(1).mean()))

    shaken = [wobble(9, seed) for seed in range(100)]
    others = [wobble(label, seed) for seed in range(100) for label in (0, 1, 5, 7)]
    assert max(others) < min(shaken)
