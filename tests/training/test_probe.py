"""`--probe attentive`: a pooler and a head on tokens that a frozen network gave once."""

import json
import logging
import subprocess
import sys
from collections import namedtuple
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.support.models import tiny
from tests.training.test_train import COLOURS, FAST, data, init, one_thread, tsf  # noqa: F401
from timesformer_cli.cli.app import app
from timesformer_cli.errors import ErrorKind, TsfError, VideoError
from timesformer_cli.model import TimeSformer
from timesformer_cli.training import probe
from timesformer_cli.training.closed_head import fit_head
from timesformer_cli.training.loop import Training
from timesformer_cli.training.options import TrainOptions
from timesformer_cli.training.probe import TokenFile, TokenReader, TokenSamples
from timesformer_cli.training.processes import Processes
from timesformer_cli.training.randomness import seeded
from timesformer_cli.training.recipe import PROBE
from timesformer_cli.training.run import read_training_clips, resume_training, train_model
from timesformer_cli.training.state import Settings, TrainingCallbacks, TrainingStopped
from timesformer_cli.weights.load import load_path, save_model

ATTENTIVE = ("--probe", "attentive", "--dtype", "float32")
CPU = torch.device("cpu")


def marked(clips: int, seed: int) -> tuple[torch.Tensor, list[int]]:
    """Tokens `(clips 1 6 6 32)`, each of a class at random; what counts is the one with a mark."""
    random = np.random.default_rng(seed)
    tokens = (0.3 * random.normal(size=(clips, 1, 6, 6, 32))).astype(np.float32)
    tokens[..., 1] = 2 * random.choice([-1, 1], tokens.shape[:-1])
    classes = [number % 2 for number in range(clips)]
    for clip, label in zip(tokens, classes, strict=True):
        row, column = random.integers(0, 6, 2)
        clip[0, row, column, :2] = 4, 4 * label - 2
    return torch.from_numpy(tokens), classes


def test_a_pooler_finds_one_token_among_many_and_a_mean_does_not():
    seed = 0
    (tokens, known), (others, truth) = marked(512, seed), marked(100, seed + 100)
    with seeded(seed):
        model = TimeSformer(tiny(attention="videomae", pooler_blocks=1, dim=32, classes=2))
    recipe = replace(PROBE, epochs=6, learning_rate=3e-3)
    settings = Settings(recipe=recipe, classes=2, batch_size=8, seed=seed)
    training = Training(
        TokenReader(model.pooler, model.head), settings, Processes(), TrainingCallbacks()
    )
    views = list(enumerate(known))
    training.run(TokenSamples(tokens, views, CPU, seed), None)
    with torch.no_grad():
        found = training.result.eval()(others).argmax(dim=1) == torch.tensor(truth)
    head = fit_head(
        tokens.mean(dim=(1, 2, 3)).double().numpy(), np.eye(2)[known], range(len(known))
    )
    means = others.mean(dim=(1, 2, 3)).double().numpy() @ head.weight.T + head.bias
    assert found.double().mean() >= 0.95
    assert (means.argmax(axis=1) == truth).mean() <= 0.75


@pytest.fixture(scope="module")
def probed(data, init, tmp_path_factory) -> tuple[Path, str]:  # noqa: F811
    out = tmp_path_factory.mktemp("runs") / "probed"
    ran = tsf(data, "--init", init, *ATTENTIVE, *FAST, "-o", out)
    assert ran.exit_code == 0, ran.stderr
    return out, ran.stderr.replace("\n", " ")


def test_the_folder_is_a_model_whose_network_stayed(probed, init, data, caplog):  # noqa: F811
    out, said = probed
    before, model = load_path(Path(init))[0], load_path(out)[0]
    assert model.config == replace(before.config, classes=2, pooler_blocks=1)
    after = model.state_dict()
    for name, tensor in before.state_dict().items():
        assert name.startswith("head.") or torch.equal(tensor, after[name]), name
    # 4 frames of 2 x 2 patches; two classes of five clips, mirrored too, and one each to validate.
    assert "22 x 16 tokens of 64 numbers, 0.1 MB, in a file" in said
    assert "new pooler and head for 2 classes" in said
    assert "A pooler of 1 block and a head were trained" in (out / "README.md").read_text()
    clip = next((data / "grün").iterdir())
    words = ["classify", str(clip), "-m", str(out), "--format", "json", "--device", "cpu"]
    (result,) = json.loads(CliRunner().invoke(app, words).stdout)
    assert {one["label"] for one in result["predictions"]} == set(COLOURS)
    ran = CliRunner().invoke(app, ["info", str(out)])
    assert "a pooler of 1 block, over all tokens" in ran.stdout
    assert not {path.name for path in out.iterdir()} - {
        *("model.safetensors", "config.json", "preprocessor_config.json", "last.pt", "README.md"),
        *("metrics.jsonl", "results.json", "recipe.json", "batch.png", "curves.png"),
    }


def test_scores_from_tokens_are_those_with_the_network_in_the_loop(probed):
    rows = [json.loads(line) for line in (probed[0] / "metrics.jsonl").read_text().splitlines()]
    report = json.loads((probed[0] / "results.json").read_text())
    best, whole = rows[report["best_epoch"] - 1], report["scores"]["val"]
    assert best["val_loss"] == pytest.approx(whole["loss"], abs=1e-6)
    assert best["val_accuracy"] == whole["accuracy"]


@pytest.mark.parametrize("scheme", ["divided", "space", "videomae", "vjepa2", "videoprism"])
def test_tokens_are_what_the_pooler_reads(scheme):
    with seeded(0):
        model = TimeSformer(tiny(attention=scheme, heads=2, pooler_blocks=1)).eval()
    clips = torch.randn(2, 8, 3, 64, 64)
    with torch.no_grad():
        tokens = model.tokens(clips)
        expected = model(clips)
        torch.testing.assert_close(TokenReader(model.pooler, model.head)(tokens), expected)
    assert tokens.shape == (2, *model.config.grid, 64)


def test_stopped_and_resumed_it_ends_with_the_same_weights(
    data,  # noqa: F811
    init,  # noqa: F811
    tmp_path,
    one_thread,  # noqa: F811
):
    whole, out = tmp_path / "whole", tmp_path / "run"
    how = (*ATTENTIVE, "--epochs", "3", *FAST[2:], "--sampler", "balanced", "--val-fraction", "0.3")
    assert tsf(data, "--init", init, *how, "-o", whole).exit_code == 0
    calls = iter(range(10**6))
    stops = {2, 9}  # while tokens are computed, and in a step

    def stopping() -> bool:
        return next(calls) in stops

    recipe = json.loads((whole / "recipe.json").read_text())
    options = TrainOptions(**{**recipe["options"], "out": str(out)})
    hooks = TrainingCallbacks(stopping=stopping)
    clips = read_training_clips(options)
    for number in range(len(stops) + 1):
        try:
            if number:
                resume_training(out, hooks)
            else:
                train_model(clips, options, hooks)
        except TrainingStopped:
            continue
        break
    assert number == len(stops)
    one, other = (load_path(folder)[0].state_dict() for folder in (whole, out))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.parametrize("how", [("--freeze-backbone",), (*ATTENTIVE, "--epochs", "1")])
def test_of_several_processes_one_makes_what_reads_the_network(
    data,  # noqa: F811
    init,  # noqa: F811
    tmp_path,
    how,
):
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m")
    words = (
        "timesformer_cli",
        "train",
        data,
        "--init",
        init,
        *how,
        *FAST[2:],
        "-o",
        tmp_path / "r",
    )
    ran = subprocess.run([*torchrun, *map(str, words)], capture_output=True, text=True, timeout=200)
    assert ran.returncode == 0, ran.stderr
    assert load_path(tmp_path / "r")[0].config.classes == 2


def test_an_encoder_gets_a_pooler_of_as_many_blocks(data, tmp_path):  # noqa: F811
    with seeded(0):
        model = TimeSformer(tiny(attention="vjepa2", pooler_blocks=3, frames=4, heads=2))
    save_model(model, tmp_path / "init")
    how = (*ATTENTIVE, "--probe-blocks", "2", "--epochs", "1", *FAST[2:], "--accumulate", "2")
    ran = tsf(data, "--init", tmp_path / "init", *how, "--no-flip", "-o", tmp_path / "run")
    assert ran.exit_code == 0, ran.stderr
    assert load_path(tmp_path / "run")[0].config.pooler_blocks == 2
    assert "mirror" not in ran.stderr + (tmp_path / "run" / "README.md").read_text()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("--freeze-backbone",), "take one of them"),
        (("--init", "scratch"), "scratch has not"),
        (("--preset", "light"), "--preset is for a network that learns"),
        (("--checkpoint-gradients",), "--checkpoint-gradients is for a network that learns"),
        (("--attention", "vivit-2"), "vivit-2 has a second transformer"),
        (("--attention", "two-pathway"), "two-pathway has a second transformer"),
    ],
)
def test_what_makes_no_sense_is_one_line(data, init, tmp_path, wrong, said):  # noqa: F811
    ran = tsf(data, "--init", init, "--probe", "attentive", *FAST, *wrong, "-o", tmp_path / "run")
    assert (ran.exit_code, said in ran.stderr.replace("\n", " ")) == (2, True), ran.stderr
    ran = tsf(data, "--init", init, "--probe-blocks", "2", *FAST, "-o", tmp_path / "run")
    assert (ran.exit_code, "--probe-blocks is for --probe" in ran.stderr) == (2, True)


def test_what_does_not_fit_on_the_disk_is_said_before_anything_is_computed(
    data,  # noqa: F811
    init,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(probe.shutil, "disk_usage", lambda folder: usage(100_000))
    monkeypatch.setattr(probe, "look_at", lambda *_, **how: pytest.fail("computed"))
    ran = tsf(data, "--init", init, *ATTENTIVE, *FAST, "-o", tmp_path / "run")
    said = ran.stderr.replace("\n", " ")
    assert (ran.exit_code, "are too much for" in said) == (2, True), said


def test_rows_that_are_not_finite_end_it(tmp_path):
    row = torch.randn(1, 2, 2, 3)
    with closing(TokenFile(tmp_path, (1, 2, 2, 3), torch.bfloat16)) as file:
        assert file.add(row) == 0
        with pytest.raises(TsfError, match="not finite; try --dtype float32"):
            file.add(row * 1e6)
        rows = file.rows()
    torch.testing.assert_close(rows[0].float(), row, rtol=1e-3, atol=1e-3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full disk here")
def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    full = Path("/dev/full").open("wb", buffering=0)  # noqa: SIM115
    monkeypatch.setattr(probe, "TemporaryFile", lambda **how: full)
    with (
        closing(TokenFile(tmp_path, (1, 2, 2, 3), torch.float32)) as file,
        pytest.raises(TsfError, match=r"tokens cannot be kept \(No space left"),
    ):
        file.add(torch.randn(1, 2, 2, 3))


def test_a_clip_without_tokens_is_lost_in_every_epoch():
    gone = VideoError(ErrorKind.CANNOT_DECODE, "gone.mp4")
    samples = TokenSamples(torch.zeros(1, 1, 1, 1, 2), [(0, 1), (gone, 0)], CPU)
    assert [isinstance(one, VideoError) for one in samples.stream([0, 1, 0, 3], 5)] == [
        False,
        True,
        False,
        True,
    ]


def test_nothing_is_said_of_rates_by_layers(data, init, tmp_path, caplog):  # noqa: F811
    """timm warns of a rate by layers where there is one layer."""
    with caplog.at_level(logging.WARNING):
        ran = tsf(data, "--init", init, *ATTENTIVE, *FAST, "--dry-run", "-o", tmp_path / "run")
        assert ran.exit_code == 0
        tsf(data, "--init", init, *ATTENTIVE, "--epochs", "1", *FAST[2:], "-o", tmp_path / "run")
    assert not caplog.records
