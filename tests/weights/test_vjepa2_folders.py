"""V-JEPA 2 folders of transformers: each field of their files, their predictors, their encoders."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close
from transformers import (
    VJEPA2Config,
    VJEPA2ForVideoClassification,
    VJEPA2Model,
    VJEPA2VideoProcessor,
)
from typer.testing import CliRunner

from tests.model.test_relatives import EXACT, SMALL, clips, randomised
from tests.support.clips import write as write_clip
from tests.weights.test_transformers_folders import frames, require_alike, rewrite
from timesformer_cli.cli.app import app
from timesformer_cli.errors import WeightsError
from timesformer_cli.training.initial_model import initial_model
from timesformer_cli.training.options import TrainOptions
from timesformer_cli.weights.load import load_model, load_path, save_model

__all__ = ["frames"]  # a fixture


def save(folder: Path, architecture: Any = VJEPA2ForVideoClassification, **changes: Any) -> Path:
    """A model with random weights as transformers saves it, with its processor."""
    randomised(architecture(VJEPA2Config(**SMALL | changes))).save_pretrained(folder)
    VJEPA2VideoProcessor(crop_size=SMALL["crop_size"]).save_pretrained(folder)
    return folder


HONOURED: dict[str, dict[str, Any]] = {
    "as it is": {},
    "multi-label": {"problem_type": "multi_label_classification"},
    "labels": {"id2label": {0: "ten", 1: "9", 2: "run", 3: "a, b", 4: "é"}},
    "coarse norm": {"layer_norm_eps": 1e-2},
    "no biases": {"qkv_bias": False},  # the pooler keeps its own
    "a query alone": {"num_pooler_layers": 0},
    "one pooler layer": {"num_pooler_layers": 1},
    "tubelets of 4": {"tubelet_size": 4},
    "wider MLP": {"mlp_ratio": 48 / 11},  # of the blocks; the pooler's stays
    "whole MLP ratio": {"mlp_ratio": 2},
    "other patches": {"patch_size": 16},
}
WITHOUT_EFFECT: dict[str, dict[str, Any]] = {
    "predictor": {"pred_mlp_ratio": 2.0, "pred_num_mask_tokens": 1, "pred_hidden_size": 12},
    "more predictor": {"pred_num_attention_heads": 3, "pred_zero_init_mask_tokens": False},
    "training": {"attention_probs_dropout_prob": 0.5, "attention_dropout": 0.5},
    "drop path": {"drop_path_rate": 0.5, "initializer_range": 1.0},
}


@pytest.mark.parametrize(
    "changes", (HONOURED | WITHOUT_EFFECT).values(), ids=HONOURED | WITHOUT_EFFECT
)
def test_each_field_of_a_config_means_what_it_means_there(tmp_path, frames, changes):
    require_alike(save(tmp_path, **changes), frames)


@pytest.mark.parametrize(
    "changes",
    [
        # The fields that the published files have and transformers does not read.
        {"image_size": 999, "hidden_dropout_prob": 0.5, "use_SiLU": False, "wide_SiLU": True},
        {"num_pooler_layers": ..., "mlp_ratio": ..., "tubelet_size": ..., "in_chans": ...},
    ],
    ids=["unread", "defaults"],
)
def test_fields_that_are_passed_over_and_those_that_a_file_leaves_out(tmp_path, frames, changes):
    save(tmp_path, num_pooler_layers=3, mlp_ratio=4.0)
    rewrite(tmp_path / "config.json", **changes)
    require_alike(tmp_path, frames)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "activation": ({"hidden_act": "silu"}, "hidden_act is 'silu'"),
    "grey": ({"in_chans": 1}, "in_chans is 1"),
    "two patches": ({"patch_size": [8, 8]}, "configuration field 'patch' has the wrong type"),
    "another family's": ({"intermediate_size": 64}, "intermediate_size is a field that tsf does"),
    "positions": ({"use_rope": False}, "use_rope is a field"),
    "ratio in words": ({"mlp_ratio": "4"}, "mlp_ratio is '4'"),
    "ratio below 0": ({"mlp_ratio": -1}, "mlp_ratio is -1"),
    "endless ratio": ({"mlp_ratio": float("inf")}, "mlp_ratio is inf"),
    "width in words": ({"hidden_size": "48"}, "hidden_size is '48'"),
    "layers in words": ({"num_pooler_layers": "3"}, "num_pooler_layers is '3'"),
    "true layers": ({"num_pooler_layers": True}, "num_pooler_layers is True"),
    "layers below 0": ({"num_pooler_layers": -1}, "num_pooler_layers is -1"),
    "too many layers": ({"num_pooler_layers": 10**9}, "pooler_blocks is 1000000001"),
    "two sides": ({"crop_size": [32, 32]}, "configuration field 'height' has the wrong type"),
    "odd frames": ({"frames_per_clip": 5}, "frame count 5 is not a multiple"),
    "regression": ({"problem_type": "regression"}, "problem_type is 'regression'"),
    "another class": ({"architectures": ["VJEPA2Predictor"]}, "architectures is VJEPA2Predictor"),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_a_field_that_cannot_be_honoured_is_refused_by_name(tmp_path, changes, words):
    file = save(tmp_path) / "config.json"
    rewrite(file, **changes)
    with pytest.raises(WeightsError) as refusal:
        load_path(tmp_path)
    assert str(refusal.value).startswith(f"{file}: {words}")
    assert "\n" not in str(refusal.value)


PROCESSORS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "a size that it does not take": {"size": {"shortest_edge": 99}},
    "crop as a number": {"crop_size": 32},
    "mean and std": {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.7, 0.9]},
    "what it leaves out": {"size": ..., "image_mean": ..., "image_std": ..., "resample": ...},
    "no class": {"video_processor_type": ...},
    "a lower crop": {"crop_size": {"height": 32, "width": 24}},
    "a smaller crop": {"crop_size": {"height": 24, "width": 24}},
    "no normalising": {"do_normalize": False},
}


@pytest.mark.parametrize("changes", PROCESSORS.values(), ids=PROCESSORS)
def test_each_field_of_a_processor_means_what_it_means_there(tmp_path, frames, changes):
    file = save(tmp_path) / "video_preprocessor_config.json"
    written = json.loads(file.read_text())
    rewrite(file, **changes)
    if changes.get("video_processor_type") is ...:  # transformers asks for it
        ours = load_path(tmp_path)[0].preprocessing
        file.write_text(json.dumps(written))
        assert ours == load_path(tmp_path)[0].preprocessing
    require_alike(tmp_path, frames)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop_size": {"shortest_edge": 32}}, "crop_size is {'shortest_edge': 32}"),
        ({"crop_size": 0}, "a picture size is 0"),
        ({"crop_size": {"height": 20, "width": 20}}, "height 20 is not a multiple"),
        ({"do_center_crop": False}, "do_center_crop is false"),
    ],
)
def test_a_processor_field_that_cannot_be_honoured_is_refused_by_name(tmp_path, changes, words):
    file = save(tmp_path) / "video_preprocessor_config.json"
    rewrite(file, **changes)
    with pytest.raises(WeightsError) as refusal:
        load_path(tmp_path)
    assert str(refusal.value).startswith(f"{file}: {words}")


def changed(folder: Path, **tensors: torch.Tensor | None) -> Path:
    """The folder with tensors added, replaced, or with None removed."""
    file = folder / "model.safetensors"
    kept: dict[str, torch.Tensor | None] = {**load_file(file), **tensors}
    save_file(
        {name: each for name, each in kept.items() if each is not None}, file, {"format": "pt"}
    )
    return folder


def test_the_predictor_is_left_and_nothing_else(tmp_path):
    folder = save(tmp_path, pred_num_hidden_layers=12)  # more than the encoder has
    expected, notes = load_path(folder)
    assert len(notes) == 1 and "no sampling rate" in notes[0]
    predictor = [name for name in load_file(folder / "model.safetensors") if "predictor" in name]
    assert len(predictor) == 12 * 16 + 7
    changed(folder, **dict.fromkeys(predictor))
    clip = clips(1, 4, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(load_path(folder)[0](clip), expected(clip))
    for name in (
        "vjepa2.predictor.layer.0.extra.weight",
        "vjepa2.predictor.layer.x.norm1.weight",
        "predictor.layernorm.weight",
        "vjepa2.encoder.layer.7.norm1.weight",
    ):
        changed(folder, **{name: torch.zeros(3)})
        with pytest.raises(WeightsError, match=rf"left over {name}"):
            load_path(folder)
        changed(folder, **{name: None})


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (1, "left over pooler.self_attention_layers.1."),
        (3, "missing pooler.self_attention_layers.2"),
    ],
)
def test_another_depth_of_the_pooler_is_one_line(tmp_path, layers, words):
    rewrite(save(tmp_path) / "config.json", num_pooler_layers=layers)
    with pytest.raises(WeightsError, match=words) as refusal:
        load_path(tmp_path)
    assert "\n" not in str(refusal.value)


def test_a_bare_file_tells_all_but_frames_and_size(tmp_path):
    theirs = randomised(
        VJEPA2ForVideoClassification(
            VJEPA2Config(**SMALL | {"hidden_size": 64, "num_attention_heads": 1, "patch_size": 64})
        )
    )
    save_file(theirs.state_dict(), tmp_path / "mine.safetensors")
    ours, notes = load_path(tmp_path / "mine.safetensors")
    assert any("16 frames of 256 px are assumed" in note for note in notes)
    assert any("frames spread over the whole video are assumed" in note for note in notes)
    theirs.config.crop_size = 256
    for layer in theirs.vjepa2.encoder.layer:
        layer.attention.grid_size = 256 // 64
    clip = clips(1, 16, 3, 256, 256)
    with torch.no_grad():
        assert_close(ours(clip), theirs(clip).logits, **EXACT)


def test_our_own_folder_keeps_what_was_read(tmp_path):
    model, _ = load_path(save(tmp_path / "theirs"))
    save_model(model, tmp_path / "ours")
    again, notes = load_path(tmp_path / "ours")
    assert (again.config, again.preprocessing, notes) == (model.config, model.preprocessing, ())
    clip = clips(1, 4, 3, 32, 32)
    with torch.no_grad():
        # Copies, for where weights lie in a file decides the last bit of a sum.
        assert torch.equal(deepcopy(again)(clip), deepcopy(model)(clip))


@pytest.fixture
def encoder(tmp_path) -> Path:
    return save(tmp_path / "encoder", VJEPA2Model)


def test_an_encoder_is_theirs_under_a_new_readout(encoder):
    model, notes = load_model(str(encoder), encoder=True)
    assert any("are new" in note for note in notes)
    theirs = VJEPA2Model.from_pretrained(encoder).eval()
    seen: list[torch.Tensor] = []
    clip = clips(2, 4, 3, 32, 32)
    model.norm.register_forward_hook(lambda module, given, made: seen.append(made))
    with torch.no_grad():
        assert model(clip).std(dim=0).max() > 0  # the new readout looks at the clip
        expected = theirs(clip, skip_predictor=True).last_hidden_state
    assert_close(seen[0].flatten(1, 3), expected, **EXACT)


def test_an_encoder_answers_nothing_and_says_what_gives_it_classes(encoder):
    with pytest.raises(WeightsError, match="an encoder without a classifier; tsf train --init"):
        load_path(encoder)
    ran = CliRunner().invoke(app, ["export", "-m", str(encoder), "--pt2", "-o", f"{encoder}.pt2"])
    assert ran.exit_code == 3 and "an encoder without a classifier" in ran.stderr


@pytest.mark.parametrize("name", ["vjepa2-large", "facebook/vjepa2-vitg-fpc64-384"])
@pytest.mark.parametrize(
    "command",
    [["classify", "x.mp4", "-m"], ["export", "--onnx", "-m"], ["timeline", "x.mp4", "-m"]],
)
def test_a_published_encoder_is_refused_before_it_is_fetched(tmp_path, monkeypatch, command, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("timesformer_cli.weights.hub.locate.fetch", pytest.fail)
    (tmp_path / "x.mp4").write_bytes(b"")
    ran = CliRunner().invoke(app, [*command, name])
    assert ran.exit_code == 3, ran.stderr
    assert f"{name}: an encoder without a classifier" in ran.stderr


def test_tsf_info_tells_of_an_encoder_what_there_is(encoder):
    ran = CliRunner().invoke(app, ["info", str(encoder), "--format", "json"])
    facts = json.loads(ran.stdout)
    theirs = VJEPA2Model.from_pretrained(encoder).encoder
    assert facts["parameters"] == sum(part.numel() for part in theirs.parameters())
    assert (facts["classes"], facts["labels"]) == (0, [])
    shown = CliRunner().invoke(app, ["info", str(encoder)]).stdout
    assert "read out" in shown and "LABEL" not in shown
    ran = CliRunner().invoke(app, ["info", str(encoder), "--labels"])
    assert ran.exit_code == 2 and "an encoder, which knows no labels" in ran.stderr


def test_training_starts_from_an_encoder(encoder):
    options = TrainOptions(data="clips", out="out", init=str(encoder), seed=3)
    said: list[str] = []
    model = initial_model(options, ("a", "b", "c"), said.append)
    assert model.labels == ("a", "b", "c") and model.config.pooler_blocks == 3
    assert any("an encoder; what reads it out" in text for text in said)
    kept, _ = load_model(str(encoder), encoder=True)
    for name, tensor in model.state_dict().items():
        if not name.startswith(("pooler.", "head.")):
            assert torch.equal(tensor, kept.state_dict()[name])
    again = initial_model(options, ("a", "b", "c"), said.append)
    assert torch.equal(again.pooler.query, model.pooler.query)  # a function of the seed
    model(clips(1, 4, 3, 32, 32)).logsumexp(-1).sum().backward()
    assert all(each.grad is not None for each in model.parameters())


def test_a_frozen_encoder_gets_a_head_that_reads_the_mean_of_its_tokens(encoder):
    options = TrainOptions(data="clips", out="out", init=str(encoder), freeze_backbone=True)
    said: list[str] = []
    model = initial_model(options, ("a", "b", "c"), said.append)
    assert model.pooler is None and model.head.out_features == 3
    assert any("reads the mean of its tokens" in text for text in said)
    clip = clips(2, 4, 3, 32, 32)
    theirs = VJEPA2Model.from_pretrained(encoder).eval()
    with torch.no_grad():
        expected = theirs(clip, skip_predictor=True).last_hidden_state.mean(dim=1)
        assert_close(model.features(clip), expected, **EXACT)
    save_model(model, encoder.parent / "trained")
    again, notes = load_path(encoder.parent / "trained")
    assert (again.config, notes) == (model.config, ())
    with torch.no_grad():
        assert torch.equal(again(clip), model(clip))


def test_a_frozen_encoder_is_trained_and_classifies(encoder, tmp_path):
    for label, level in {"dark": 40, "bright": 210}.items():
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(3):
            frames = [np.full((48, 48, 3), level + 5 * number, np.uint8)] * 4
            write_clip(tmp_path / "data" / label / f"{number}.mp4", frames, size=(48, 48))
    words = ["train", str(tmp_path / "data"), "--init", str(encoder), "--freeze-backbone"]
    words += ["--workers", "1", "--device", "cpu", "-o", str(tmp_path / "out")]
    ran = CliRunner().invoke(app, words)
    assert ran.exit_code == 0, ran.stderr
    before, after = (
        load_file(encoder / "model.safetensors"),
        load_file(tmp_path / "out" / "model.safetensors"),
    )
    name = "encoder.layer.0.mlp.fc1.weight"
    assert torch.equal(before[name], after["blocks.0.mlp.fc1.weight"])
    assert not any(name.startswith("pooler.") for name in after)
    clip = str(tmp_path / "data" / "dark" / "0.mp4")
    ran = CliRunner().invoke(
        app, ["classify", clip, "-m", str(tmp_path / "out"), "--device", "cpu"]
    )
    assert ran.exit_code == 0 and "dark" in ran.stdout
