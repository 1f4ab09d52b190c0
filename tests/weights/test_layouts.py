"""Dialects built from their documented names, and image models inflated to video models."""

from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torch.testing import assert_close

from tests.support.models import TYPED, randomised, tiny
from timesformer_cli.errors import WeightsError
from timesformer_cli.model.attention import GroupedAttention
from timesformer_cli.model.inflate import inflate
from timesformer_cli.schemes import JOINT, SCHEMES
from timesformer_cli.weights.catalogue import read_labels
from timesformer_cli.weights.hub import locate as locating
from timesformer_cli.weights.load import load_model, save_model

LAYER = "backbone.transformer_layers.layers"
CLIP = torch.randn(2, 8, 3, 64, 64, generator=torch.Generator().manual_seed(3))


def mmaction2_names(attention: str, depth: int) -> dict[str, str]:
    """Their tensor names to ours, written out from the documented modules of that code base."""
    names = {
        "backbone.cls_token": "cls",
        "backbone.pos_embed": "positions.space",
        "backbone.time_embed": "positions.time",
        "backbone.patch_embed.projection.weight": "patches.proj.weight",
        "backbone.patch_embed.projection.bias": "patches.proj.bias",
        "backbone.norm.weight": "norm.weight",
        "backbone.norm.bias": "norm.bias",
        "cls_head.fc_cls.weight": "head.weight",
        "cls_head.fc_cls.bias": "head.bias",
    }
    if attention == "space":
        del names["backbone.time_embed"]
    for i in range(depth):
        theirs, ours = f"{LAYER}.{i}", f"blocks.{i}"
        for leaf in ("weight", "bias"):
            names[f"{theirs}.ffns.0.layers.0.0.{leaf}"] = f"{ours}.mlp.fc1.{leaf}"
            names[f"{theirs}.ffns.0.layers.1.{leaf}"] = f"{ours}.mlp.fc2.{leaf}"
            passes = 2 if attention == "divided" else 1
            for number in range(passes):
                attend, mine = f"{theirs}.attentions.{number}", f"{ours}.passes.{number}"
                names[f"{attend}.attn.in_proj_{leaf}"] = f"{mine}.attention.qkv.{leaf}"
                names[f"{attend}.attn.out_proj.{leaf}"] = f"{mine}.attention.proj.{leaf}"
                if attention == "divided":
                    names[f"{attend}.norm.{leaf}"] = f"{mine}.norm.{leaf}"
            if attention == "divided":
                names[f"{theirs}.attentions.0.temporal_fc.{leaf}"] = f"{ours}.passes.0.fc.{leaf}"
                names[f"{theirs}.ffns.0.norm.{leaf}"] = f"{ours}.norm.{leaf}"
            else:
                names[f"{theirs}.norms.0.{leaf}"] = f"{ours}.passes.0.norm.{leaf}"
                names[f"{theirs}.norms.1.{leaf}"] = f"{ours}.norm.{leaf}"
    return names


@pytest.mark.parametrize("attention", ["divided", "joint", "space"])
def test_an_mmaction2_checkpoint_gives_the_same_logits(tmp_path, attention):
    model = randomised(tiny(attention=attention))
    state = model.state_dict()
    names = mmaction2_names(attention, model.config.depth)
    assert sorted(names.values()) == sorted(state)
    tensors = {theirs: state[ours] for theirs, ours in names.items()}
    kernel = "backbone.patch_embed.projection.weight"
    tensors[kernel] = tensors[kernel].unflatten(1, (3, 16, 16))
    path = tmp_path / "model.pth"
    torch.save({"meta": {"epoch": 15}, "state_dict": tensors}, path)
    loaded, _ = load_model(str(path))
    assert loaded.config == model.config
    with torch.no_grad():
        assert_close(loaded(CLIP), model(CLIP), rtol=0, atol=1e-5)


def test_the_joined_projection_of_torch_is_ours():
    """mmaction2 keeps q, k and v in `nn.MultiheadAttention`; ours must split them the same way."""
    torch.manual_seed(0)
    theirs, ours = nn.MultiheadAttention(64, 2, batch_first=True), GroupedAttention(64, 2, JOINT)
    ours.qkv.weight.data, ours.qkv.bias.data = theirs.in_proj_weight.data, theirs.in_proj_bias.data
    ours.proj.load_state_dict(theirs.out_proj.state_dict())
    cls, patches = torch.randn(2, 1, 64), torch.randn(2, 2, 3, 4, 64)
    tokens = torch.cat([cls, patches.flatten(1, 3)], dim=1)
    expected = theirs(tokens, tokens, tokens, need_weights=False)[0]
    new_cls, new_patches = ours(cls, patches)
    assert_close(torch.cat([new_cls, new_patches.flatten(1, 3)], 1), expected, rtol=0, atol=1e-5)


def test_a_checkpoint_named_after_a_published_one_gets_its_labels(tmp_path):
    """The file's keys say the layout; its name, where it is a published one, says the data set."""
    model = randomised(tiny(classes=400))
    tensors = {
        theirs: model.state_dict()[ours] for theirs, ours in mmaction2_names("divided", 2).items()
    }
    kernel = "backbone.patch_embed.projection.weight"
    tensors[kernel] = tensors[kernel].unflatten(1, (3, 16, 16))
    path = tmp_path / "TimeSformer_divST_8x32_224_K400.pyth"
    torch.save(tensors, path)
    loaded, notes = load_model(str(path))
    assert loaded.labels[5] == "archery"
    assert loaded.sampling.stride == 32
    assert notes == ()


@pytest.mark.parametrize(
    ("name", "count"), [("kinetics400", 400), ("kinetics600", 600), ("something_something_v2", 174)]
)
def test_label_lists_are_whole_and_in_the_order_of_the_checkpoints(name, count):
    labels = read_labels(name)
    assert len(set(labels)) == count
    # Known from the published checkpoints: archery is 5 of Kinetics-400 and 9 of Kinetics-600.
    assert {"kinetics400": 5, "kinetics600": 9}.get(name) in (
        None,
        *[i for i, x in enumerate(labels) if x == "archery"],
    )


VIT = "vit_tiny_patch16_224.augreg_in21k"


@pytest.fixture(scope="module")
def vit():
    """A timm ViT with random weights, whose every tensor matters."""
    torch.manual_seed(0)
    model = timm.create_model(VIT, num_classes=11, depth=2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1)
    return model.eval()


def test_a_space_only_model_is_the_image_model_frame_by_frame(tmp_path, vit):
    save_file(vit.state_dict(), tmp_path / "vit.safetensors")
    ours, _ = load_model(str(tmp_path / "vit.safetensors"))
    assert ours.config.attention == "space"
    frames = torch.randn(3, 3, 224, 224)
    with torch.no_grad():
        assert_close(ours(frames[:, None]), vit(frames), rtol=0, atol=1e-5)
        tokens = vit.norm(ours_mean(vit, frames))
        assert_close(ours(frames[None]), vit.head(tokens), rtol=0, atol=1e-5)


def ours_mean(vit: nn.Module, frames: torch.Tensor) -> torch.Tensor:
    """The image model's class tokens before its final norm, averaged over the frames."""
    seen = []
    hook = vit.norm.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0][:, 0]))
    vit(frames)
    hook.remove()
    return seen[0].mean(0, keepdim=True)


@pytest.mark.parametrize("tubelet", [1, 2])
def test_divided_attention_inflated_from_an_image_model_starts_as_it(tmp_path, vit, tubelet):
    """On a clip of one picture repeated, all frames' class tokens agree, so the logits do too."""
    save_file(vit.state_dict(), tmp_path / "vit.safetensors")
    image_model, _ = load_model(str(tmp_path / "vit.safetensors"))
    target = replace(image_model.config, attention="divided", tubelet=tubelet)
    video_model = inflate(image_model, target)
    block = video_model.blocks[0]
    assert torch.equal(block.passes[0].attention.qkv.weight, block.passes[1].attention.qkv.weight)
    assert not block.passes[0].fc.weight.any()
    picture = torch.randn(1, 1, 3, 224, 224).expand(-1, 8, -1, -1, -1)
    with torch.no_grad():
        assert_close(video_model(picture), image_model(picture), rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", [*SCHEMES, *TYPED.values()])
def test_a_video_model_keeps_its_answers_when_inflated_to_itself(attention):
    model = randomised(tiny(attention=attention))
    with torch.no_grad():
        assert_close(inflate(model, model.config)(CLIP), model(CLIP), rtol=0, atol=0)


@pytest.mark.parametrize("order", ["t h w -> (t) (h w); {}", "{}; t h w -> (t) (h w)"])
def test_whatever_the_order_of_passes_the_start_is_the_image_model(order):
    """On a clip of one picture repeated: a new pass adds nothing, an old one what it did."""
    source = randomised(tiny(attention="space"))
    target = source.config.with_attention(order.format("t h w -> (h w) (t) cls=absent"))
    picture = torch.randn(1, 1, 3, 64, 64).expand(-1, 8, -1, -1, -1)
    with torch.no_grad():
        assert_close(inflate(source, target)(picture), source(picture), rtol=0, atol=1e-5)


def test_a_pass_that_becomes_the_last_takes_its_extra_map_along():
    source = randomised(tiny())
    late = source.config.with_attention("t h w -> (t) (h w); t h w -> (h w) (t) cls=absent")
    moved = inflate(inflate(source, late), source.config)
    with torch.no_grad():
        assert_close(moved(CLIP), source(CLIP), rtol=0, atol=1e-5)


def test_inflating_resizes_positions_and_keeps_the_picture_settings():
    model = randomised(tiny())
    larger = inflate(model, replace(model.config, height=128, width=96, frames=4))
    assert larger.positions.space.shape == (1, 1 + 8 * 6, 64)
    assert larger.preprocessing.crop == (128, 96)
    assert larger.sampling.frames == 4
    assert larger(torch.randn(1, 4, 3, 128, 96)).shape == (1, 5)


def test_what_cannot_be_inflated_is_refused():
    model = randomised(tiny())
    with pytest.raises(WeightsError, match="depth"):
        inflate(model, replace(model.config, depth=3))


def test_another_class_count_is_an_error_unless_asked_for(tmp_path):
    model = randomised(tiny())
    save_model(model, tmp_path)
    loaded, notes = load_model(str(tmp_path), classes=9)
    assert loaded.head.out_features == 9
    assert any("new head for 9 classes" in note for note in notes)
    same = {
        name
        for name, t in loaded.state_dict().items()
        if torch.equal(t, model.state_dict()[name])
        if not name.startswith("head")
    }
    assert same == {name for name in model.state_dict() if not name.startswith("head")}
    again, notes = load_model(str(tmp_path), classes=5)
    assert notes == ()
    assert torch.equal(again.head.weight, model.head.weight)


@pytest.fixture
def timm_folder(tmp_path, monkeypatch):
    """What the hub would give for `timm:<name>`, without the hub."""
    asked = []

    def locate(name: str):
        asked.append(name)
        return locating.Located(name=name, path=tmp_path)

    monkeypatch.setattr(locating, "locate", locate)
    return tmp_path, asked


def test_a_timm_name_loads_with_timms_own_picture_settings(timm_folder):
    folder, asked = timm_folder
    torch.manual_seed(0)
    theirs = timm.create_model(VIT).eval()
    save_file(theirs.state_dict(), folder / "model.safetensors")
    ours, notes = load_model(f"timm:{VIT}")
    assert asked == [f"timm:{VIT}"]
    assert ours.preprocessing.mean == (0.5, 0.5, 0.5)
    assert ours.preprocessing.resize == 248  # 224 / 0.9, rounded down as timm does
    assert ours.labels[5].startswith("animal")
    assert "averaged" in notes[0]
    frames = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        assert_close(ours(frames[:, None]), theirs(frames), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnet18", "no plain ViT"),
        ("vit_nothing", "timm has no model"),
        ("vit_base_patch16_clip_224.openai", "no plain ViT|QuickGELU|left over|missing"),
    ],
)
def test_other_image_models_are_refused(timm_folder, name, words):
    folder, _ = timm_folder
    if name.startswith("vit_base"):
        small = timm.create_model(name, pretrained=False, depth=1)
        save_file(small.state_dict(), folder / "model.safetensors")
    with pytest.raises(WeightsError, match=words):
        load_model(f"timm:{name}")
