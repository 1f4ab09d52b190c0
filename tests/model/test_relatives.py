"""Our logits against other code's ViViT, VideoMAE and TimeSformer with the same random weights."""

import re

import numpy as np
import pytest
import torch
from einops import rearrange
from timesformer_pytorch import TimeSformer as LucidrainsTimeSformer
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VideoPrismTextConfig,
    VideoPrismTextModel,
    VideoPrismVideoModel,
    VideoPrismVisionConfig,
    VideoPrismVisionModel,
    VivitConfig,
    VivitForVideoClassification,
    VivitImageProcessor,
    VJEPA2Config,
    VJEPA2ForVideoClassification,
)

from tests.support.models import randomised as randomised_ours
from tests.support.models import tiny
from timesformer_cli import cost
from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.model.inflate import inflate
from timesformer_cli.schemes import RELATIVES
from timesformer_cli.video.transform import prepare_frame
from timesformer_cli.weights.catalogue import WEIGHTS, find_weights
from timesformer_cli.weights.load import load_model, load_path

# Of the public V-JEPA 2, as transformers' conversion of them has it.
SIZES_PUBLISHED = {
    "large": {"hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 24},
    "huge": {"hidden_size": 1280, "num_attention_heads": 16, "num_hidden_layers": 32},
    "giant": {
        "hidden_size": 1408,
        "num_attention_heads": 22,
        "num_hidden_layers": 40,
        "mlp_ratio": 48 / 11,
    },
}
EXACT = {"rtol": 0, "atol": 1e-5}
SIZES = {
    "small": {"hidden_size": 128, "num_attention_heads": 2, "num_hidden_layers": 3},
    "wide": {"hidden_size": 192, "num_attention_heads": 3, "num_hidden_layers": 2},
    "narrow heads": {"hidden_size": 96, "num_attention_heads": 6, "num_hidden_layers": 2},
}


def randomised(model: nn.Module) -> nn.Module:
    """In evaluation mode, every parameter random; the norms keep their scale, so that scores differ."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.06, generator=generator)
        for module in model.modules():
            if isinstance(module, nn.LayerNorm):
                module.weight.add_(1)
    return model.eval()


def clips(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("frames", [2, 8, 16])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("configuration", "architecture"),
    [
        (VideoMAEConfig, VideoMAEForVideoClassification),
        (VivitConfig, VivitForVideoClassification),
    ],
    ids=["videomae", "vivit"],
)
def test_a_relative_gives_transformers_logits(tmp_path, configuration, architecture, size, frames):
    config = configuration(
        **SIZES[size], num_frames=frames, image_size=64, intermediate_size=160, num_labels=7
    )
    theirs = randomised(architecture(config))
    theirs.save_pretrained(tmp_path)
    ours, _ = load_model(str(tmp_path))
    clip = clips(2, frames, 3, 64, 64)
    with torch.no_grad():
        assert_close(ours(clip), theirs(clip).logits, **EXACT)


SMALL = {
    "hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "mlp_ratio": 1.5,
    "crop_size": 32, "patch_size": 8, "frames_per_clip": 4, "num_labels": 5,
    "num_pooler_layers": 2, "pred_hidden_size": 24, "pred_num_attention_heads": 2,
    "pred_num_hidden_layers": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_attention_heads": 2},  # heads of 24: a third is no multiple of 6
        {"hidden_size": 60, "num_attention_heads": 4},  # an odd width: a channel without a partner
        {"hidden_size": 16, "num_attention_heads": 4},  # too narrow to be turned
        {"crop_size": 64, "patch_size": 16},
        {"crop_size": 36},  # more pixels than patches
    ],
    ids=str,
)
def test_a_vjepa_2_gives_transformers_logits(tmp_path, changes):
    theirs = randomised(VJEPA2ForVideoClassification(VJEPA2Config(**SMALL | changes)))
    theirs.save_pretrained(tmp_path)
    if changes == {"crop_size": 36}:
        with pytest.raises(WeightsError, match="36 is not a multiple"):
            load_model(str(tmp_path))
        return
    ours, _ = load_model(str(tmp_path))
    # Other counts of frames and other sizes, too: places are counted as at the native size.
    for shape in ((2, 4, 32, 32), (1, 2, 32, 32), (1, 8, 64, 64), (2, 4, 48, 32), (1, 6, 16, 64)):
        clip = clips(shape[0], shape[1], 3, *shape[2:])
        with torch.no_grad():
            assert_close(ours(clip), theirs(clip).logits, **EXACT)


@pytest.mark.parametrize("name", [name for name in WEIGHTS if name.startswith("vjepa2")])
def test_a_published_vjepa_2_has_the_size_that_torch_counts(name):
    row = WEIGHTS[name]
    shape = SIZES_PUBLISHED[row.shape]
    config = VJEPA2Config(
        **shape, crop_size=row.size, frames_per_clip=row.frames, num_labels=row.classes or 2
    )
    config._attn_implementation = "eager"  # each of its products is counted
    with torch.device("meta"):
        theirs = VJEPA2ForVideoClassification(config)
        model = theirs if row.classes else theirs.vjepa2.encoder
        with FlopCounterMode(display=False) as counter:
            model(torch.empty(1, row.frames, 3, row.size, row.size))
    theirs.vjepa2.predictor = None  # not part of what gives the score
    work, parameters = cost.macs(row.config).total, cost.parameters(row.config)
    if not row.classes:
        work, parameters = cost.of_encoder(row.config)
    assert parameters == sum(part.numel() for part in model.parameters())
    assert 2 * work == counter.get_total_flops()
    # "300M", "600M" and "1B" in the authors' README, to the digit that it gives.
    published = {"large": 300e6, "huge": 600e6, "giant": 1e9}[row.shape]
    encoder = cost.of_encoder(row.config)[1]
    assert encoder == pytest.approx(published, rel=0.06)


# Parameters in millions, as the authors' README has them.
PRISMS = {
    "videoprism-base": (VideoPrismVisionModel, {}, 114),
    "videoprism-large": (
        VideoPrismVisionModel,
        {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
         "num_spatial_layers": 24, "num_frames": 8},
        354,
    ),
    "videoprism-lvt-base": (VideoPrismVideoModel, {}, 248),
    "videoprism-lvt-large": (
        VideoPrismVideoModel,
        {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16,
         "num_spatial_layers": 24, "num_frames": 8},
        580,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PRISMS)
def test_a_published_videoprism_has_the_size_that_torch_counts(name):
    row, (architecture, shape, millions) = WEIGHTS[name], PRISMS[name]
    with torch.device("meta"):
        theirs = architecture(VideoPrismVisionConfig(**shape))
        with FlopCounterMode(display=False) as counter:
            theirs(torch.empty(1, row.frames, 3, 288, 288))
        counted = sum(part.numel() for part in theirs.parameters())
        if row.text is not None:
            wide = {
                key: value for key, value in shape.items() if "num_s" not in key and "fr" not in key
            }
            text = VideoPrismTextModel(VideoPrismTextConfig(**wide))
            counted += sum(part.numel() for part in text.parameters())
    work, parameters = cost.macs(row.config).total, cost.parameters(row.config)
    if row.encoder:
        work, parameters = cost.of_encoder(row.config)
    assert parameters == counted
    assert 2 * work == counter.get_total_flops()
    assert parameters == pytest.approx(millions * 1e6, rel=0.005)


@pytest.mark.parametrize("rotary", [True, False], ids=["rotary", "table"])
@pytest.mark.parametrize("shift", [True, False], ids=["shift", "no shift"])
@pytest.mark.parametrize("masked", [True, False], ids=["masked", "whole"])
def test_lucidrains_gives_its_logits(tmp_path, rotary, shift, masked):
    theirs = randomised(
        LucidrainsTimeSformer(
            dim=128, num_frames=5, num_classes=7, image_size=224, patch_size=56, depth=2, heads=2,
            rotary_emb=rotary, shift_tokens=shift,
        )
    )  # fmt: skip
    torch.save(theirs.state_dict(), tmp_path / "model.pt")
    ours, _ = load_model(str(tmp_path / "model.pt"))
    assert (ours.config.positions, ours.config.token_shift) == (
        "rotary" if rotary else "table",
        shift,
    )
    clip = clips(2, 5, 3, 224, 224)
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2]) if masked else None
    with torch.no_grad():
        assert_close(ours(clip, mask), theirs(clip, mask=mask), **EXACT)


def test_what_masked_frames_show_makes_no_difference():
    model = randomised_ours(tiny(attention="lucidrains"))
    mask = torch.tensor([[True] * 5 + [False] * 3])
    clip = clips(1, 8, 3, 64, 64)
    other = clip.clone()
    other[:, 5:] = 7.0
    with torch.no_grad():
        assert_close(model(clip, mask), model(other, mask), **EXACT)
        assert_close(model(clip, mask), model(clip[:, :5]), **EXACT)
        assert not torch.allclose(model(clip), model(other))


def test_other_models_refuse_marked_frames():
    with pytest.raises(UsageError, match="divided models take clips of one length"):
        randomised_ours(tiny())(clips(1, 8, 3, 64, 64), torch.ones(1, 8, dtype=torch.bool))


def test_vivit_pictures_become_what_its_processor_makes_of_them(tmp_path):
    """It maps pixels to -1..1 and then normalises: one mean and one deviation say the same."""
    theirs = VivitForVideoClassification(
        VivitConfig(
            hidden_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=64,
            num_frames=2,
            num_labels=3,
        )
    )
    theirs.save_pretrained(tmp_path)
    processor = VivitImageProcessor(
        size={"shortest_edge": 72}, crop_size={"height": 64, "width": 64}
    )
    processor.save_pretrained(tmp_path)
    ours, _ = load_model(str(tmp_path))
    frames = np.random.default_rng(0).integers(0, 256, (2, 80, 100, 3), dtype=np.uint8)
    wanted = processor(list(frames), return_tensors="pt").pixel_values[0]
    crops = np.stack([prepare_frame(frame, ours.preprocessing)["center"] for frame in frames])
    mean, std = (np.array(part) for part in (ours.preprocessing.mean, ours.preprocessing.std))
    made = rearrange((crops / 255 - mean) / std, "t h w c -> t c h w")
    assert_close(torch.from_numpy(made).float(), wanted, rtol=0, atol=1e-5)


def test_a_published_model_without_label_names_gets_those_of_its_row(tmp_path):
    """The public ViViT numbers its classes, in the order of the other Kinetics-400 models."""
    row = find_weights("google/vivit-b-16x2-kinetics400")
    config = VivitConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        num_frames=2,
        num_labels=row.classes,
    )
    VivitForVideoClassification(config).save_pretrained(tmp_path)
    named, _ = load_path(tmp_path, row)
    assert named.labels[116] == "eating spaghetti"
    assert named.sampling.stride == 2
    assert load_path(tmp_path)[0].labels[116] == "LABEL_116"


@pytest.mark.parametrize(
    "name", [name for name, row in WEIGHTS.items() if row.attention in RELATIVES]
)
def test_rows_of_relatives_say_how_their_clips_are_taken(name):
    row = WEIGHTS[name]
    assert row.config.tubelet == (1 if row.attention == "videoprism" else 2)
    # The repository's name says it: fpc16-256, f16r288.
    if named := re.search(r"(?:fpc|-f)(\d+)[-r](\d+)", row.repo):
        frames, size = map(int, named.groups())
    else:
        frames, size = (32, 224) if "vivit" in name else (16, 224)
        assert row.labels and row.reported
    assert (row.frames, row.size) == (frames, size)
    assert row.repo and (row.reported is None) == (row.top1 is None)


@pytest.mark.parametrize("changes", [{"num_channels": 1}, {"hidden_act": "relu"}])
def test_a_variant_that_was_never_published_is_refused_by_its_field(tmp_path, changes):
    config = VideoMAEConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        num_frames=2,
        **changes,
    )
    VideoMAEForVideoClassification(config).save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match=next(iter(changes))):
        load_model(str(tmp_path))


@pytest.mark.parametrize("attention", RELATIVES)
def test_an_image_model_inflates_to_every_relative_of_its_mlp(attention):
    source = randomised_ours(tiny(attention="space", heads=2))
    scheme = RELATIVES[attention]
    target = source.config.with_attention(attention)
    if scheme.activation == "geglu":
        with pytest.raises(WeightsError, match=r"mlp\.fc1"):
            inflate(source, target)
        return
    model = inflate(source, target)
    kernel = model.patches.proj.weight.view(64, 3, scheme.tubelet, 256)
    assert torch.equal(kernel[:, :, scheme.tubelet // 2].flatten(1), source.patches.proj.weight)
    assert kernel.count_nonzero() == source.patches.proj.weight.count_nonzero()
    if scheme.positions == "table":
        table = model.positions.table[0, model.positions.classes :].view(*model.config.grid, 64)
        assert all(torch.equal(frame, table[0]) for frame in table)
    with torch.no_grad():
        assert model(clips(1, 8, 3, 64, 64)).isfinite().all()
