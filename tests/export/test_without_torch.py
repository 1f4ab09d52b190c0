"""An .onnx file needs its runtime alone: neither torch nor timm is imported on the way to an answer."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tests.support.models import randomised, tiny
from timesformer_cli.cli.app import app
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.inference.exported.open import foretold_export, read_manifest
from timesformer_cli.weights.hub.locate import locate
from timesformer_cli.weights.load import save_model

EXAMPLES = Path(__file__).parents[2] / "examples"
# A machine without them: the import itself fails.
WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "torchvision", "timm", "einops", "transformers"):
            raise ImportError(name)

sys.meta_path.insert(0, Missing())
"""
COMMAND = "from timesformer_cli.__main__ import main\nmain()"
# One process for all that Python offers: each line of its answer is one of these.
PYTHON = """
import json
from timesformer_cli import Classifier, load_model, timeline
exported, video = sys.argv[1:]
with Classifier(exported) as classify:
    (result,) = classify(video)
    print(json.dumps([p.score for p in result.predictions]))
    print(json.dumps([window.predictions[0].score for window in classify.timeline(video)]))
    for refused in (lambda: classify.features(video), lambda: list(classify.embed(video))):
        try:
            refused()
        except Exception as error:
            print(json.dumps(str(error)))
print(json.dumps([window.predictions[0].score for window in timeline(video, exported)]))
"""


@pytest.fixture(scope="module", params=[(False, False), (True, True)], ids=["one label", "several"])
def places(request, tmp_path_factory):
    """A model's folder, and its export."""
    several, pixels = request.param
    folder = tmp_path_factory.mktemp("exported")
    torch.manual_seed(several)
    model = randomised(tiny(multi_label=several))
    model.labels, model.sampling = tuple("abcde"), Sampling(frames=8, stride=2)
    model.preprocessing = Preprocessing(
        resize=72, crop=(64, 64), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)
    )
    save_model(model, folder / "model")
    more = ["--with-preprocessing"] * pixels
    asked = ["export", "-m", str(folder / "model"), "--onnx", "-o", str(folder / "model.onnx")]
    made = CliRunner().invoke(app, [*asked, *more])
    assert made.exit_code == 0, made.output
    return str(folder / "model"), str(folder / "model.onnx")


def without(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


def told(*arguments):
    made = CliRunner().invoke(app, [*arguments, "--dtype", "float32"])
    assert made.exit_code == 0, made.output
    return made.stdout


VIDEOS = [str(EXAMPLES / "zoom_in.mp4"), str(EXAMPLES / "pan_left.mp4")]


def test_an_onnx_file_answers_as_its_model_does(places):
    model, exported = places
    asked = ["classify", *VIDEOS, "--views", "2x3", "--format", "jsonl"]
    ran = without(COMMAND, *asked, "-m", exported)
    assert ran.returncode == 0, ran.stderr
    expected = told(*asked, "-m", model)
    for one, other in zip(expected.splitlines(), ran.stdout.splitlines(), strict=True):
        first, second = json.loads(one), json.loads(other)
        assert (second["device"], second["dtype"]) == ("cpu", "float32")
        assert first.get("labels") == second.get("labels")
        scores = [
            {row["label"]: row["score"] for row in each["predictions"]} for each in (first, second)
        ]
        assert scores[0] == pytest.approx(scores[1], abs=2e-5)


def test_it_foretells_what_it_says_once_it_is_checked(places, tmp_path):
    exported = Path(places[1])
    assert foretold_export(locate(places[1])) == read_manifest(exported).description
    broken = tmp_path / "broken.onnx"
    for content in (b"", b"nothing", exported.read_bytes()[:-1]):
        broken.write_bytes(content)
        assert foretold_export(locate(str(broken))) is None


def test_its_timeline_is_that_of_the_model(places):
    model, exported = places
    asked = ["timeline", VIDEOS[0], "--windows", "--format", "json"]
    ran = without(COMMAND, *asked, "-m", exported)
    assert ran.returncode == 0, ran.stderr
    (first,), (second,) = json.loads(told(*asked, "-m", model)), json.loads(ran.stdout)
    assert [one["start"] for one in first["segments"]] == [
        one["start"] for one in second["segments"]
    ]
    scores = [
        [
            {row["label"]: row["score"] for row in window["predictions"]}
            for window in each["windows"]
        ]
        for each in (first, second)
    ]
    assert len(scores[0]) > 2
    for one, other in zip(*scores, strict=True):
        assert one == pytest.approx(other, abs=2e-5)


def test_vectors_are_refused_in_one_line_before_a_video_is_read(places):
    for more in ([], ["--every", "1"]):
        ran = without(COMMAND, "embed", *VIDEOS, "-m", places[1], *more)
        assert ran.returncode == 2, ran.stderr
        assert "gives scores only" in ran.stderr and "Traceback" not in ran.stderr
        assert not ran.stdout


def test_python_runs_it_without_torch_too(places):
    ran = without(PYTHON, places[1], VIDEOS[0])
    assert ran.returncode == 0, ran.stderr
    scores, windows, features, embedded, again = map(json.loads, ran.stdout.splitlines())
    assert len(scores) == 5 and len(windows) > 2 and windows == again
    assert "scores only" in features and features == embedded
