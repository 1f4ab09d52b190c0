"""Bare files of VideoMAE and ViViT, compared with transformers' models of the same tensors."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from tests.weights.test_wrappers import PUBLIC
from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.load import load_model

SMALL = {
    "image_size": 224,
    "patch_size": 56,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "intermediate_size": 96,
    "num_labels": 5,
}


@pytest.fixture(scope="module")
def videomae():
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    torch.manual_seed(0)
    model = VideoMAEForVideoClassification(VideoMAEConfig(**SMALL, num_frames=16)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1)
    return model


@pytest.fixture(scope="module")
def vivit():
    from transformers import VivitConfig, VivitForVideoClassification

    torch.manual_seed(0)
    config = VivitConfig(**SMALL, num_frames=8, tubelet_size=[2, 56, 56])
    model = VivitForVideoClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1)
    return model


def agrees(path, model, frames: int) -> tuple[str, ...]:
    ours, notes = load_model(str(path))
    assert ours.config.frames == frames
    clip = torch.randn(2, frames, 3, 224, 224)
    with torch.no_grad():
        assert_close(ours(clip), model(clip).logits, rtol=0, atol=1e-4)
    return notes


def official(state: dict) -> dict:
    """A VideoMAE's tensors as the official code names them, written out by hand."""
    start = "videomae.embeddings.patch_embeddings.projection"
    tensors = {f"patch_embed.proj.{leaf}": state[f"{start}.{leaf}"] for leaf in ("weight", "bias")}
    for leaf in ("weight", "bias"):
        tensors[f"fc_norm.{leaf}"] = state[f"fc_norm.{leaf}"]
        tensors[f"head.{leaf}"] = state[f"classifier.{leaf}"]
    parts = {
        "attn.proj": "attention.output.dense",
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    for number in range(2):
        layer, block = f"videomae.encoder.layer.{number}", f"blocks.{number}"
        attention = f"{layer}.attention.attention"
        weights = [state[f"{attention}.{part}.weight"] for part in ("query", "key", "value")]
        tensors[f"{block}.attn.qkv.weight"] = torch.cat(weights)
        tensors[f"{block}.attn.q_bias"] = state[f"{attention}.query.bias"]
        tensors[f"{block}.attn.v_bias"] = state[f"{attention}.value.bias"]
        for theirs, part in parts.items():
            for leaf in ("weight", "bias"):
                tensors[f"{block}.{theirs}.{leaf}"] = state[f"{layer}.{part}.{leaf}"]
    return tensors


@pytest.mark.parametrize("wrapper", ["model", "module"])
def test_the_authors_own_videomae_file_loads(tmp_path, videomae, wrapper):
    from argparse import Namespace

    content = {wrapper: official(videomae.state_dict()), "args": Namespace(lr=1e-3), "epoch": 74}
    torch.save(content, tmp_path / "checkpoint.pth")
    notes = agrees(tmp_path / "checkpoint.pth", videomae, 16)
    assert any("16 frames of 224 px are assumed" in note for note in notes)


def test_the_public_videomae_file_loads():
    path = PUBLIC / "models" / "videomae_official.pth"
    if not path.exists():
        pytest.skip(f"no {path}")
    model, notes = load_model(str(path))
    assert (model.config.attention, model.config.patch) == ("videomae", 8)
    assert any("are assumed" in note for note in notes)


def test_a_videomae_loads_under_the_names_of_files_and_of_memory(tmp_path, videomae):
    state = videomae.state_dict()
    assert "videomae.encoder.layer.0.attention.attention.query.bias" in state
    torch.save(state, tmp_path / "memory.pt")
    agrees(tmp_path / "memory.pt", videomae, 16)
    videomae.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert "videomae.encoder.layer.0.attention.attention.q_bias" in saved
    save_file(saved, tmp_path.parent / "bare.safetensors")
    agrees(tmp_path.parent / "bare.safetensors", videomae, 16)


def test_a_bias_of_the_keys_changes_no_score_and_is_left(tmp_path, videomae):
    state = videomae.state_dict()
    for number in range(2):
        name = f"videomae.encoder.layer.{number}.attention.attention.key.bias"
        state[name] = torch.randn(64)
    torch.save(state, tmp_path / "keys.pt")
    agrees(tmp_path / "keys.pt", videomae, 16)


def test_a_vivit_loads_under_the_names_of_files_and_of_memory(tmp_path, vivit):
    torch.save(vivit.state_dict(), tmp_path / "memory.pt")
    notes = agrees(tmp_path / "memory.pt", vivit, 8)
    assert any("pictures of 224 px are assumed" in note for note in notes)
    vivit.save_pretrained(tmp_path / "m")
    save_file(load_file(tmp_path / "m" / "model.safetensors"), tmp_path / "bare.safetensors")
    agrees(tmp_path / "bare.safetensors", vivit, 8)


def test_a_vivit_of_another_size_needs_its_configuration(tmp_path, vivit):
    state = vivit.state_dict()
    name = "vivit.embeddings.position_embeddings"
    state[name] = state[name][:, :14]
    torch.save(state, tmp_path / "odd.pt")
    with pytest.raises(WeightsError, match=r"a ViViT .* 13 patches .*config\.json"):
        load_model(str(tmp_path / "odd.pt"))


def test_a_config_json_beside_a_file_says_what_would_be_assumed(tmp_path, videomae):
    videomae.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"image_size": 112}))
    model, notes = load_model(str(tmp_path / "model.safetensors"))
    assert model.config.height == 112
    assert not any("px" in note for note in notes)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_pretraining_file_is_named_for_what_it_is(tmp_path, videomae, depth):
    state = official(videomae.state_dict())
    tensors = {f"encoder.{name}": t for name, t in state.items() if not name.startswith("head")}
    tensors |= {
        f"decoder.{name}": t
        for name, t in state.items()
        if name.startswith(tuple(f"blocks.{number}." for number in range(depth)))
    }
    tensors |= {"mask_token": torch.zeros(1, 1, 64), "encoder_to_decoder.weight": torch.ones(4, 4)}
    torch.save({"model": tensors}, tmp_path / "pretrain.pth")
    with pytest.raises(WeightsError, match=r"pretraining file .* no classifier"):
        load_model(str(tmp_path / "pretrain.pth"))


def test_a_model_without_a_classifier_is_named_so(tmp_path, videomae):
    state = official(videomae.state_dict())
    tensors = {name: t for name, t in state.items() if not name.startswith("head")}
    torch.save(tensors, tmp_path / "backbone.pth")
    with pytest.raises(WeightsError, match=r"a VideoMAE as the official .* without a classifier"):
        load_model(str(tmp_path / "backbone.pth"))


def test_a_huge_videomae_has_the_heads_that_were_published(tmp_path):
    from timesformer_cli.weights.infer_config import infer_config
    from timesformer_cli.weights.layout_tables import VIDEOMAE_OFFICIAL

    shapes = {
        "fc_norm.weight": (1280,),
        "patch_embed.proj.weight": (1280, 3, 2, 16, 16),
        "blocks.0.mlp.fc1.weight": (5120, 1280),
        "blocks.0.norm2.weight": (1280,),
        "head.weight": (400, 1280),
    }
    config, _ = infer_config(shapes, VIDEOMAE_OFFICIAL)
    assert (config.heads, config.dim // config.heads) == (16, 80)


@pytest.mark.parametrize("names", ["official", "in memory", "in files"])
def test_a_videomae_without_mean_pooling_reads_the_first_token(tmp_path, names):
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    torch.manual_seed(0)
    config = VideoMAEConfig(**SMALL, num_frames=16, use_mean_pooling=False, layer_norm_eps=1e-6)
    model = VideoMAEForVideoClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1)
    state = model.state_dict()
    if names == "official":
        norm = {
            f"fc_norm.{leaf}": state[f"videomae.layernorm.{leaf}"] for leaf in ("weight", "bias")
        }
        tensors = official(state | norm)
        state = {name.replace("fc_norm", "norm"): tensor for name, tensor in tensors.items()}
    elif names == "in files":
        model.save_pretrained(tmp_path / "folder")
        state = load_file(tmp_path / "folder" / "model.safetensors")
    torch.save(state, tmp_path / "first.pth")
    assert agrees(tmp_path / "first.pth", model, 16)
