"""`tsf info`: what a model is, what is done to a clip for it, and where each of that came from."""

import json
from dataclasses import fields

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tests.support.contract import require_valid
from tests.support.models import randomised, tiny
from timesformer_cli.cli.app import app
from timesformer_cli.config import Sampling
from timesformer_cli.inference.gather_facts import gather_facts
from timesformer_cli.inference.model_facts import ModelFacts
from timesformer_cli.weights import tensors as tensors_module
from timesformer_cli.weights.catalogue import WEIGHTS, read_labels
from timesformer_cli.weights.load import save_model


def tsf(*arguments):
    return CliRunner().invoke(app, ["info", *map(str, arguments)])


@pytest.fixture
def uncached(tmp_path, monkeypatch):
    """No cache has anything, and a server that is asked would be an error."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("TSF_CACHE", str(tmp_path / "tsf"))


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A model of six named classes for 4 frames."""
    model = randomised(tiny(frames=4, classes=6))
    model.labels, model.sampling = tuple("uvwxyz"), Sampling(frames=4, stride=15)
    path = tmp_path_factory.mktemp("models") / "named"
    save_model(model, path)
    return path


def test_a_folder_says_all_of_itself(named):
    ran = tsf(named)
    assert ran.exit_code == 0, ran.stderr
    lines = {line.split("  ")[0]: line for line in ran.stdout.splitlines()}
    assert "width 64, 2 blocks, 1 heads" in lines["size"]
    assert "4 frames x 15 (of 30 fps), which span 1.97 s  (config.json)" in lines["clip"]
    for name in ("resize, short side", "crop", "mean", "std"):
        assert lines[name].endswith("(preprocessor_config.json)")
    assert "6: u, v, w, x, y, ..." in lines["labels"]
    assert "sha256:" in lines["revision"]


def test_json_is_the_facts_field_for_field(named):
    told = json.loads(tsf(named, "--format", "json").stdout)
    assert list(told) == ["schema", *(field.name for field in fields(ModelFacts))]
    require_valid("info", told)
    parameters = sum(p.numel() for p in randomised(tiny(frames=4, classes=6)).parameters())
    assert told["parameters"] == parameters
    assert told["labels"] == list("uvwxyz")
    assert told["here"] and told["seconds"] == pytest.approx(59 / 30)


def test_labels_are_one_a_line_and_nothing_else(named):
    ran = tsf(named, "--labels")
    assert ran.stdout == "u\nv\nw\nx\ny\nz\n" and ran.stderr == ""


def test_what_no_file_says_is_called_assumed(named, tmp_path):
    (tmp_path / "bare").mkdir()
    config = json.loads((named / "config.json").read_text())
    for key in ("frame_sample_rate", "id2label", "label2id"):
        del config[key]
    tensors = load_file(named / "model.safetensors")
    tensors["classifier.weight"] = tensors["classifier.weight"][:2].contiguous()
    tensors["classifier.bias"] = tensors["classifier.bias"][:2].contiguous()
    (tmp_path / "bare" / "config.json").write_text(json.dumps(config))
    save_file(tensors, tmp_path / "bare" / "model.safetensors")
    facts = gather_facts(str(tmp_path / "bare"))
    assert facts.sampling_from == "assumed"
    assert facts.preprocessing_from["mean"] == "assumed"
    assert facts.preprocessing_from["crop"] == "config.json"
    assert facts.notes


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_checkpoint_file_is_read_off_its_shapes(suffix, named, tmp_path):
    tensors = load_file(named / "model.safetensors")
    file = tmp_path / f"bare{suffix}"
    save_file(tensors, file) if suffix == ".safetensors" else torch.save(tensors, file)
    facts = gather_facts(str(file))
    assert facts.architecture_from == "the shapes of its tensors"
    assert (facts.width, facts.depth, facts.frames, facts.classes) == (64, 2, 4, 6)
    assert facts.labels_from == facts.sampling_from == "assumed"
    assert facts.files == (str(file),) and facts.bytes == file.stat().st_size


def test_of_a_safetensors_file_only_the_header_is_read(named, monkeypatch):
    def refused(*_):
        raise AssertionError("its numbers were read")

    monkeypatch.setattr(tensors_module.mmap, "mmap", refused)
    assert gather_facts(str(named)).classes == 6


def test_a_folder_that_would_not_load_is_refused(named, tmp_path):
    (tmp_path / "other").mkdir()
    tensors = load_file(named / "model.safetensors")
    del tensors["classifier.bias"]
    save_file(tensors, tmp_path / "other" / "model.safetensors")
    (tmp_path / "other" / "config.json").write_bytes((named / "config.json").read_bytes())
    ran = tsf(tmp_path / "other")
    assert ran.exit_code == 3
    assert ran.stderr.count("\n") == 1 and "missing classifier.bias" in ran.stderr


def test_a_cut_file_is_refused(named, tmp_path):
    whole = (named / "model.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    assert tsf(tmp_path / "cut.safetensors").exit_code == 3


def test_a_multi_label_model_is_said_to_score_each_class_by_itself(named, tmp_path):
    (tmp_path / "many").mkdir()
    for file in named.iterdir():
        (tmp_path / "many" / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "many" / "config.json"
    kind = "multi_label_classification"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"problem_type": kind}))
    assert gather_facts(str(named)).scores == "softmax"
    assert gather_facts(str(tmp_path / "many")).scores == "sigmoid"
    assert "sigmoid" in tsf(tmp_path / "many").stdout


@pytest.mark.parametrize("name", [name for name, row in WEIGHTS.items() if not row.bundled])
def test_a_name_that_is_not_here_is_told_from_the_catalogue(name, uncached):
    row, facts = WEIGHTS[name], gather_facts(name)
    assert not facts.here
    assert (facts.frames, facts.stride, facts.classes) == (row.frames, row.stride, row.classes)
    assert (facts.licence, facts.top1) == (row.licence, row.top1)
    assert facts.preprocessing["mean"] == row.mean
    assert set(facts.preprocessing_from.values()) == {"the catalogue"}
    assert "not on this machine" in facts.notes[0] and f"download-weights {name}" in facts.notes[0]


def test_its_labels_are_known_where_the_package_has_them(uncached):
    assert tsf("base-k400", "--labels").stdout.splitlines() == list(read_labels("kinetics400"))
    ran = tsf("howto100m-8x32", "--labels")
    assert ran.exit_code == 2 and ran.stdout == "" and "1,059 labels" in ran.stderr


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("org/name", "tsf download-weights org/name"),
        ("timm:vit_base_patch16_224", "tsf download-weights timm:vit_base_patch16_224"),
        ("base-k40", "did you mean base-k400"),
        ("gone/model.safetensors", "no such file"),
    ],
)
def test_a_name_that_nothing_here_knows_is_one_line(name, words, uncached):
    ran = tsf(name)
    assert ran.exit_code == 3
    assert ran.stderr.count("\n") == 1 and words in ran.stderr


def test_a_file_with_no_model_in_it_is_one_line(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    ran = tsf(tmp_path / "notes.txt")
    assert ran.exit_code == 3 and ran.stderr.count("\n") == 1


@pytest.mark.parametrize("kind", ["pt2", "onnx"])
def test_an_exported_file_tells_its_metadata(kind, named, tmp_path):
    file = tmp_path / f"model.{kind}"
    words = ["export", "--model", str(named), f"--{kind}", "--output", str(file)]
    assert CliRunner().invoke(app, words).exit_code == 0
    facts = gather_facts(str(file))
    assert (facts.frames, facts.stride, facts.labels) == (4, 15, tuple("uvwxyz"))
    assert facts.architecture_from == facts.labels_from == "the file's metadata"
    assert facts.dtype == "float32" and facts.source.startswith("exported from")
    assert facts.bytes == file.stat().st_size
    assert tsf(file).exit_code == 0
