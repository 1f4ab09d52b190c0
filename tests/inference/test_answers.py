"""What no model may answer: scores that are no numbers, and names for other classes than it has."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from tests.support import clips
from tests.support.models import randomised, tiny
from timesformer_cli.cli.app import app
from timesformer_cli.config import Sampling
from timesformer_cli.errors import WeightsError
from timesformer_cli.export import write
from timesformer_cli.inference.exported.manifest import Manifest
from timesformer_cli.inference.fast.model import make_fast
from timesformer_cli.inference.predictor import Predictor
from timesformer_cli.weights.description import Description
from timesformer_cli.weights.load import load_model, save_model

CPU = torch.device("cpu")
HOT = 1e6  # beyond what float16 can hold, and far within float32


def hot(factor: float = HOT):
    """A model that is right in float32 and overflows in less."""
    model = randomised(tiny(depth=1))
    with torch.no_grad():
        model.head.weight.mul_(factor)
    model.labels, model.sampling = tuple("abcde"), Sampling(frames=8, stride=2)
    return model


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A clip, a table of it, a folder of the model, and its exports, as files by name."""
    folder = tmp_path_factory.mktemp("hot")
    clips.write(folder / "clip.mp4", 24)
    (folder / "table.csv").write_text("path,label\nclip.mp4,a\n")
    save_model(hot(), folder / "model")
    model = load_model(str(folder / "model"))[0]
    for suffix, written in ((".onnx", write.write_onnx), (".pt2", write.write_pt2)):
        manifest = Manifest(
            description=Description.of(model),
            dtype="float16",
            pixels=False,
            batch=None,
            source="hot",
            revision="abc",
            version="0",
        )
        opset = (20,) if suffix == ".onnx" else ()
        written(model, manifest, folder / f"model{suffix}", *opset)
    return folder


RUNS = {
    "classify": ["classify", "clip.mp4", "-m", "model", "--dtype", "float16"],
    "json": ["classify", "clip.mp4", "-m", "model", "--dtype", "float16", "--format", "json"],
    "devices": ["classify", "clip.mp4", "-m", "model", "--dtype", "float16", "--device", "cpu,cpu"],
    "evaluate": ["evaluate", "table.csv", "-m", "model", "--dtype", "float16"],
    "onnx": ["classify", "clip.mp4", "-m", "model.onnx"],
    "pt2": ["classify", "clip.mp4", "-m", "model.pt2"],
}


@pytest.mark.parametrize("run", RUNS)
def test_scores_that_are_no_numbers_are_one_line_and_no_answer(run, places, monkeypatch):
    monkeypatch.chdir(places)
    ran = CliRunner().invoke(
        app, [*RUNS[run], *(["--device", "cpu"] * ("--device" not in RUNS[run]))]
    )
    assert (ran.exit_code, ran.stdout) == (3, ""), ran.output
    (line,) = ran.stderr.splitlines()
    assert line.startswith("error: model") and "--dtype float32" in line
    assert "NaN or infinite" in line


def test_in_float32_the_same_model_answers(places, monkeypatch):
    monkeypatch.chdir(places)
    words = ["classify", "clip.mp4", "-m", "model", "--dtype", "float32", "--format", "json"]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0
    assert json.loads(ran.stdout)[0]["predictions"][0]["score"] > 0.5


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("features", [False, True])
def test_one_logit_that_is_no_number_is_enough(value, features):
    model = randomised(tiny(depth=1))
    with torch.no_grad():
        model.head.bias[2] = value
    predictor = Predictor(make_fast(model, CPU, torch.float32), "mine")
    with pytest.raises(WeightsError, match=r"^mine: .* its weights are spoilt"):
        predictor.start(np.zeros((2, 8, 64, 64, 3), np.uint8), features=features)()


def test_sound_scores_are_exactly_the_softmax():
    model = randomised(tiny(depth=1))
    frames = np.random.default_rng(0).integers(0, 256, (2, 8, 64, 64, 3), np.uint8)
    fast = make_fast(model, CPU, torch.float32)
    with torch.inference_mode():
        expected = fast(torch.from_numpy(frames)).softmax(-1)
    assert torch.equal(Predictor(fast).start(frames)().scores, expected)


@pytest.mark.parametrize("labels", [0, 3, 9])
def test_our_own_models_have_as_many_labels_as_classes(labels, tmp_path):
    """Of a scheme that transformers does not know, so that the format is our own."""
    save_model(randomised(tiny(attention="axial", depth=1)), tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    assert values["model_type"] == "tsf"
    values["id2label"] = {str(number): f"class {number}" for number in range(labels)}
    (tmp_path / "config.json").write_text(json.dumps(values))
    if labels:
        with pytest.raises(WeightsError, match=f"names {labels} classes, the model has 5"):
            load_model(str(tmp_path))
        return
    model, notes = load_model(str(tmp_path))
    assert model.labels == tuple(f"LABEL_{number}" for number in range(5))
    assert "no label names" in notes[0]
