"""The camera-motion model's training: clips made once, and the same weights however often it stops."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

# OpenCV's wheel needs libGL, which a machine without a screen may lack.
pytest.importorskip("cv2", exc_type=ImportError)

from scripts.camera_motion import train as script
from scripts.camera_motion.data import Made
from scripts.camera_motion.paths import FRAMES, SIDE
from scripts.camera_motion.pictures import textures
from scripts.camera_motion.samples import USES, MadeClips, turn
from timesformer_cli.model import TimeSformer
from timesformer_cli.training import checkpoint, loop


class Stub:
    """Makes noise, and remembers what it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, number, *, hardness, plain):
        self.asked.append((number, hardness))
        noise = np.random.default_rng(number)
        clip = noise.integers(0, 255, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
        return Made(clip, number % 10, 0.5, noise.random((FRAMES, 4)))


def test_every_clip_is_made_once_and_used_twice_otherwise_turned():
    make = Stub()
    made = MadeClips(make, count=6, epochs=16, seed=0)
    samples = list(made.stream(made.order(3), 3))
    assert sorted(number for number, _ in make.asked) == list(range(18, 24))
    assert len(samples) == len(made) == 6 * USES
    assert not any(torch.equal(samples[n][0], samples[n + 6][0]) for n in range(6))


def test_an_epoch_goes_on_in_the_middle_as_it_would_have():
    made = MadeClips(Stub(), count=4, epochs=16, seed=0)
    whole = list(made.stream(made.order(1), 1))
    rest = list(made.stream(made.order(1)[5:], 1))
    for (clip, label, path), (same, again, alike) in zip(whole[5:], rest, strict=True):
        assert label == again
        assert torch.equal(clip, same) and torch.equal(path, alike)


def test_disturbances_come_in_over_the_first_eighth():
    make = Stub()
    made = MadeClips(make, count=4, epochs=16, seed=0)
    for epoch in range(3):
        list(made.stream(made.order(epoch)[:4], epoch))
    hardness = [hardness for _, hardness in make.asked]
    assert hardness == [0.0] * 4 + [0.5] * 4 + [1.0] * 4


def test_a_single_frame_is_static():
    clip, label, _, path, _ = Stub()(3, hardness=1.0, plain=True)
    turned = [turn(clip, label, path, np.random.default_rng(seed)) for seed in range(200)]
    for one, answer, where in turned:
        assert (answer == 0) == bool((one == one[:1]).all()) == (not where.any())
    assert 0 < sum(answer == 0 for _, answer, _ in turned) < 20


def train(
    out: Path, pictures: Path, epochs: int = 2, more: Sequence[str] = ()
) -> dict[str, torch.Tensor]:
    arguments = ["--out", str(out), "--pictures", str(pictures), "--epochs", str(epochs)]
    script.main([*arguments, *more, "--test-clips", "24", "--calibration-clips", "11"])
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


def test_a_deeper_network_begins_as_the_shallower_one_and_learns():
    config = replace(script.CONFIG, dim=32, depth=2, heads=1, mlp_dim=64)
    shallow = TimeSformer(config).eval()
    deep = script.deepened(shallow.state_dict(), replace(config, depth=3)).eval()
    clips = torch.rand(2, FRAMES, 3, SIDE, SIDE)
    assert torch.equal(deep(clips), shallow(clips))
    deep(clips).square().sum().backward()
    new = deep.blocks[2]
    assert new.mlp.fc2.weight.grad.any() and new.passes[-1].attention.proj.weight.grad.any()


def test_a_second_run_goes_on_deeper_from_other_clips(small):
    train(small / "shallow", small)
    weights = train(small / "deep", small, more=["--after", str(small / "shallow")])
    assert f"blocks.{script.DEEPER - 1}.norm.weight" in weights
    card = (small / "deep" / "README.md").read_text()
    assert (
        f"{script.DEEPER} blocks" in card and "A network of 1 blocks came first: 16 clips" in card
    )
