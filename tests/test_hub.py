"""Catalogue names and hub ids through the real client, against a hub on loopback."""

import os
import subprocess
import sys

import pytest
from conftest import randomised, tiny
from hub import COMMIT, serving

from timesformer_cli.catalogue import WEIGHTS
from timesformer_cli.inference.models import save

REPO = "facebook/timesformer-base-finetuned-k400"
LOAD = """
import sys
from timesformer_cli.errors import TsfError
from timesformer_cli.inference.models import load
try:
    model, notes = load(sys.argv[1])
    print(model.sampling.frames, model.sampling.stride, len(model.labels), *notes)
except TsfError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def hub(tmp_path):
    save(randomised(tiny(frames=4)), tmp_path / "hub" / REPO)
    # As on the real hub, the configuration says nothing of sampling.
    config = tmp_path / "hub" / REPO / "config.json"
    config.write_text("\n".join(s for s in config.read_text().splitlines() if '_rate": n' not in s))
    with serving(tmp_path / "hub") as server:
        yield server


def load(name: str, tmp_path, **environment: str) -> subprocess.CompletedProcess:
    # A process of its own: the client reads its settings when it is imported.
    settings = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return subprocess.run(
        [sys.executable, "-c", LOAD, name],
        env=os.environ | settings | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("name", ["base-k400", f"{REPO}@{COMMIT}"])
def test_a_name_is_fetched_once_and_then_comes_from_the_cache(hub, tmp_path, name):
    ran = load(name, tmp_path, HF_ENDPOINT=hub.endpoint)
    assert ran.stdout == "4 32 5\n", ran.stderr  # the stride is the catalogue's
    asked = len(hub.asked)
    again = load(name, tmp_path, HF_ENDPOINT=hub.endpoint)
    assert again.stdout == ran.stdout
    assert len(hub.asked) == asked


def test_a_repository_with_a_pickle_only_loads_too(hub, tmp_path):
    import torch
    from safetensors.torch import load_file

    folder = hub.root / REPO
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    ran = load("base-k400", tmp_path, HF_ENDPOINT=hub.endpoint)
    assert ran.stdout == "4 32 5\n", ran.stderr


FAULTS = {
    "no such repository": ("org/nothing", "'org/nothing' is not on the hub"),
    "no such revision": (f"{REPO}@v9", "no such revision"),
    "gated": ("org/gated", "hf auth login"),
}


@pytest.mark.parametrize(("name", "words"), FAULTS.values(), ids=FAULTS)
def test_what_the_hub_refuses_is_explained(hub, tmp_path, name, words):
    hub.gated.add("org/gated")
    ran = load(name, tmp_path, HF_ENDPOINT=hub.endpoint)
    assert ran.stderr.startswith("WeightsError") and words in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_a_hub_out_of_reach_is_said_at_once(tmp_path):
    ran = load("base-k400", tmp_path, HF_ENDPOINT="http://127.0.0.1:1")
    assert "cannot be reached" in ran.stderr
    assert "--model camera-motion" in ran.stderr
    assert ran.stderr.count("\n") == 1


@pytest.mark.network
@pytest.mark.parametrize("name", [name for name, row in WEIGHTS.items() if row.repo])
def test_every_published_model_of_the_catalogue_loads(name):
    from timesformer_cli.inference.models import load

    model, _ = load(name)
    row = WEIGHTS[name]
    assert model.config.classes == row.classes
    assert model.config.frames == row.frames
    assert model.config.height == row.size
