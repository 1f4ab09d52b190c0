"""What a model has to beat: classifiers that see no motion, and folds where few clips validate."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from tests.support import clips
from tests.support.models import tiny
from timesformer_cli.cli.app import app
from timesformer_cli.config import Sampling
from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.dataset.splits import fold_clips
from timesformer_cli.errors import UsageError
from timesformer_cli.model import TimeSformer
from timesformer_cli.training.randomness import seeded
from timesformer_cli.training.shortcuts import Shortcut, best_shortcut, given_away, verdict
from timesformer_cli.weights.load import save_model

FAST = ("--epochs", "2", "--batch-size", "4", "--workers", "1", "--device", "cpu")
SIZE = "picture size, rate and length"


def tsf(*arguments: object):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


@pytest.fixture(scope="module")
def init(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("init") / "model"
    with seeded(0):
        model = TimeSformer(tiny(frames=2, height=32, width=32, dim=16, heads=1, depth=1))
    model.sampling = Sampling(frames=2, stride=None)
    save_model(model, folder)
    return str(folder)


def clips_of(source: Path, of_class) -> Path:
    """Six training and eight validation clips of two classes: their size, and their colour."""
    random = np.random.default_rng(0)
    for label in range(2):
        (width, height), colour = of_class(label)
        for split, count in (("train", 6), ("val", 8)):
            folder = source / split / f"class {label}"
            folder.mkdir(parents=True)
            for number in range(count):
                shade = colour if colour is not None else random.integers(0, 255, 3)
                frames = [np.full((height, width, 3), shade, np.uint8)] * 3
                clips.write(folder / f"{number}.mp4", frames, fps=6, size=(width, height))
    return source


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> Path:
    """The size tells the class, and nothing else does."""
    sizes = [(64, 48), (96, 72)]
    return clips_of(tmp_path_factory.mktemp("planted"), lambda label: (sizes[label], None))


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    """All clips are of one size and length; the colour tells the class."""
    colours = [(200, 40, 40), (40, 160, 60)]
    return clips_of(tmp_path_factory.mktemp("plain"), lambda label: ((64, 48), colours[label]))


def test_a_dry_run_says_what_the_files_give_away(planted, plain, init, tmp_path):
    ran = tsf(planted, "--init", init, *FAST, "--dry-run", "-o", tmp_path / "one")
    assert ran.exit_code == 0, ran.stderr
    assert f"{SIZE} alone tell the class of 100% of 16 clips" in ran.stderr
    assert "16 validation clips are few: 8 right would mean 28% to 72%" in ran.stderr
    rows = {line[:-12].strip(): line.split()[-2] for line in ran.stdout.splitlines() if "%" in line}
    assert rows["the largest class"] == "50.0"
    assert rows[f"{SIZE} (nearest neighbours)"] == "100.0"
    assert rows[f"{SIZE} (logistic regression)"] == "100.0"
    ran = tsf(plain, "--init", init, *FAST, "--dry-run", "-o", tmp_path / "other")
    assert "alone tell the class" not in ran.stderr
    rows = {line[:-12].strip(): line.split()[-2] for line in ran.stdout.splitlines() if "%" in line}
    assert rows[f"{SIZE} (nearest neighbours)"] == "50.0"
    assert rows["one frame"] == "100.0"


def test_the_last_line_and_the_card_put_the_model_beside_them(planted, plain, init, tmp_path):
    """The sentence stands where the size alone is as good, and nowhere else."""
    for data, said in ((planted, True), (plain, False)):
        out = tmp_path / data.name
        ran = tsf(data, "--init", init, *FAST, "--learning-rate", "1e-2", "-o", out)
        assert ran.exit_code == 0, ran.stderr
        line, card = ran.stdout.splitlines()[-2], (out / "README.md").read_text()
        for text in (line, card):
            assert (f"not better than {SIZE}" in text) is said, text
        found = json.loads((out / "results.json").read_text())["shortcuts"]
        assert {
            "sees": "one frame",
            "how": "",
            "split": "val",
            "right": 16,
            "clips": 16,
        } in found or said


def test_a_verdict_says_how_sure_it_is():
    size = Shortcut(sees=SIZE, how="", split="val", right=69, clips=100)
    assert verdict(0.679, 78, size) == f"not better than {SIZE}"
    assert verdict(0.72, 78, size) == f"not surely better than {SIZE}"
    assert verdict(0.85, 78, size) == ""
    largest = replace(size, sees="the largest class", right=69)
    assert best_shortcut([largest, size], "val") == largest
    assert best_shortcut([size], "test") is None
    assert given_away([largest, size]) is None
    assert given_away([replace(largest, right=50), size]) is not None


def labelled(count: int, per_group: int = 1, label=lambda number: "ab"[number % 2]):
    return [
        LabelledClip(f"{n}.mp4", label(n), None, f"{n // per_group}" if per_group > 1 else None)
        for n in range(count)
    ]


@pytest.mark.parametrize("per_group", [1, 3])
def test_each_clip_validates_once_and_no_group_is_divided(per_group):
    listed = [*labelled(30, per_group), LabelledClip("t.mp4", "a", "test")]
    folds = fold_clips(listed, 5, seed=0)
    assert folds == fold_clips(listed, 5, seed=0)
    validated = Counter(clip.path for fold in folds for clip in fold if clip.split == "val")
    assert validated == {f"{n}.mp4": 1 for n in range(30)}
    for fold in folds:
        assert fold[-1] == listed[-1]
        groups = [{c.group for c in fold if c.split == name} for name in ("train", "val")]
        assert per_group == 1 or not groups[0] & groups[1]
        held = Counter(clip.label for clip in fold if clip.split == "val")
        assert per_group > 1 or held == {"a": 3, "b": 3}


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (labelled(3), "there are 3 clips or groups to divide"),
        (labelled(9, label=lambda n: "a" if n else "b"), "class 'b' has one clip or group"),
    ],
)
def test_folds_that_cannot_be_are_refused(listed, message):
    with pytest.raises(UsageError, match=message):
        fold_clips(listed, 4, seed=0)


def test_folds_train_measure_and_go_on(plain, init, tmp_path):
    out = tmp_path / "run"
    ran = tsf(plain, "--init", init, *FAST, "--folds", 2, "--learning-rate", "1e-2", "-o", out)
    assert ran.exit_code == 0, ran.stderr
    report = json.loads((out / "results.json").read_text())
    scores = [fold["score"] for fold in report["folds"]]
    assert report["clips"] == 28
    assert report["mean"] == pytest.approx(np.mean(scores))
    assert report["spread"] == pytest.approx(np.std(scores, ddof=1))
    assert (
        f"mean of 2 folds: top-1 {report['mean']:.1%}, spread {report['spread']:.1%}" in ran.stdout
    )
    first, second = (out / f"fold-{n}" / "model.safetensors" for n in (1, 2))
    before = load_file(first), load_file(second)
    for left in (out / "fold-2").iterdir():  # as if it had been stopped after the first
        left.unlink()
    ran = tsf("--resume", out, "--workers", 1)
    assert ran.exit_code == 0, ran.stderr
    for tensors, path in zip(before, (first, second), strict=True):
        after = load_file(path)
        assert all(np.array_equal(tensor, after[name]) for name, tensor in tensors.items())
    assert tsf(plain, "--init", init, *FAST, "-o", out).exit_code == 2
    for more in (("--val-fraction", 0.5), ("--push-to-hub", "a/b")):
        ran = tsf(plain, "--init", init, *FAST, "--folds", 2, "-o", tmp_path / "no", *more)
        assert (ran.exit_code, more[0] in ran.stderr) == (2, True)
