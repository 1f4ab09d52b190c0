"""An exported file that answers with labels of one's own: words by their vectors, or some classes."""

import pytest
import torch
from torch.testing import assert_close
from typer.testing import CliRunner

import timesformer_cli
from tests.support.models import tiny
from tests.support.words import COLOURS, colour_clip, colour_model
from timesformer_cli.cli.app import app
from timesformer_cli.model import TimeSformer
from timesformer_cli.weights.load import save_model

HOW = {"device": "cpu", "dtype": "float32"}


def export(*words: str):
    return CliRunner().invoke(app, ["export", *words], env={"NO_COLOR": "1"})


@pytest.mark.parametrize("kind", ["onnx", "pt2"])
def test_words_become_classes_with_the_scores_that_classify_gives(tmp_path, monkeypatch, kind):
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("TSF_CACHE", str(tmp_path / "cache"))
    folder, file = colour_model(tmp_path / "colours"), tmp_path / f"colours.{kind}"
    video = colour_clip(tmp_path / "red.mp4", "red")
    run = export("-m", str(folder), f"--{kind}", "--labels", ",".join(COLOURS), "-o", str(file))
    assert run.exit_code == 0, run.output
    (own,) = timesformer_cli.classify(video, folder, labels=list(COLOURS), **HOW)
    (its,) = timesformer_cli.classify(video, file, **HOW)
    assert own.predictions[0].label == "red" and its.labels == own.labels
    for first, second in zip(own.predictions, its.predictions, strict=True):
        assert (first.label, first.score) == (second.label, pytest.approx(second.score, abs=1e-5))


def test_some_classes_share_the_answer_out_as_in_classify(tmp_path):
    model = TimeSformer(tiny(classes=3), labels=["a", "b", "c"])
    save_model(model, tmp_path / "three")
    file = tmp_path / "two.pt2"
    run = export("-m", str(tmp_path / "three"), "--pt2", "--labels", "c,a", "-o", str(file))
    assert run.exit_code == 0, run.output
    narrow = timesformer_cli.load_model(file, dtype="float32")
    assert tuple(narrow.labels) == ("c", "a")
    config = model.config
    clip = torch.rand(2, config.frames, 3, config.height, config.width)
    assert_close(narrow(clip), model.eval()(clip)[:, [2, 0]], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "camera-motion", "--labels", "someone falls"], "'someone falls'"),
        (["-m", "camera-motion", "--template", "a {}"], "reads no words; leave out --template"),
    ],
)
def test_labels_that_it_cannot_have_are_one_line(tmp_path, words, said):
    run = export(*words, "-o", str(tmp_path / "no.onnx"))
    assert run.exit_code == 2 and said in run.stderr and run.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_model_of_words_needs_some(tmp_path):
    folder = colour_model(tmp_path / "colours")
    run = export("-m", str(folder), "-o", str(tmp_path / "no.onnx"))
    assert run.exit_code == 2 and "say what to look for: --labels 'a,b,c'" in run.stderr
