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
from timesformer_cli.__main__ import main
main()
"""


@pytest.mark.parametrize(("several", "pixels"), [(False, False), (True, True)])
def test_an_onnx_file_answers_as_its_model_does(several, pixels, tmp_path):
    torch.manual_seed(several)
    model = randomised(tiny(multi_label=several))
    model.labels, model.sampling = tuple("abcde"), Sampling(frames=8, stride=2)
    model.preprocessing = Preprocessing(
        resize=72, crop=(64, 64), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)
    )
    save_model(model, tmp_path / "model")
    exported = tmp_path / "model.onnx"
    more = ["--with-preprocessing"] * pixels
    made = CliRunner().invoke(
        app, ["export", "-m", str(tmp_path / "model"), "--onnx", "-o", str(exported), *more]
    )
    assert made.exit_code == 0, made.output
    videos = [str(EXAMPLES / "zoom_in.mp4"), str(EXAMPLES / "pan_left.mp4")]
    asked = ["classify", *videos, "--views", "2x3", "--format", "jsonl"]
    told = (
        CliRunner()
        .invoke(app, [*asked, "-m", str(tmp_path / "model"), "--dtype", "float32"])
        .stdout
    )
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT, *asked, "-m", str(exported)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    for one, other in zip(told.splitlines(), ran.stdout.splitlines(), strict=True):
        first, second = json.loads(one), json.loads(other)
        assert (second["device"], second["dtype"]) == ("cpu", "float32")
        assert first.get("labels") == second.get("labels")
        scores = [
            {row["label"]: row["score"] for row in each["predictions"]} for each in (first, second)
        ]
        assert scores[0] == pytest.approx(scores[1], abs=2e-5)
