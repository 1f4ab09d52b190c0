"""What can be told of a model without its tensors is what is told of it with them."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.support.models import randomised, tiny
from timesformer_cli.config import Sampling
from timesformer_cli.inference.open import describe_model
from timesformer_cli.weights.assumed import foretold
from timesformer_cli.weights.catalogue import find_weights
from timesformer_cli.weights.hub.locate import Located, locate
from timesformer_cli.weights.load import save_model


@pytest.fixture
def folder(tmp_path):
    model = randomised(tiny())
    model.sampling = Sampling(frames=8, stride=7)
    save_model(model, tmp_path / "model")
    return tmp_path / "model"


def test_a_folder_foretells_what_loading_it_says(folder):
    located = locate(str(folder))
    assert foretold(located) == describe_model(located)
    assert foretold(locate("camera-motion")) == describe_model("camera-motion")


def test_a_row_of_the_catalogue_fills_in_what_a_folder_leaves_out(folder):
    for name in ("preprocessor_config.json", "config.json"):
        kept = json.loads((folder / name).read_text())
        kept.pop("frame_sample_rate", None)
        (folder / name).write_text(json.dumps(kept))
    (folder / "preprocessor_config.json").unlink()
    located = Located(name="x", path=folder, row=find_weights("base-k400"))
    assert foretold(located) == describe_model(located)
    # Without a row it depends on the names of the tensors what is assumed.
    assert foretold(replace(located, row=None)) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model_type": "bert"}', "[" * 100_000])
def test_a_folder_that_cannot_be_read_foretells_nothing(folder, content):
    (folder / "config.json").write_text(content)
    assert foretold(locate(str(folder))) is None


def test_what_needs_tensors_foretells_nothing(tmp_path):
    for name in ("model.onnx", "model.pt2", "model.safetensors"):
        (tmp_path / name).write_bytes(b"")
        assert foretold(locate(str(tmp_path / name))) is None


def test_it_is_told_without_torch(folder):
    code = (
        "import sys\n"
        "from timesformer_cli.weights.assumed import foretold\n"
        "from timesformer_cli.weights.hub.locate import locate\n"
        "assert foretold(locate(sys.argv[1])).sampling.stride == 7\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(folder)], timeout=120).returncode == 0
