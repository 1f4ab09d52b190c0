"""The measurements of `tsf explain`: clips of which it is known what decides, and scores by hand."""

import numpy as np
import pytest
import torch

from scripts.explain import blanks, clips, measure, train
from scripts.explain.clips import CELLS, CLASSES, FRAMES, PATCH, make_clips
from timesformer_cli.explain.options import ExplainOptions


def both_ways(monkeypatch, *, in_time, count=24):
    """The same clips twice; what turns left in one turns right in the other."""
    made = make_clips(np.random.default_rng(0), count, in_time=in_time)
    monkeypatch.setattr(clips, "STEPS", clips.STEPS[::-1])
    other = make_clips(np.random.default_rng(0), count, in_time=in_time)
    assert (made.classes == other.classes).all() and (made.decisive == other.decisive).all()
    return made, other


@pytest.mark.parametrize("in_time", [True, False])
def test_only_what_is_said_to_decide_differs_between_the_classes(monkeypatch, in_time):
    made, other = both_ways(monkeypatch, in_time=in_time)
    assert set(made.classes) == {*range(len(CLASSES))}
    differ = (made.frames != other.frames).any(-1)
    cells = differ.reshape(-1, FRAMES, CELLS, PATCH, CELLS, PATCH).any((3, 5))
    told = made.classes < 2
    assert (cells.sum((1, 2, 3)) == told).all()  # one patch of one frame
    assert not (cells & ~made.decisive).any()
    assert (made.decisive.any((2, 3)).sum(1) == 3).all()


def test_no_patch_knows_the_class_before_attention_but_those_that_decide(monkeypatch):
    made, other = both_ways(monkeypatch, in_time=True)
    model = train.new_model("divided", 0)
    with torch.inference_mode():
        one, two = (model.patches(train.as_input(model, each.frames)) for each in (made, other))
    changed = (one != two).any(-1).numpy()
    assert (changed.any((1, 2, 3)) == (made.classes < 2)).all()
    assert not (changed & ~made.decisive).any()


def test_bars_are_equally_bright_and_turn_in_steps_of_45_degrees():
    sums = clips.BARS.sum((1, 2))
    assert sums == pytest.approx(sums[0])
    assert np.allclose(np.rot90(clips.BARS[0]), clips.BARS[2])
    assert np.allclose(np.rot90(clips.BARS[1]), clips.BARS[3])


def test_more_bars_turn_in_earlier_lessons(monkeypatch):
    made = make_clips(np.random.default_rng(0), 8, in_time=True, turning=9)
    monkeypatch.setattr(clips, "STEPS", clips.STEPS[::-1])
    other = make_clips(np.random.default_rng(0), 8, in_time=True, turning=9)
    differ = (made.frames != other.frames).any(-1)
    cells = differ.reshape(-1, FRAMES, CELLS, PATCH, CELLS, PATCH).any((3, 5))
    assert (cells.sum((1, 2, 3)) == 9 * (made.classes < 2)).all()


def test_maps_are_judged_by_peak_mass_and_moment():
    decisive = np.zeros((4, 4, 4), bool)
    decisive[1:3, :2, :2] = True  # an eighth
    map = np.zeros((4, 4, 4), np.float32)
    assert measure.judge(map, decisive) == measure.Judgement(peak=False, mass=0, when=False)
    map[1, 0, 0], map[3, 3, 3] = 1, 3
    assert measure.judge(map, decisive) == measure.Judgement(peak=False, mass=2, when=False)
    map[2, 0, 0] = 4
    assert measure.judge(map, decisive) == measure.Judgement(peak=True, mass=5, when=True)


def test_every_method_gives_a_map_of_the_clip():
    model = train.new_model("sparse", 0)
    made = make_clips(np.random.default_rng(0), 1, in_time=True)
    maps = dict(measure.maps_of(model, made.frames[0], 0, slow=False))
    assert {"combined", "rollout", "gradient", "attention", measure.BRIGHTNESS} == {*maps}
    assert all(map.shape == (FRAMES, CELLS, CELLS) for map in maps.values())


def test_a_pupil_learns_a_batch_and_its_stem_stays_narrow():
    pupil = train.Pupil(train.new_model("space", 0), 0)
    before = pupil.model.head.weight.clone()
    assert 0 <= pupil.step(9, 1e-3) <= 1
    assert not torch.equal(before, pupil.model.head.weight)
    later = [each for each in pupil.model.patches.stages if isinstance(each, torch.nn.Conv3d)][1:]
    assert all(not each.weight[:, :, [0, 2]].any() for each in later)


def test_ways_to_blank_are_compared_on_the_same_maps(monkeypatch):
    monkeypatch.setattr("timesformer_cli.explain.blanking.STEPS", 2)
    monkeypatch.setattr(blanks, "RANDOM_ORDERS", 1)
    options, ways = ExplainOptions(model="camera-motion"), ["places, first frame", "patches, grey"]
    found = blanks.measured(options, ["examples/static.mp4"], ways)
    assert [blanks.row(way, found[way]).count("|") for way in ways] == [8, 8]
