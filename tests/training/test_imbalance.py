"""Rare classes: their weights, an order that takes each equally often, and what that is worth."""

import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tests.support import clips
from tests.training.test_loop import PLAIN, Made, begin
from tests.training.test_train import FAST, init, tsf  # noqa: F401
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.errors import UsageError
from timesformer_cli.training.clips import TrainingClip, TrainingClips
from timesformer_cli.training.imbalance import (
    balanced_order,
    class_weights,
    uneven_warning,
)
from timesformer_cli.training.objective import training_loss
from timesformer_cli.video import VideoPath


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 9))
def test_every_class_is_taken_equally_often_and_no_clip_too_often(classes, seed):
    order = balanced_order(classes, np.random.default_rng(seed))
    total, members = len(classes), Counter(classes)
    assert len(order) == total == len(set(order))
    taken = Counter(classes[number % total] for number in order)
    assert max(taken.values()) - min(taken.values()) <= 1 or len(taken) < len(members)
    for index, times in Counter(number % total for number in order).items():
        label = classes[index]
        fair = taken[label] / members[label]
        assert fair - 1 < times < fair + 1
        again = {number // total for number in order if number % total == index}
        assert again == set(range(times))
    assert order == balanced_order(classes, np.random.default_rng(seed))


def listed(*labels, several=False):
    if several:
        return [LabelledClip(str(n), "|".join(one), labels=one) for n, one in enumerate(labels)]
    return [LabelledClip(str(n), label) for n, label in enumerate(labels)]


def test_balanced_weights_are_those_of_the_definition():
    one = listed(*"aaaaab")
    assert class_weights("none", one, "ab", multi_label=False) == ()
    weights = class_weights("balanced", one, "ab", multi_label=False)
    assert weights == pytest.approx((6 / (2 * 5), 6 / (2 * 1)))
    several = listed(("a", "b"), ("a",), ("a",), (), several=True)
    assert class_weights("balanced", several, "ab", multi_label=True) == pytest.approx((1 / 3, 3.0))


def test_weights_are_in_the_loss():
    logits, targets = torch.randn(8, 3), torch.arange(8) % 3
    weights = (0.5, 1.0, 4.0)
    expected = F.cross_entropy(logits, targets, torch.tensor(weights), reduction="none").mean()
    soft = F.one_hot(targets, 3).float()
    assert torch.allclose(training_loss(logits, soft, multi_label=False, weights=weights), expected)
    scores = logits.sigmoid()
    each = -(torch.tensor(weights) * soft * scores.log() + (1 - soft) * (1 - scores).log())
    several = training_loss(logits, soft, multi_label=True, weights=weights)
    assert torch.allclose(several, each.mean(), atol=1e-6)


def test_gradients_of_heavy_clips_are_not_cut_to_the_norm_of_the_others(monkeypatch):
    norms = []
    monkeypatch.setattr(
        torch.nn.utils, "clip_grad_norm_", lambda parameters, most: norms.append(most)
    )
    for weights in ((), (0.5, 10.0, 1.0)):
        begin(replace(PLAIN, epochs=1), class_weights=weights).run(Made(4), None)
    assert norms == [1.0, 10.0]


@pytest.mark.parametrize("several", [False, True])
def test_smoothing_leaves_the_balance_as_it_is(several):
    """The logits that fit two clips best, one of each class: both are as sure, whatever weighs."""
    hard, weights, smoothing = torch.eye(2), (0.5, 10.0), 0.1
    soft = hard * (1 - smoothing) + smoothing / 2
    logits = torch.zeros(2, 2, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100)

    def loss():
        optimizer.zero_grad()
        value = training_loss(
            logits, soft, multi_label=several, weights=weights, smoothing=smoothing
        )
        value.backward()
        return value

    optimizer.step(loss)
    found = logits.sigmoid() if several else logits.softmax(dim=1)
    assert torch.allclose(found, soft, atol=1e-2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("label;weight\n", ":1: a table of weights begins with label,weight"),
        ("label,weight\na,2\nb,0\n", ":3: not a label and a weight above 0"),
        ("label,weight\na,2\nb\n", ":3: not a label and a weight above 0"),
        ("label,weight\na,2\nb,inf\n", ":3: not a label and a weight above 0"),
        ("label,weight\na,2\nc,1\n", ":3: 'c' is no class of the training clips"),
        ("label,weight\na,2\na,1\n", ":3: 'a' is there twice"),
        ("label,weight\na,2\n", "no weight for class 'b'"),
    ],
)
def test_a_file_of_weights_is_read_or_refused_by_line(tmp_path, text, said):
    path = tmp_path / "weights.csv"
    path.write_text('label,weight\n"b",0.5\na,2\n')
    assert class_weights(str(path), listed(*"ab"), "ab", multi_label=False) == (2.0, 0.5)
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        class_weights(str(path), listed(*"ab"), "ab", multi_label=False)
    assert f"weights.csv{said}" in str(caught.value).replace("csv: ", "csv")


def test_few_clips_of_one_class_are_remarked_on():
    assert uneven_warning([("a", 20), ("b", 10)]) is None
    assert "'a' has 20 clips to train on and 'b' 1" in str(uneven_warning([("a", 20), ("b", 1)]))


class Pool:
    """Answers with the moments that it was asked for."""

    def __init__(self):
        self.asked = []

    def decode(self, videos, sampling, preprocessing, crops, *, jitters, ahead):
        for video, jitter in zip(videos, jitters, strict=True):
            self.asked.append(video.path)
            yield SimpleNamespace(frames=np.array([jitter.offsets]))


@pytest.mark.parametrize("draws", [None, 8, 2])
def test_a_clip_that_is_taken_again_is_seen_at_another_moment(draws):
    training = TrainingClips(
        pool=Pool(),
        examples=[TrainingClip(VideoPath(f"{n}.mp4"), int(n == 8)) for n in range(9)],
        sampling=Sampling(frames=4, stride=2),
        preprocessing=Preprocessing(resize=8, crop=(8, 8)),
        draws=draws,
        balanced=True,
    )
    order = training.order(0)
    again = [number for number in order if number % 9 == 8]
    assert len(again) in (4, 5)
    seen = dict(training.read(order, 0))
    assert [training.example(number).video.path for number in again] == ["8.mp4"] * len(again)
    moments = {tuple(seen[number]) for number in again}
    assert len(moments) == min(len(again), draws or 9)
    later = dict(
        training.read(order[3:], 0)
    )  # as after a stop: what was read before does not count
    assert all(np.array_equal(later[number], seen[number]) for number in order[3:])


@pytest.fixture(scope="module")
def rare(tmp_path_factory):
    """Twelve grey clips with a bright bar, of which the last two are of another class."""
    folder = tmp_path_factory.mktemp("rare")
    for number in range(12):
        level = 60 if number < 9 else 120
        frames = [np.full((48, 64, 3), level + number, np.uint8) for _ in range(6)]
        label = "common" if number < 9 else "rare"
        split = "val" if number in (0, 9) else "train"
        place = folder / split / label / f"{number}.mp4"
        place.parent.mkdir(parents=True, exist_ok=True)
        clips.write(place, frames, fps=6, size=(64, 48))
    return folder


def test_the_dry_run_shows_counts_and_what_it_would_do(rare, init, tmp_path):  # noqa: F811
    how = (rare, "--init", init, *FAST, "--dry-run", "-o", tmp_path)
    ran = tsf(*how)
    assert "'common' has 8 clips to train on and 'rare' 2" in ran.stderr.replace("\n", " ")
    ran = tsf(*how, "--class-weights", "balanced")
    assert "weight" in ran.stdout and "counts alike" not in ran.stderr
    assert [line.split() for line in ran.stdout.splitlines()[1:3]] == [
        ["common", "8", "1", "0.625"],
        ["rare", "2", "1", "2.5"],
    ]
    ran = tsf(*how, "--sampler", "balanced")
    assert [line.split()[-1] for line in ran.stdout.splitlines()[1:3]] == ["5", "5"]


def test_what_balances_is_kept_and_the_best_epoch_counts_each_class(rare, init, tmp_path):  # noqa: F811
    file = tmp_path / "weights.csv"
    file.write_text("label,weight\ncommon,1\nrare,3\n")
    out = tmp_path / "run"
    ran = tsf(
        rare, "--init", init, *FAST, "--class-weights", file, "--sampler", "balanced", "-o", out
    )
    assert ran.exit_code == 0, ran.stderr
    file.unlink()
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert all(0 <= row["val_mean_class_accuracy"] <= 1 for row in rows)
    assert tsf("--resume", out, "--workers", 1).exit_code == 0
    assert "Class weights: 1, 3." in (out / "README.md").read_text()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--class-weights", "balanced", "--sampler", "balanced"), "take one of them"),
        (("--sampler", "balanced", "--multi-label"), "takes each class equally often"),
        (("--sampler", "balanced", "--freeze-backbone"), "--sampler is for a training in steps"),
        (("--class-weights", "nowhere.csv"), "nowhere.csv: cannot be read"),
    ],
)
def test_what_does_not_go_together_is_one_line(rare, init, tmp_path, more, said):  # noqa: F811
    ran = tsf(rare, "--init", init, *FAST[2:], *more, "-o", tmp_path / "run")
    assert (ran.exit_code, said in ran.stderr.replace("\n", " ")) == (2, True), ran.stderr
