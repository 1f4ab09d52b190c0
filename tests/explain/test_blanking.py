"""Blanking finds what a score hangs on, where that is known."""

import numpy as np
import pytest

from timesformer_cli.explain.blanking import (
    blurred,
    carried_by_frames,
    occlusion,
    prove_map,
    scorings,
    standing_still,
    with_only,
)
from timesformer_cli.explain.results import Curve

GRID, SIDE = (4, 6, 8), 8  # patches, and pixels along one
GREY = np.full(3, 100, np.uint8)
SPOT = (2, 3, 4)  # the patch that the score hangs on


def frames():
    clip = np.full((8, 48, 64, 3), 10, np.uint8)  # two frames a row of the map
    clip[4:6, 24:32, 32:40] = 250
    return clip


class Bright:
    """The share of the spot that is bright; what was asked is counted."""

    def __init__(self):
        self.asked = 0

    def __call__(self, clips):
        found = []
        for clip in clips:
            self.asked += 1
            found.append((clip[4:6, 24:32, 32:40] > 200).mean())
        return np.array(found, np.float32)


def test_only_what_is_shown_stays():
    shown = np.zeros(GRID, bool)
    shown[SPOT] = True
    clip = with_only(frames(), shown, GREY)
    assert (clip[4:6, 24:32, 32:40] == 250).all()
    assert (clip == 100).all(-1).sum() == 8 * 48 * 64 - 2 * 8 * 8


def test_occlusion_finds_the_box_with_the_spot():
    fallen = occlusion(frames(), GRID, Bright())
    assert fallen[SPOT] == 1
    assert fallen.sum() == 1 * 2 * 2
    assert fallen[2, 2:4, 4:6].all()


def test_only_the_row_with_the_spot_carries_the_score():
    assert carried_by_frames(frames(), 4, Bright()) == (0, 0, 1, 0)
    assert carried_by_frames(frames(), 1, Bright()) == (0,)


def test_a_map_of_the_spot_is_better_than_chance_and_one_of_nothing_is_not():
    class BrightRow(Bright):
        """Of a whole row of patches: no random order comes upon all of it at once."""

        def __call__(self, clips):
            return np.array([(clip[4:6, 24:32] > 200).mean() for clip in clips], np.float32)

    clip = frames()
    clip[4:6, 24:32] = 250
    right = np.zeros(GRID, np.float32)
    right[2, 3] = 1
    assert prove_map(clip, right, BrightRow()).better_than_chance
    assert not prove_map(clip, np.zeros(GRID, np.float32), BrightRow()).better_than_chance


def test_a_proof_takes_motion_away_and_adds_none():
    clip = np.random.default_rng(0).integers(0, 256, (8, 48, 64, 3), np.uint8)
    moved = np.diff(clip.astype(int), axis=0)

    def score(clips):
        for shown in clips:
            change = np.diff(shown.astype(int), axis=0)
            change, own = (part.reshape(7, 6, 8, 8, 8, 3) for part in (change, moved))
            still = ~change.any((0, 2, 4, 5))
            assert (still | (change == own).all((0, 2, 4, 5))).all()
            assert (shown[0] == clip[0]).all()  # and the picture is the one that was there
            stood.append(int(still.sum()))
        return np.zeros(len(stood), np.float32)

    stood = []
    prove_map(clip, np.random.default_rng(1).random(GRID, np.float32), score)
    assert stood[:3] == [0, 4, 8] and stood[12:16] == [48, 48, 44, 40]


def test_what_is_blank_has_no_moment_or_no_detail():
    clip = np.random.default_rng(0).integers(0, 256, (4, 32, 48, 3), np.uint8)
    still = standing_still(clip)
    assert still.shape == clip.shape and (still == clip[0]).all()
    soft = blurred(clip)
    assert soft.shape == clip.shape and not (soft[0] == soft[1]).all()
    assert soft[0].std() < clip[0].std() / 5


def test_areas_are_those_under_the_curves():
    curve = Curve(deletion=(1, 0.5, 0), insertion=(0, 1, 1))
    assert (curve.deleted, curve.inserted) == pytest.approx((0.5, 0.75))


@pytest.mark.parametrize("proved", [False, True])
@pytest.mark.parametrize("occluded", [False, True])
def test_the_runs_are_counted_beforehand(occluded, proved):
    score = Bright()
    carried_by_frames(frames(), 4, score)
    if occluded:
        occlusion(frames(), GRID, score)
    if proved:
        prove_map(frames(), np.zeros(GRID, np.float32), score)
    assert score.asked == scorings(4, GRID, occluded=occluded, proved=proved)
