"""The camera-motion model's training: clips made once, and the same weights however often it stops."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

# OpenCV's wheel needs libGL, which a machine without a screen may lack.
pytest.importorskip("cv2", exc_type=ImportError)

from scripts.camera_motion import report as script_report
from scripts.camera_motion import train as script
from scripts.camera_motion.data import Made
from scripts.camera_motion.paths import FRAMES, LABELS, SIDE, UNCLEAR
from scripts.camera_motion.pictures import textures
from scripts.camera_motion.samples import USES, MadeClips, turn
from timesformer_cli.training import checkpoint, loop
from timesformer_cli.training.processes import processes


class Stub:
    """Makes noise, and remembers what it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, number):
        self.asked.append(number)
        noise = np.random.default_rng(number)
        clip = noise.integers(0, 255, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
        return Made(clip, number % 10, 0.5, noise.random((FRAMES, 4)))


def test_every_clip_is_made_once_and_used_twice_otherwise_turned():
    make = Stub()
    made = MadeClips(make, count=6, seed=0)
    samples = list(made.stream(made.order(3), 3))
    assert sorted(make.asked) == list(range(18, 24))
    assert len(samples) == len(made) == 6 * USES
    assert not any(torch.equal(samples[n][0], samples[n + 6][0]) for n in range(6))


def test_an_epoch_goes_on_in_the_middle_as_it_would_have():
    made = MadeClips(Stub(), count=4, seed=0)
    whole = list(made.stream(made.order(1), 1))
    rest = list(made.stream(made.order(1)[5:], 1))
    for (clip, label, path), (same, again, alike) in zip(whole[5:], rest, strict=True):
        assert label == again
        assert torch.equal(clip, same) and torch.equal(path, alike)


def test_a_single_frame_is_static():
    clip, label, _, path, _ = Stub()(3)
    turned = [turn(clip, label, path, np.random.default_rng(seed)) for seed in range(200)]
    for one, answer, where in turned:
        assert (answer == 0) == bool((one == one[:1]).all()) == (not where.any())
    assert 0 < sum(answer == 0 for _, answer, _ in turned) < 20


def train(out: Path, pictures: Path, epochs: int = 2, *more: str) -> dict[str, torch.Tensor]:
    arguments = ["--out", str(out), "--pictures", str(pictures), "--epochs", str(epochs), *more]
    script.main([*arguments, "--test-clips", "24", "--calibration-clips", "11"])
    return load_file(out / "model.safetensors")


@pytest.fixture
def small(monkeypatch, tmp_path):
    """A small model and two steps an epoch, saved after each; no pictures but textures."""
    config = replace(script.CONFIG, dim=32, depth=1, heads=1, mlp_dim=64)
    for name, value in {"CONFIG": config, "CLIPS": 4, "BATCH": 4, "WATCHED": 2}.items():
        monkeypatch.setattr(script, name, value)
    monkeypatch.setattr(script, "textures", lambda seed, count: textures(seed, 4))
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(loop, "SAVE_COST", 0.0)
    np.savez(tmp_path / "pictures.npz")
    return tmp_path


def test_a_training_that_is_killed_ends_with_the_same_weights(small, monkeypatch):
    whole = train(small / "whole", small)
    assert "16 clips (8 made" in (small / "whole" / "README.md").read_text()
    save, left = (
        checkpoint.save_training_state,
        iter(range(5)),
    )  # the fifth is in the middle of the second epoch

    def save_or_die(state, folder):
        if next(left, None) is None:
            raise KeyboardInterrupt
        save(state, folder)

    killed = small / "killed"
    monkeypatch.setattr(checkpoint, "save_training_state", save_or_die)
    with pytest.raises(KeyboardInterrupt):
        train(killed, small)
    assert checkpoint.read_training_state(killed)["training"]["position"]["step"] == 1
    with pytest.raises(SystemExit, match="holds a training of"):
        train(killed, small, epochs=3)
    monkeypatch.setattr(checkpoint, "save_training_state", save)
    again = train(killed, small)
    assert all(torch.equal(again[name], tensor) for name, tensor in whole.items())


def test_a_training_begins_with_the_weights_of_one_that_has_ended(small, monkeypatch):
    train(small / "first", small)
    ended = checkpoint.read_training_state(small / "first")["training"]["average"]
    begun = []

    class Seen(script.Training):
        def __init__(self, model, *others):
            begun.append({name: each.clone() for name, each in model.state_dict().items()})
            super().__init__(model, *others)

    monkeypatch.setattr(script, "Training", Seen)
    train(small / "second", small, 1, "--init", str(small / "first"))
    assert all(torch.equal(begun[0][name], tensor) for name, tensor in ended.items())
    for _ in range(2):
        card = (small / "second" / "README.md").read_text()
        assert "an earlier run, which had seen 16 clips" in card
        train(small / "second", small, 1)  # has ended: only its card is written again
    assert len(begun) == 3
    stored = checkpoint.read_training_state(small / "first")
    stored["training"]["position"]["epoch"] = 1
    checkpoint.save_training_state(stored, small / "first")
    with pytest.raises(SystemExit, match="has not ended"):
        train(small / "third", small, 1, "--init", str(small / "first"))


def test_scores_are_calibrated_by_a_divisor_and_a_bias_of_unclear(monkeypatch):
    random = torch.Generator().manual_seed(0)
    known = torch.randn(4000, len(LABELS), generator=random) * 2
    labels = torch.multinomial(known.softmax(1), 1, generator=random)[:, 0].tolist()
    known[:, UNCLEAR] += 0.6  # as of a model that saw it more often,
    known *= 1.5  # and is too sure
    rows = iter(known.split(script_report.BATCH))
    monkeypatch.setattr(script_report, "logits_of", lambda model, clips: next(rows))
    clip = np.zeros((1, 1, 1, 3), np.uint8)

    def make(number):
        return Made(clip, labels[number - script_report.CALIBRATION], 0.0, np.zeros((1, 4)))

    with processes("cpu") as joined:
        by, less = script_report.calibration(None, make, len(labels), joined)
    assert by == pytest.approx(1.5, abs=0.1)
    assert less == pytest.approx(0.6, abs=0.15)
