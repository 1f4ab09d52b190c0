"""Measured flow: beside known motion, beside OpenCV's, and where nothing can be measured."""

import cv2
import numpy as np
import pytest
import torch

from timesformer_cli.model.flow import measured_motion
from timesformer_cli.model.optical_flow import optical_flow
from timesformer_cli.model.shared_motion import NEAR, shared_motion

SIDE, CELL = 96, 8


def filmed(right, down=0.0, zoom=1.0, roll=0.0, side=SIDE):
    """A picture before and after the camera's content moved so, about unit contrast."""
    rng = np.random.default_rng(3)
    picture = np.zeros((240, 240), np.float32)
    for grain in (3, 8, 16):
        layer = cv2.GaussianBlur(rng.standard_normal((240, 240)), (0, 0), grain)
        picture += layer / layer.std()
    picture /= picture.std()
    frames = []
    for share in (0, 1):
        turn = cv2.getRotationMatrix2D((120, 120), -roll * share, 1 + (zoom - 1) * share)
        turn[:, 2] += np.array([right, down]) * share - (240 - side) / 2
        frames.append(cv2.warpAffine(picture, turn, (side, side), flags=cv2.INTER_CUBIC))
    return [torch.from_numpy(frame).unsqueeze(0) for frame in frames]


@pytest.mark.parametrize(
    ("right", "down"), [(0.4, 0), (0, -1.7), (5.5, 3.2), (-12, 8), (30, 0), (-21, -34)]
)
def test_a_shift_is_found_to_a_fraction_of_a_pixel(right, down):
    shift, left, contrast, alike = optical_flow(*filmed(right, down), CELL)
    inside = shift[0, :, 4:-4, 4:-4].flatten(1)
    assert (inside.median(dim=1).values - torch.tensor([right, down])).abs().max() < 0.1
    assert shift.shape == (1, 2, 12, 12)
    assert left.shape == contrast.shape == (1, 12, 12)
    inside = (..., slice(5, -5), slice(5, -5))
    assert left[inside].median() < 0.01 * contrast[inside].median()  # windows found themselves
    assert alike.item() > 0.8


@pytest.mark.parametrize(
    "changes",
    [{"zoom": 1.1}, {"zoom": 0.93}, {"zoom": 1.3}, {"roll": 6}, {"roll": -4}, {"roll": 30}],
)
def test_a_zoom_or_a_roll_is_found_more_exactly_than_by_opencv(changes):
    """Windows that turn and grow with the frame see what they saw; OpenCV's keep their shape."""
    before, after = filmed(0, **changes)
    middles = np.stack(np.meshgrid(*[np.arange(12, dtype=np.float32) * 8 + 3.5] * 2), -1)
    roll = np.radians(changes.get("roll", 0))
    grown = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    known = (middles - SIDE / 2) @ (changes.get("zoom", 1) * grown).T - (middles - SIDE / 2)
    grey = [(frame[0] * 40 + 128).clamp(0, 255).byte().numpy() for frame in (before, after)]
    found, _, _ = cv2.calcOpticalFlowPyrLK(*grey, middles.reshape(-1, 1, 2), None, winSize=(13, 13))
    theirs = found.reshape(12, 12, 2) - middles
    ours = optical_flow(before, after, CELL)[0][0].permute(1, 2, 0).numpy()
    off, off_theirs = (np.median(np.abs(flow - known)[2:-2, 2:-2]) for flow in (ours, theirs))
    assert off < 0.1 and off < 0.5 * off_theirs


def test_what_a_zoom_and_a_roll_do_is_said_outwards_and_clockwise():
    for number, changes in ((2, {"zoom": 1.1}), (3, {"roll": 6})):
        clip = torch.stack(filmed(0, **changes), dim=1).unsqueeze(2).expand(-1, -1, 3, -1, -1)
        said = measured_motion(clip, CELL)[0, 0, :4].mean((1, 2))
        assert said.argmax() == number


@pytest.mark.parametrize("level", [0.0, -2.0])
def test_where_nothing_moves_or_shows_the_shift_is_zero(level):
    still, _ = filmed(0)
    blank = torch.full_like(still, level)
    for frame in (still, blank):
        shift, left, *_ = optical_flow(frame, frame, CELL)
        assert shift.abs().max() < 1e-4 and left.max() < 1e-9
    for pair in ((still, blank), (blank, still)):  # a cut
        shift, _, _, alike = optical_flow(*pair, CELL)
        assert shift.isfinite().all() and shift.abs().max() < 100 and alike.abs().max() < 0.1


def test_a_plain_ground_stays_at_rest_behind_what_moves():
    """Most of what the frame shows moves, and so the whole frames are most alike under its shift."""
    rng = np.random.default_rng(0)
    noise = [torch.from_numpy(rng.normal(0, 0.01, (1, SIDE, SIDE))).float() for _ in range(2)]
    ground = [0.1 * filmed(0)[0] + each for each in noise]
    walker, _ = filmed(0)
    before, after = (each.clone() for each in ground)
    before[:, 16:80, 8:56] = walker[:, 16:80, 8:56]
    after[:, 16:80, 32:80] = walker[:, 16:80, 8:56]
    shift = optical_flow(before, after, CELL)[0][0]
    assert shift[:, :, -1].abs().median() < 0.2 and shift[:, -1].abs().median() < 0.2
    assert (shift[0, 4:8, 3:5] - 24).abs().median() < 0.5


def moved(right, down, zoom, turn, rows=12, columns=16):
    """How far places `(2 y x)` move under a similarity, and where they are, in pixels."""
    y, x = np.mgrid[:rows, :columns] * CELL + (CELL - 1) / 2
    x, y = x - (columns * CELL - 1) / 2, y - (rows * CELL - 1) / 2
    places = np.stack([x, y], -1).reshape(-1, 2)
    grown = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    shift = places @ grown.T + (right, down) - places
    return torch.from_numpy(shift.T.reshape(2, rows, columns)).float(), places


@pytest.mark.parametrize(
    "motion", [(0, 0, 1, 0), (9, -4, 1, 0), (-2, 1, 1.2, 0), (1, 3, 0.9, -0.1), (30, 5, 1.05, 0.03)]
)
def test_what_most_places_share_is_found_past_others_and_agrees_with_opencv(motion):
    shift, places = moved(*motion)
    rng = np.random.default_rng(1)
    shift += torch.from_numpy(rng.normal(0, NEAR[-1] / 5, shift.shape)).float()
    other, _ = moved(-11, 6, 1, 0)  # a third of the frame goes its own way
    shift[:, 2:11, 3:11] = other[:, 2:11, 3:11]
    trust = torch.ones(1, 12, 16)
    shared, apart, fits = shared_motion(shift[None], trust)
    after = places + shift.flatten(1).T.numpy()
    (grown, _, right), (turned, _, down) = cv2.estimateAffinePartial2D(places, after)[0]
    half = 12 * CELL / 2
    expected = torch.tensor([right, down, (grown - 1) * half, turned * half]).float()
    assert (shared[0] - expected).abs().max() < 0.15
    assert fits[0, 2:11, 3:11].max() < 0.1 < 0.7 < fits[0, :, 12:].mean()
    assert apart[0, :, :, 12:].abs().mean() < 0.3
    # What is not trusted counts for nothing.
    trust[:, 2:11, 3:11] = 0
    assert (shared_motion(shift[None], trust)[0][0] - expected).abs().max() < 0.15
    assert shared_motion(shift[None], trust * 0)[0].isfinite().all()


def test_a_frame_that_is_not_there_moves_nowhere():
    clip = torch.randn(2, 3, 3, 32, 48)
    motion = measured_motion(clip, CELL)
    assert motion.shape == (2, 3, 63, 4, 6)
    assert not motion[:, -1, :26].any() and not motion[:, 0, 26:52].any()
    torch.testing.assert_close(motion[:, 1:, 26:52], motion[:, :-1, :26])
    # Where the camera has come to is the sum of its steps, seen from their mean.
    steps = 8 * motion[:, :-1, 6:10, 0, 0]
    path = 32 * motion[:, :, 52:56, 0, 0]
    torch.testing.assert_close(path.diff(dim=1), steps, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(path.mean(dim=1), torch.zeros(2, 4), atol=1e-4, rtol=0)


def test_light_that_grows_is_no_motion():
    before, _ = filmed(0)
    shift = optical_flow(before, before + 0.5, CELL)[0]
    assert shift.abs().max() < 1e-3
