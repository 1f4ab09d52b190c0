"""`tsf download-weights`: the list, fetching, verifying, and files of the user's own."""

import json
import os

import pytest
import torch
from typer.testing import CliRunner

from tests.support.contract import require_valid
from tests.support.models import randomised
from tests.weights.test_layouts import mmaction2_names
from timesformer_cli.cli.app import app
from timesformer_cli.config import ModelConfig
from timesformer_cli.cost.rate import MachineRate
from timesformer_cli.weights.catalogue import WEIGHTS

KEYS = (
    "name attention frames stride image_size data classes top1 top5 reported parameters gmacs "
    "bytes licence source cached views front clip_seconds words memory_bytes seconds rate best_for"
).split()
FILE_ONLY = "howto100m-8x32"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TSF_CACHE", str(tmp_path / "tsf"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    # Where other programs run, it would be measured anew each time.
    rate = MachineRate(
        device="cpu", title="Some CPU", dtype="float32", gflops=150.0, measured="2026-11-26"
    )
    monkeypatch.setattr("timesformer_cli.benchmark.rate._measured", lambda: rate)
    return tmp_path


def tsf(*arguments: str):
    return CliRunner().invoke(app, ["download-weights", *arguments], env={"COLUMNS": "200"})


def test_the_list_shows_every_row_with_its_licence(cache):
    ran = tsf("--list", "--cache-dir", str(cache))
    assert ran.exit_code == 0
    for name, row in WEIGHTS.items():
        (line,) = [line for line in ran.stdout.splitlines() if line.split()[:1] == [name]]
        assert row.licence in line
        assert (" yes" in line) == row.bundled
    assert tsf("--cache-dir", str(cache)).stdout == ran.stdout


def test_the_list_in_json_has_exactly_its_fields(cache):
    rows = json.loads(tsf("--list", "--format", "json", "--cache-dir", str(cache)).stdout)
    assert [list(row) for row in rows] == [["schema", *KEYS]] * len(WEIGHTS)
    require_valid("models", rows[0])
    base = next(row for row in rows if row["name"] == "base-k400")
    assert base["gmacs"] == 195.8
    assert base["parameters"] == 121_566_352
    assert base["bytes"] == pytest.approx(486.3e6, rel=1e-3)
    assert (base["top1"], base["top5"], base["stride"]) == (77.9, 93.2, 32)
    assert base["source"].startswith("facebook/timesformer-base-finetuned-k400@8aaf40ea")


def test_the_list_fits_a_narrow_terminal(cache, monkeypatch):
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    narrow = {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    ran = CliRunner().invoke(app, ["download-weights", "--list"], env=narrow)
    assert max(map(len, ran.stdout.splitlines())) <= 80
    assert "…" not in ran.stdout


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A checkpoint in mmaction2's names with the shape of a published model, all but its depth."""
    model = randomised(ModelConfig(dim=64, depth=1, heads=1, mlp_dim=64, classes=1059))
    names = mmaction2_names("divided", 1)
    tensors = {theirs: model.state_dict()[ours] for theirs, ours in names.items()}
    kernel = "backbone.patch_embed.projection.weight"
    tensors[kernel] = tensors[kernel].unflatten(1, (3, 16, 16)).contiguous()
    path = tmp_path_factory.mktemp("files") / "mine.pth"
    torch.save({"state_dict": tensors}, path)
    return path


def test_a_file_of_the_users_becomes_a_folder_beside_it(cache, official):
    ran = tsf("--from-file", str(official))
    assert ran.exit_code == 0, ran.stderr
    folder = official.with_suffix("")
    assert ran.stdout.strip() == str(folder)
    assert sorted(os.listdir(folder)) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    assert "LABEL_" in ran.stderr


def test_a_name_for_a_file_of_another_shape_is_refused(cache, official):
    ran = tsf(FILE_ONLY, "--from-file", str(official))
    assert ran.exit_code == 3
    assert "another shape" in ran.stderr
    assert not (cache / "tsf").exists()


def test_a_converted_file_serves_under_its_name(cache, official, monkeypatch):
    """As for the published file, but small: the row says that it is of this shape."""
    config = ModelConfig(dim=64, depth=1, heads=1, mlp_dim=64, classes=1059)
    monkeypatch.setattr("timesformer_cli.weights.catalogue.Weights.config", config)
    ran = tsf(FILE_ONLY, "--from-file", str(official))
    assert ran.exit_code == 0, ran.stderr
    assert "not for commercial use" in ran.stderr
    again = tsf(FILE_ONLY)
    assert again.stdout == ran.stdout
    assert tsf("--verify", FILE_ONLY).stdout.startswith("unknown")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["base-k40"], 3, "did you mean base-k400"),
        ([FILE_ONLY], 3, "--from-file PATH"),
        (["base-k400", "--offline"], 3, "--revision 8aaf40ea"),
        (["--from-file", "missing.pyth"], 3, "missing.pyth"),
        (["nonsense", "--from-file", "x.pyth"], 2, "no weights named"),
        (["a", "b", "--from-file", "x.pyth"], 2, "one file"),
    ],
)
def test_what_cannot_be_had_is_one_line_and_its_exit_code(cache, arguments, code, words):
    ran = tsf(*arguments, "--cache-dir", str(cache))
    assert ran.exit_code == code
    assert words in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_one_that_cannot_be_had_does_not_stop_the_others(cache):
    ran = tsf("base-k400", "camera-motion", "--offline", "--cache-dir", str(cache))
    assert ran.exit_code == 3
    assert "assets/camera-motion" in ran.stdout
