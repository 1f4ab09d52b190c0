"""A run that stands on its own: clips that vanish under way, scores that cannot be compared, NaN."""

import json
import math
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from tests.support import clips
from tests.training.test_loop import PLAIN, Made, begin
from tests.training.test_train import COLOURS, FAST, data, init, tsf  # noqa: F401
from timesformer_cli.errors import TsfError
from timesformer_cli.json_text import finite_json
from timesformer_cli.training.checkpoint import NAME
from timesformer_cli.training.state import TrainingCallbacks


@dataclass
class Fading(Made):
    """Held-out clips of which others are lost in each validation."""

    lost: list[set[int]] = field(default_factory=list)

    def stream(self, indices, epoch):
        self.broken = frozenset(self.lost.pop(0))
        return super().stream(indices, epoch)


def trained(lost, epochs=4, scores=None):
    """A training over held-out clips that are lost; the epochs handed out, and what was said."""
    handed, said, missed = [], [], []
    hooks = TrainingCallbacks(
        best=lambda: handed.append(training.position.epoch),
        note=said.append,
        lost=lambda error: missed.append(str(error)),
    )
    training = begin(replace(PLAIN, epochs=epochs), hooks)
    held_out = Fading(6, lost=list(lost))
    if scores is not None:
        real = training.validate

        def validate(samples):
            accuracy, loss = scores.pop(0)
            return replace(real(samples), accuracy=accuracy, loss=loss)

        training.validate = validate
    training.run(Made(), held_out)
    return training, handed, said, missed


def test_what_was_measured_on_fewer_clips_is_not_compared():
    ranks = [(0.5, 1.0), (1.0, 0.1), (0.6, 0.9), (1.0, 0.0)]
    training, handed, said, missed = trained([set(), {1, 2, 3, 4}, set(), {5}], scores=ranks)
    assert handed == [1, 3]
    assert training.position.best_epoch == 3
    assert {"clip 1", "clip 5"} <= set(missed)
    assert "val_lost" not in training.position.history[0]
    assert training.position.history[1]["val_lost"] == [1, 2, 3, 4]
    assert len(said) == 2 and "epoch 2: 4 validation clips cannot be read" in said[0]


def test_what_was_measured_on_more_clips_takes_its_place():
    ranks = [(1.0, 0.1), (0.5, 1.0), (0.4, 1.0), (0.6, 1.0)]
    _, handed, said, _ = trained([{0, 1, 2, 3}, set(), set(), set()], scores=ranks)
    assert handed == [1, 2, 4]
    assert len(said) == 1


def test_where_no_clip_is_left_nothing_validates():
    every = set(range(6))
    training, handed, said, _ = trained([every] * 3, epochs=3)
    assert handed == [3]
    assert said == ["epoch 1: nothing validates, since none of 6 clips can be read"]
    assert "val_loss" not in training.position.history[-1]
    _, handed, said, _ = trained([set(), every, every], epochs=3)
    assert handed == [1] and len(said) == 1


def test_a_validation_that_is_no_number_is_said_and_never_best():
    ranks = [(0.5, 1.0), (1.0, math.nan), (0.6, 0.9), (1.0, math.inf)]
    _, handed, said, _ = trained([set()] * 4, scores=ranks)
    assert handed == [1, 3]
    assert said[0] == "epoch 2: the validation loss is nan; it is not compared"
    training, handed, _, _ = trained([set()] * 2, epochs=2, scores=[(1.0, math.nan)] * 2)
    assert handed == [2]  # the last weights, which are finite
    assert training.best_scores is None


def test_weights_that_are_no_numbers_end_it_and_the_last_finite_ones_stay():
    saved = []

    def save(state):
        saved.append(all(part.isfinite().all() for part in state["learner"].values()))

    def spoil(tick):
        if tick.epoch == 2 and tick.step == tick.steps:
            with torch.no_grad():
                training.learner.head.weight.fill_(math.nan)
                training.result.head.weight.fill_(math.nan)

    handed = []
    hooks = TrainingCallbacks(tick=spoil, save=save, best=lambda: handed.append(1))
    training = begin(replace(PLAIN, epochs=4), hooks)
    with pytest.raises(TsfError, match=r"after epoch 2.*is nan.*model of epoch 1 is kept.*lower"):
        training.run(Made(), Made(6))
    assert all(saved) and handed == [1]
    training = begin(replace(PLAIN, epochs=4), hooks)
    with pytest.raises(TsfError, match=r"not finite after epoch 2; no model was written"):
        training.run(Made(), None)


def test_json_has_null_for_what_is_no_number():
    assert finite_json({"a": [math.nan, (1.5, -math.inf)], "b": "nan"}) == (
        '{"a": [null, [1.5, null]], "b": "nan"}'
    )


def begun(source, init, out, *more):  # noqa: F811
    """A training with one epoch behind it and a checkpoint from there."""
    from timesformer_cli.training import checkpoint

    ran = tsf(source, "--init", init, *FAST, *more, "-o", out)
    assert ran.exit_code == 0, ran.stderr
    state = checkpoint.read_training_state(Path(out))
    position = state["training"]["position"]
    position["epoch"], position["best_epoch"] = 1, 1
    del position["history"][1:]
    checkpoint.save_training_state(state, Path(out))


def test_relative_data_is_found_from_elsewhere(data, init, tmp_path, monkeypatch):  # noqa: F811
    shutil.copytree(data, tmp_path / "home" / "clips")
    monkeypatch.chdir(tmp_path / "home")
    begun("clips", init, "run")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    ran = tsf("--resume", "../home/run", "--workers", "1")
    assert ran.exit_code == 0, ran.stderr
    assert "left out" not in ran.stderr
    rows = (tmp_path / "home" / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == 2
    shutil.rmtree(tmp_path / "home" / "clips")
    ran = tsf("--resume", "../home/run", "--workers", "1")
    assert (ran.exit_code, "none of its clips is there" in ran.stderr) == (2, True)


@pytest.mark.parametrize("frozen", [(), ("--freeze-backbone",)])
def test_clips_that_are_gone_are_named(data, init, tmp_path, frozen):  # noqa: F811
    source = tmp_path / "data"
    shutil.copytree(data, source / "train")
    for label, colour in COLOURS.items():
        (source / "val" / label).mkdir(parents=True)
        frames = [clips.np.full((48, 64, 3), colour, clips.np.uint8)] * 6
        clips.write(source / "val" / label / "v.mp4", frames, fps=6, size=(64, 48))
    if frozen:
        ran = tsf(source, "--init", init, *FAST[2:], *frozen, "-o", tmp_path / "run")
        assert ran.exit_code == 0, ran.stderr
    else:
        begun(source, init, tmp_path / "run")
    gone = [source / "train" / "grün" / "0.mp4", *(source / "val").rglob("*.mp4")]
    for path in gone:
        path.unlink()
    ran = tsf("--resume", tmp_path / "run", "--workers", "1")
    assert ran.exit_code == 0, ran.stderr
    said = ran.stderr.replace("\n", "")
    for path in gone:
        assert said.count(f"{path}: does not exist") == 1, said
    assert "nothing validates" in said
    report = json.loads((tmp_path / "run" / "results.json").read_text())
    assert report["scores"] == {} and report["best_epoch"] == 1
    assert len(report["lost"]) == 3
    assert "NaN" not in (tmp_path / "run" / "metrics.jsonl").read_text()
    assert (tmp_path / "run" / NAME).exists()
