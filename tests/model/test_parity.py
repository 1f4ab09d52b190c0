"""Our logits against transformers' TimeSformer with the same random weights."""

import pytest
import torch
from torch.testing import assert_close
from transformers import (
    AutoModelForVideoClassification,
    TimesformerConfig,
    TimesformerForVideoClassification,
)

from tests.support.models import randomised, tiny
from timesformer_cli.weights.load import load_model, save_model

TYPES = {
    "divided": "divided_space_time",
    "joint": "joint_space_time",
    "space": "space_only",
}
EXACT = {"rtol": 0, "atol": 1e-5}


def reference(attention: str, frames: int, **changes: object) -> TimesformerForVideoClassification:
    torch.manual_seed(0)
    small = {"hidden_size": 128, "num_attention_heads": 2, "num_hidden_layers": 3}
    small |= {"intermediate_size": 160, "image_size": 64, "num_labels": 7}
    model = TimesformerForVideoClassification(
        TimesformerConfig(
            attention_type=TYPES[attention], num_frames=frames, **{**small, **changes}
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1)
    return model.eval()


def clips(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


# transformers takes the frame count of divided attention from the configuration, whatever the clip
# has, and groups the tokens wrongly at others; joint attention has no such limit.
@pytest.mark.parametrize(
    ("attention", "frames", "shown"),
    [
        ("divided", 8, 8),
        ("divided", 3, 3),
        ("divided", 16, 16),
        ("divided", 1, 1),
        ("joint", 8, 8),
        ("joint", 8, 5),
        ("joint", 8, 1),
        ("joint", 4, 12),
    ],
)
def test_a_folder_made_by_transformers_gives_its_logits(tmp_path, attention, frames, shown):
    theirs = reference(attention, frames)
    theirs.save_pretrained(tmp_path)
    ours, _ = load_model(str(tmp_path))
    clip = clips(2, shown, 3, 64, 64)
    with torch.no_grad():
        assert_close(ours(clip), theirs(clip).logits, **EXACT)


@pytest.mark.parametrize("frames", [1, 8])
def test_space_only_averages_frames_before_the_final_norm(tmp_path, frames):
    """transformers returns logits a frame; the published code averages the frames' tokens."""
    theirs = reference("space", frames)
    theirs.save_pretrained(tmp_path)
    ours, _ = load_model(str(tmp_path))
    before_norm = []
    theirs.timesformer.layernorm.register_forward_pre_hook(
        lambda module, inputs: before_norm.append(inputs[0])
    )
    clip = clips(2, frames, 3, 64, 64)
    with torch.no_grad():
        theirs(clip)
        cls = before_norm[0][:, 0].unflatten(0, (2, frames)).mean(dim=1)
        expected = theirs.classifier(theirs.timesformer.layernorm(cls))
        assert_close(ours(clip), expected, **EXACT)


@pytest.mark.parametrize("changes", [{"qkv_bias": False}, {"patch_size": 8, "image_size": 32}])
def test_other_architectures_of_the_layout_load_too(tmp_path, changes):
    theirs = reference("divided", 4, **changes)
    theirs.save_pretrained(tmp_path)
    ours, _ = load_model(str(tmp_path))
    size = changes.get("image_size", 64)
    clip = clips(1, 4, 3, size, size)
    with torch.no_grad():
        assert_close(ours(clip), theirs(clip).logits, **EXACT)


@pytest.mark.parametrize("attention", TYPES)
def test_transformers_loads_the_folder_we_write(tmp_path, attention):
    ours = randomised(tiny(attention=attention, frames=4))
    ours.labels = ("walk", "run", "jump", "sit", "stand")
    save_model(ours, tmp_path)
    theirs, report = AutoModelForVideoClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert theirs.config.id2label == dict(enumerate(ours.labels))
    clip = clips(2, 4, 3, 64, 64)
    again, notes = load_model(str(tmp_path))
    assert notes == ()
    with torch.no_grad():
        assert_close(again(clip), ours(clip), **EXACT)
        if attention != "space":
            assert_close(theirs.eval()(clip).logits, ours(clip), **EXACT)
