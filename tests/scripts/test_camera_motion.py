"""The clips that the camera-motion model is trained on show what their labels say."""

from dataclasses import replace

import numpy as np
import pytest

# OpenCV's wheel needs libGL, which a machine without a screen may lack.
cv2 = pytest.importorskip("cv2", exc_type=ImportError)

from scripts.camera_motion.data import (
    DRAWN,
    SHAKES,
    Maker,
    filled_up,
    sampled_times,
)
from scripts.camera_motion.film import render
from scripts.camera_motion.paths import (
    FRAMES,
    HAND_SHARE,
    LABELS,
    MOTION,
    SIDE,
    UNCLEAR,
    UNIT,
    Camera,
    Ease,
    Floats,
    draw_camera,
    transform,
)
from scripts.camera_motion.pictures import draw_texture, textures
from scripts.camera_motion.texture import shows_edges, shows_nothing, shows_texture
from scripts.camera_motion.things import SPRITE, Thing, draw_things
from scripts.camera_motion.wear import Clip, through_codec
from scripts.camera_motion.world import CELLS, PLAIN, World, draw_world

STEADY = Ease(0, 1, 1, 0)
MOVING = sorted(MOTION)
STEP = np.array([0.12, 0.12, 0.25, 0.3])


def camera_of(label: int) -> Camera:
    """The path of one move, without any nuisance."""
    axis, sign = MOTION[label]
    move, still, waves = np.zeros(4), np.zeros(4), np.zeros((4, 1))
    move[axis] = sign * STEP[axis]
    return Camera(move, STEADY, still, STEADY, waves, waves, waves)


TIMES = np.linspace(0, 1, FRAMES)


def film(label: int, world: World = PLAIN) -> Clip:
    """A clean clip of one move over a texture."""
    picture, centre = draw_texture(np.random.default_rng(3)), np.array([224.0, 224.0])
    camera = camera_of(label)
    return render(picture, camera, centre=centre, view=200, times=TIMES, side=SIDE, world=world)


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


@pytest.mark.parametrize("label", MOVING, ids=[LABELS[label] for label in MOVING])
def test_a_scene_without_depth_is_the_flat_picture(label: int) -> None:
    level = np.ones((CELLS, CELLS), np.float32)
    for world in (World(nearness=level), World(nearness=level, walks=True)):
        apart = np.abs(film(label, world).astype(int) - film(label))
        assert apart.mean() < 1.5  # places are computed every fourth pixel


@pytest.mark.parametrize("label", MOVING, ids=[LABELS[label] for label in MOVING])
def test_in_depth_a_move_looks_like_its_label(label: int) -> None:
    for seed in range(4):
        world = draw_world(np.random.default_rng(seed), moving=0)
        assert observed(film(label, world)) == LABELS[label]


@pytest.mark.parametrize("which", range(16))
@pytest.mark.parametrize("label", MOVING, ids=[LABELS[label] for label in MOVING])
def test_a_symmetry_changes_label_and_path_as_it_changes_the_motion(label: int, which: int) -> None:
    clip, changed, path = transform(film(label), label, camera_of(label)(TIMES), which)
    assert observed(clip) == LABELS[changed]
    axis, sign = MOTION[changed]
    travelled = path[-1] - path[0]
    assert np.argmax(np.abs(travelled)) == axis and np.sign(travelled[axis]) == sign


@pytest.mark.parametrize("which", range(16))
@pytest.mark.parametrize("name", ["static", "shake", "unclear"])
def test_symmetries_keep_what_has_no_direction(name: str, which: int) -> None:
    label = LABELS.index(name)
    assert transform(film(1), label, np.zeros((FRAMES, 4)), which)[1] == label


def test_the_same_number_makes_the_same_clip() -> None:
    makers = [Maker(5, [], textures(5, 4)) for _ in range(2)]
    for number in range(22):
        one, two = (maker(number) for maker in makers)
        assert (one.label, one.size) == (two.label, two.size)
        assert np.array_equal(one.clip, two.clip)
        assert np.array_equal(one.path, two.path, equal_nan=True)
    assert not np.array_equal(makers[0](0).clip, makers[0](11).clip)


def test_an_encoder_gives_the_same_bits_again() -> None:
    clip = np.stack([cv2.resize(frame, (192, 192)) for frame in film(1).repeat(3, axis=0)])
    for codec in ("mpeg4", "libx264"):
        one, *others = (through_codec(clip, codec, 30, preset="veryfast") for _ in range(8))
        assert all(np.array_equal(one, other) for other in others)


@pytest.mark.parametrize("label", range(len(LABELS)), ids=LABELS)
def test_clips_have_the_models_shape_and_the_asked_label(label: int) -> None:
    made = Maker(1, [], textures(1, 4))(7, label)
    assert made.clip.shape == (FRAMES, SIDE, SIDE, 3)
    assert made.clip.dtype == np.uint8
    assert made.label == label
    assert 0 <= made.size <= 1
    assert made.path.shape == (FRAMES, 4)


def test_where_a_move_is_known_its_path_makes_it() -> None:
    make = Maker(2, [], textures(2, 4))
    for number in range(33):
        made = make(number)
        if made.label in MOTION:
            axis, sign = MOTION[made.label]
            assert np.sign(made.path[-1] - made.path[0])[axis] == sign
    unclear = [make(UNCLEAR + len(DRAWN) * n).path for n in range(30)]
    unknown = sum(bool(np.isnan(path).all()) for path in unclear)
    assert 8 < unknown < 28  # of two moves at once, the path is known


def test_what_is_in_front_covers_at_most_sixty_per_cent_about() -> None:
    shares = []
    for seed in range(60):
        things = draw_things(np.random.default_rng(seed), textures(1, 2))
        grey = np.full((448, 448, 3), 128, np.uint8)
        clip = render(
            grey, lambda t: np.zeros((len(t), 4)), centre=np.array([224.0, 224.0]), view=200, times=TIMES,
            side=SIDE, things=things,
        )  # fmt: skip
        shares.append(float((clip != 128).any(-1).mean()))
    assert max(shares) < 0.7 and np.mean(shares) > 0.1


def test_a_moving_camera_sees_texture_and_a_still_one_edges() -> None:
    bars = np.zeros((SIDE, SIDE, 3), np.uint8)
    bars[:, ::16] = 255
    flat = np.full_like(bars, 90)
    dots = np.random.default_rng(0).integers(0, 256, bars.shape, np.uint8)
    seen = [(shows_texture(f), shows_edges(f), shows_nothing(f)) for f in (dots, bars, flat)]
    assert seen == [(True, True, False), (False, True, True), (False, False, True)]
    faint = (dots // 8).astype(np.uint8)
    assert not shows_texture(faint // 8) and shows_texture(faint, 1 / 4)


def test_frames_come_late_or_twice_but_never_out_of_order() -> None:
    even = 0
    for seed in range(200):
        times = sampled_times(np.random.default_rng(seed), shakes=False)
        assert (np.diff(times) >= 0).all() and times[0] >= 0 and times[-1] <= 1
        even += bool(np.allclose(times, TIMES))
    assert 60 < even < 180
    assert np.allclose(filled_up(TIMES, 3)[::3], TIMES)


def test_shake_is_far_above_the_jitter_of_a_still_camera_and_a_move_above_its_own() -> None:
    """A hand that pans may tremble as much as one that only shakes, but it gets somewhere."""
    times = np.linspace(0, 1, FRAMES)

    def drawn(label: int, seed: int) -> tuple[Floats, Floats]:
        """Root mean squares of the waves and the move, by degree of freedom."""
        camera, _ = draw_camera(np.random.default_rng(seed), label)
        waves = np.sin(2 * np.pi * camera.frequency * times[:, None, None] + camera.phase)
        shift = (waves * camera.amplitude).sum(-1)
        return np.sqrt(((shift - shift.mean(0)) ** 2).mean(0)) / UNIT, np.abs(camera.move) / UNIT

    shaken = [np.linalg.norm(drawn(SHAKES, seed)[0]) for seed in range(100)]
    still = [np.linalg.norm(drawn(0, seed)[0]) for seed in range(100)]
    assert max(still) < min(shaken)
    jitter, moves = zip(
        *(drawn(label, seed) for seed in range(100) for label in (1, 5, 7)), strict=True
    )
    shares = [each.max() / move.max() for each, move in zip(jitter, moves, strict=True)]
    assert 0.05 < max(shares) < HAND_SHARE


def test_what_is_near_is_passed_faster_but_turns_with_the_scene() -> None:
    thing = Thing(
        images=[],
        masks=[],
        cycles=0,
        start=np.array([0.1, -0.2]),
        travel=np.zeros(2),
        size=0.4,
        growth=0,
        turn=0,
        wobble=np.zeros(3),
        beat=1,
        coupling=1,
        ease=STEADY,
    )

    def seen(coupling: float, *state: float) -> Floats:
        """Where the thing's middle and its upper edge are in the frame, `(2 2)`."""
        to_frame = np.linalg.inv(replace(thing, coupling=coupling).place(0.5, np.array(state)))
        own = np.array([[SPRITE / 2, SPRITE / 2, 1], [SPRITE / 2, 0, 1]])
        return (own @ to_frame.T)[:, :2]

    still = seen(1, 0, 0, 0, 0)
    assert np.allclose(still, [[0.1, -0.2], [0.1, -0.4]])
    assert np.allclose(seen(0, 0.3, 0.2, 0.4, 0.5), still)
    assert np.allclose(seen(3, 0.1, 0.2, 0, 0), still - [0.3, 0.6])
    assert np.allclose(seen(3, 0, 0, 0, 0.5), seen(1, 0, 0, 0, 0.5))
    assert np.allclose(seen(3, 0, 0, 0.3, 0), still * np.exp(0.3 * 1.6))
