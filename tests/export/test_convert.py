"""`tsf convert`: to other code bases and back, bit for bit, and opened by transformers itself."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from typer.testing import CliRunner

from tests.support import clips
from tests.support.models import randomised, tiny
from timesformer_cli.cli.app import app
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.weights.load import load_path, save_model
from timesformer_cli.weights.opened import in_words, opens_elsewhere

WEIGHTS = "model.safetensors"
OPENED = ("divided", "joint", "videomae", "vivit-1")


def tsf(*arguments: object):
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def folder_of(path: Path, attention: str, **changes: object) -> Path:
    config = tiny(attention=attention, frames=4, classes=3, **changes)
    model = randomised(config)
    model.labels = ("run", "walk", "sit down")
    model.sampling = Sampling(frames=4, stride=5)
    sides = (config.height, config.width)
    model.preprocessing = Preprocessing(resize=sides, crop=sides, mean=(0.4, 0.5, 0.6))
    save_model(model, path)
    return path


def same_tensors(one: Path, other: Path) -> bool:
    first, second = load_file(one / WEIGHTS), load_file(other / WEIGHTS)
    return first.keys() == second.keys() and all(
        np.array_equal(tensor, second[name]) for name, tensor in first.items()
    )


@pytest.mark.parametrize("attention", OPENED)
@pytest.mark.parametrize("changes", [{}, {"width": 96, "multi_label": True}, {"qkv_bias": False}])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_folder_opens_in_transformers_with_the_same_logits(attention, changes, tmp_path):
    model = load_path(folder_of(tmp_path, attention, **changes))[0]
    opens = opens_elsewhere(tmp_path, model)
    if attention in ("divided", "joint") and "width" in changes:  # its TimeSformer is for squares
        assert not opens.transformers and opens.converts == ("official", "mmaction2")
        return
    assert opens.transformers and opens.difference is not None
    assert opens.difference < 1e-5
    assert "so does transformers' `AutoModelForVideoClassification`" in in_words(
        model.config, opens
    )


def test_what_transformers_does_otherwise_is_said(tmp_path):
    model = load_path(folder_of(tmp_path, "space"))[0]
    opens = opens_elsewhere(tmp_path, model)
    assert (opens.per_frame, opens.difference) == (True, None)
    assert "a row of logits for each frame" in in_words(model.config, opens)
    stem = replace(model.config, embedding="conv-stem")
    said = in_words(stem, replace(opens, converts=(), transformers=False))
    assert "Only `tsf` and the files of `tsf export` run it" in said


def test_every_other_scheme_is_written_in_our_own_layout(tmp_path):
    for name in SCHEMES:
        if name not in (*OPENED, "space", "vjepa2", "videoprism"):
            heads = {"heads": 2} if name == "vivit-4" else {}
            config = tiny(attention=name, frames=4, height=32, width=32, **heads)
            save_model(randomised(config), tmp_path / name)
            values = json.loads((tmp_path / name / "config.json").read_text())
            assert values["model_type"] == "tsf", name


@pytest.mark.parametrize(
    ("attention", "to"),
    [
        *(
            (scheme, to)
            for scheme in ("divided", "joint", "space")
            for to in ("official", "mmaction2")
        ),
        ("videomae", "official"),
        ("vivit-1", "transformers"),
    ],
)
def test_there_and_back_is_bit_equal(attention, to, tmp_path):
    start = folder_of(tmp_path / "start", attention)
    ran = tsf(start, "--to", to, "-o", tmp_path / "there")
    assert ran.exit_code == 0, ran.stderr
    assert "read back bit for bit" in ran.stdout
    if to != "transformers":
        content = torch.load(tmp_path / "there" / "pytorch_model.bin", weights_only=True)
        assert content.keys() == {"model_state" if to == "official" else "state_dict"}
    ran = tsf(
        tmp_path / "there", "--to", "transformers", "-o", tmp_path / "back", "--format", "json"
    )
    assert ran.exit_code == 0, ran.stderr
    assert json.loads(ran.stdout)["to"] == "transformers"
    assert same_tensors(start, tmp_path / "back")
    for name in ("config.json", "preprocessor_config.json"):
        assert (start / name).read_text() == (tmp_path / "back" / name).read_text()


def test_what_a_code_base_lacks_is_one_line(tmp_path):
    start = folder_of(tmp_path / "start", "vivit-1")
    ran = tsf(start, "--to", "mmaction2", "-o", tmp_path / "there")
    assert ran.exit_code == 2
    assert "mmaction2 has no such model (vivit-1 attention, linear patches)" in ran.stderr
    assert "--to transformers or onnx is possible" in ran.stderr
    assert not (tmp_path / "there").exists()
    ran = tsf(start, "--to", "transformers", "-o", start)
    assert (ran.exit_code, "is there already" in ran.stderr) == (2, True)


@pytest.mark.slow
@pytest.mark.skipif("TSF_SLOW" not in os.environ, reason="set TSF_SLOW=1 to run it")
@pytest.mark.parametrize("attention", OPENED)
def test_a_trained_folder_opens_in_transformers(attention, tmp_path):
    for label, shade in (("dark", 40), ("light", 200)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(4):
            frames = [np.full((64, 64, 3), shade + number, np.uint8)] * 5
            clips.write(tmp_path / "data" / label / f"{number}.mp4", frames, size=(64, 64))
    start = folder_of(tmp_path / "start", attention)
    words = ["train", tmp_path / "data", "--init", start, "--epochs", 2, "--batch-size", 2]
    words += ["--learning-rate", 1e-2, "--workers", 1, "--device", "cpu", "-o", tmp_path / "run"]
    ran = CliRunner().invoke(app, [*map(str, words)])
    assert ran.exit_code == 0, ran.stderr
    report = json.loads((tmp_path / "run" / "results.json").read_text())
    assert report["opens"]["difference"] < 1e-5
    assert "AutoModelForVideoClassification" in (tmp_path / "run" / "README.md").read_text()
    ran = tsf(tmp_path / "run", "--to", "transformers", "-o", tmp_path / "back")
    assert ran.exit_code == 0, ran.stderr
    assert same_tensors(tmp_path / "run", tmp_path / "back")
