"""The training loop on made tensors: exact, restartable, shared among processes."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.models import tiny
from timesformer_cli.benchmark.live_bytes import LiveBytes
from timesformer_cli.config import Preprocessing
from timesformer_cli.errors import ErrorKind, TsfError, VideoError
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.block import checkpoint_gradients
from timesformer_cli.training import checkpoint
from timesformer_cli.training.augment import Targets, augmentation
from timesformer_cli.training.loop import Training
from timesformer_cli.training.optimise import make_optimizer
from timesformer_cli.training.processes import Processes
from timesformer_cli.training.randomness import ORDER, generator, seeded
from timesformer_cli.training.recipe import PRESETS
from timesformer_cli.training.state import Settings, TrainingCallbacks, TrainingStopped

SMALL = {"frames": 4, "height": 32, "width": 32}
MODERN = replace(PRESETS["modern"], epochs=3)
PLAIN = replace(MODERN, mixed=0.0, drop_path=0.0)


@dataclass
class Made:
    """Clips that are noise around a picture of their class."""

    count: int = 16
    classes: int = 3
    broken: frozenset[int] = frozenset()

    def __len__(self):
        return self.count

    def order(self, epoch):
        return generator(0, ORDER, epoch).permutation(self.count).tolist()

    def stream(self, indices, epoch):
        for index in indices:
            if index in self.broken:
                yield VideoError(ErrorKind.CANNOT_DECODE, f"clip {index}")
                continue
            noise = torch.Generator().manual_seed(1000 * epoch + index)
            clip = torch.randn(4, 3, 32, 32, generator=noise)
            clip[:, index % self.classes] += 1
            yield clip, index % self.classes


def begin(recipe=MODERN, hooks=None, processes=None, **changes) -> Training:
    with seeded(5):
        model = TimeSformer(tiny(**SMALL, classes=3, drop_path=recipe.drop_path))
    settings = Settings(**{"recipe": recipe, "classes": 3, "batch_size": 4, **changes})
    return Training(model, settings, processes or Processes(), hooks or TrainingCallbacks())


def weights(training: Training) -> dict:
    return {name: tensor.clone() for name, tensor in training.result.state_dict().items()}


def same(one: dict, other: dict) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_training_that_stops_anywhere_ends_with_the_same_weights(preset, tmp_path):
    recipe = replace(PRESETS[preset], epochs=2)
    whole = begin(recipe)
    whole.run(Made(), Made(6))
    for stop in range(1, 9, 3):
        asked = iter(range(100))
        hooks = TrainingCallbacks(
            save=lambda state: checkpoint.save_training_state(state, tmp_path),
            stopping=lambda asked=asked, stop=stop: next(asked) >= stop,
        )
        first = begin(recipe, hooks)
        with pytest.raises(TrainingStopped):
            first.run(Made(), Made(6))
        torch.manual_seed(stop)  # what the process drew before must not matter
        again = begin(recipe)
        again.load(checkpoint.read_training_state(tmp_path))
        again.run(Made(), Made(6))
        assert same(weights(whole), weights(again))
        assert [{**row, "seconds": 0} for row in again.position.history] == [
            {**row, "seconds": 0} for row in whole.position.history
        ]


def test_it_learns():
    training = begin(replace(PLAIN, epochs=8))
    training.run(Made(24), Made(12))
    first, last = training.position.history[0], training.position.history[-1]
    assert last["loss"] < first["loss"]
    assert last["val_accuracy"] == 1.0


def test_accumulated_batches_learn_as_one_large_batch():
    recipe = replace(PLAIN, optimizer="sgd")
    one, several = begin(recipe), begin(recipe, batch_size=2, accumulate=2)
    for training in (one, several):
        training.run(Made(), None)
    for name, tensor in weights(one).items():
        assert torch.allclose(tensor, weights(several)[name], atol=1e-5), name


def test_the_best_epoch_goes_out_and_patience_ends():
    kept = []
    recipe = replace(PLAIN, epochs=50, learning_rate=1e-12)
    training = begin(recipe, TrainingCallbacks(best=lambda: kept.append(1)), patience=2)
    accuracies = iter([0.5, 0.6, 0.6, 0.6, 0.4, 0.5])
    real = training.validate
    training.validate = lambda samples: replace(real(samples), accuracy=next(accuracies), loss=1.0)
    training.run(Made(4), Made(3))
    assert training.position.best_epoch == 4  # the later of equals
    assert training.position.epoch == 6
    assert len(kept) == 4


def test_clips_that_cannot_be_read_are_left_out():
    lost = []
    training = begin(PLAIN, TrainingCallbacks(lost=lost.append))
    training.run(Made(broken=frozenset({3})), Made(6, broken=frozenset({0})))
    assert {str(error) for error in lost} == {"clip 3", "clip 0"}  # in training and validation
    with pytest.raises(TsfError, match="none of the clips"):
        begin(PLAIN).run(Made(broken=frozenset(range(16))), None)


def test_a_loss_that_is_not_finite_ends_it():
    with pytest.raises(TsfError, match=r"--learning-rate"):
        begin(replace(PLAIN, optimizer="sgd", learning_rate=1e30, warmup=0.0)).run(Made(), None)


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    checkpoint.save_training_state({"epoch": 1}, tmp_path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TsfError, match=r"No space left on device.*before is whole"):
        checkpoint.save_training_state({"epoch": 2}, tmp_path)
    assert checkpoint.read_training_state(tmp_path) == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.NAME]


def test_gradient_checkpointing_halves_the_activations_and_keeps_the_gradients():
    config = tiny(depth=8, classes=3, drop_path=0.2)
    clip = torch.randn(2, 8, 3, 64, 64)
    peaks, gradients = [], []
    for forgetful in (False, True):
        with seeded(1):
            model = TimeSformer(config).train()
            if forgetful:
                checkpoint_gradients(model.blocks)
            with LiveBytes(clip) as alive:
                model(clip).square().sum().backward()
        peaks.append(alive.peak - sum(p.nbytes for p in model.parameters()))
        gradients.append([p.grad for p in model.parameters()])
    assert peaks[1] < peaks[0] / 2
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_every_parameter_has_its_rate_and_decay():
    model = TimeSformer(tiny(classes=3))
    optimizer = make_optimizer(model, MODERN)
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    of = {name: groups[id(p)] for name, p in model.named_parameters()}
    assert len(groups) == len(of)
    for name, parameter in model.named_parameters():
        decays = parameter.ndim > 1 and not name.startswith(("cls", "positions"))
        assert (of[name]["weight_decay"] > 0) == decays, name
    scales = [of[name]["lr_scale"] for name in ("cls", "blocks.0.norm.bias", "blocks.1.norm.bias")]
    assert scales == pytest.approx([0.75**3, 0.75**2, 0.75])
    assert of["head.weight"]["lr_scale"] == 1
    assert of["norm.weight"]["lr_scale"] == scales[2]


def test_rates_follow_their_schedules():
    paper, modern = PRESETS["paper"], PRESETS["modern"]
    rates = [paper.rate(step, 150, 16) for step in (0, 109, 110, 139, 140)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001])
    rates = [modern.rate(step, 100, 32) for step in range(100)]
    assert max(rates) == pytest.approx(2 * modern.learning_rate)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.01 * max(rates)


@pytest.mark.parametrize("preset", PRESETS)
def test_all_frames_of_a_clip_get_the_same_draw(preset):
    frame = np.random.default_rng(0).integers(0, 255, (3, 80, 100), dtype=np.uint8)
    clip = torch.from_numpy(np.stack([frame] * 4))
    transform = augmentation(PRESETS[preset], Preprocessing(resize=64, crop=(64, 48)))
    for number in range(12):
        with seeded(number):
            seen = transform(clip)
        assert seen.shape == (4, 3, 64, 48)
        assert torch.equal(seen, seen[:1].expand_as(seen))


def test_mixed_targets_say_what_is_in_the_clip():
    mix = Targets(replace(MODERN, mixed=1.0, cutmix=0.0, label_smoothing=0.0), classes=5)
    numbers = torch.arange(5)
    clips = numbers.view(5, 1, 1, 1, 1).expand(5, 2, 3, 4, 4).float().clone()
    with seeded(0):
        mixed, targets = mix(clips, numbers)
    assert torch.allclose(targets.sum(1), torch.ones(5))
    assert torch.allclose((targets * numbers).sum(1), mixed[:, 0, 0, 0, 0])
    assert targets[4].tolist() == [0, 0, 0, 0, 1]  # the odd one out stays as it is


def test_seeded_leaves_the_generators_as_they_were():
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    with seeded(1, 2):
        inside = torch.rand(1)
    assert (torch.rand(1), np.random.rand()) == before
    with seeded(1, 2):
        assert torch.rand(1) == inside


PROCESSES = """
import json, sys
sys.path.insert(0, {root!r})
import torch
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from dataclasses import replace
from tests.training.test_loop import PLAIN, Made, begin
from timesformer_cli.training.processes import processes
from timesformer_cli.training.state import TrainingCallbacks

def work():
    torch.set_num_threads(1)
    with processes("cpu") as joined:
        training = begin(PLAIN, processes=joined, batch_size=2)
        training.run(Made(), Made(7))
        # Batches of two: the third clip is the second process's.
        number, heard = Made().order(0)[2], []
        hooks = TrainingCallbacks(lost=lambda error: heard.append(str(error)))
        losing = begin(replace(PLAIN, epochs=1), hooks, processes=joined, batch_size=2)
        losing.run(Made(broken=frozenset([number])), Made(7))
        return (training.position.history, number, heard) if joined.first else None

if __name__ == "__main__":
    # What torchrun runs, with two that need not load torch again.
    how = dict(rdzv_backend="c10d", rdzv_endpoint="localhost:0", run_id="two", start_method={start!r})
    config = LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=2, **how)
    print(json.dumps(elastic_launch(config, work)()[0]))
"""


def test_two_processes_learn_as_one_with_the_doubled_batch(tmp_path):
    import json

    script = tmp_path / "work.py"
    start = "fork" if sys.platform == "linux" else "spawn"
    script.write_text(PROCESSES.format(root=str(Path(__file__).parents[2]), start=start))
    ran = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert ran.returncode == 0, ran.stderr
    two, number, heard = json.loads(ran.stdout.splitlines()[-1])
    assert heard == [f"clip {number}"]
    alone = begin(PLAIN, batch_size=4)
    alone.run(Made(), Made(7))
    for row, other in zip(two, alone.position.history, strict=True):
        for key in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert row[key] == pytest.approx(other[key], abs=1e-4), (key, row, other)


def test_the_head_alone_can_learn():
    head = nn.Linear(6, 3)

    @dataclass
    class Vectors(Made):
        def stream(self, indices, epoch):
            for index in indices:
                yield torch.eye(6)[index % self.classes], index % self.classes

    settings = Settings(recipe=replace(PLAIN, learning_rate=0.1), classes=3, batch_size=4)
    training = Training(head, settings, Processes(), TrainingCallbacks())
    training.run(Vectors(), Vectors(6))
    assert training.position.history[-1]["val_accuracy"] == 1.0
