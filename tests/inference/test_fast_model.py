"""The inference form: the same answer as the training form."""

import pytest
import torch

from tests.support.models import TYPED, randomised, tiny
from timesformer_cli.config import Preprocessing
from timesformer_cli.errors import DeviceError
from timesformer_cli.inference.device import DTYPES
from timesformer_cli.inference.fast import kernels, linear
from timesformer_cli.inference.fast.blocks import LayerFactory
from timesformer_cli.inference.fast.linear import find_linear
from timesformer_cli.inference.fast.model import FastModel, make_fast
from timesformer_cli.schemes import PAPER, RELATIVES, SCHEMES
from timesformer_cli.weights.load import load_model

BATCH_NORMS = torch.nn.BatchNorm2d | torch.nn.BatchNorm3d
CPU = torch.device("cpu")
VARIANTS = [
    {},
    {"tubelet": 2},
    {"embedding": "conv-stem", "tubelet": 1},
    {"embedding": "flow-stem", "tubelet": 1},
    {"qkv_bias": False},
    {"positions": "table", "token_shift": True},
]
# What V-JEPA 2 has, under other groupings of patches.
POOLED = {"positions": "rotary-3d", "pooler_blocks": 2}


def coloured_frames(*shape):
    """Random clips `(b t h w c)` whose every patch has a colour of its own."""
    b, t, h, w = shape
    colours = torch.randint(0, 256, (b, t, h // 16, w // 16, 3), dtype=torch.uint8)
    return colours.repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)


def moving_frames(*shape):
    """Random clips `(b t h w c)` of smooth pictures that move: their flow can be measured."""
    b, t, h, w = shape
    coarse = torch.randint(0, 256, (b, 3, h // 8, w // 8)).float()
    smooth = torch.nn.functional.interpolate(coarse, (h, w), mode="bicubic").clamp(0, 255)
    frames = torch.stack([smooth.roll((step, -2 * step), (2, 3)) for step in range(t)], dim=1)
    return frames.movedim(2, -1).to(torch.uint8)


def normalised(frames, preprocessing):
    clip = frames.permute(0, 1, 4, 2, 3) / 255
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (preprocessing.mean, preprocessing.std))
    return (clip - mean) / std


@pytest.fixture
def model(scheme, changes):
    model = randomised(tiny(attention=scheme, **changes))
    model.preprocessing = Preprocessing(
        resize=64, crop=(64, 64), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3)
    )
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm | BATCH_NORMS):
            module.weight.data.uniform_(0.5, 1.5)
        if isinstance(module, BATCH_NORMS):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 1.5)
    return model


@pytest.mark.parametrize(
    ("scheme", "linear", "changes"),
    [
        *((scheme, "plain", changes) for scheme in PAPER for changes in VARIANTS),
        *((scheme, "plain", changes) for scheme in RELATIVES for changes in ({}, VARIANTS[-1])),
        *((scheme, "fastest", {}) for scheme in SCHEMES),
        *(
            (scheme, "plain", changes)
            for scheme in TYPED.values()
            for changes in ({}, VARIANTS[-1])
        ),
        *((scheme, "plain", POOLED) for scheme in ("vivit-3", "vivit-4", "windowed")),
        *((scheme, "plain", {"pooler_blocks": 2}) for scheme in (*PAPER, "videomae", "lucidrains")),
    ],
    ids=str,
)
def test_it_gives_the_training_forms_logits(model, linear):
    # Where frames have nothing to do with one another, flow hangs on the last bit.
    shown = moving_frames if model.config.embedding == "flow-stem" else coloured_frames
    frames = shown(3, 8, 64, 64)
    clip = normalised(frames, model.preprocessing)
    layers = (
        LayerFactory()
        if linear == "plain"
        else LayerFactory(linear=find_linear(CPU, torch.float32))
    )
    form = FastModel(model, layers)
    with torch.inference_mode():
        expected = model(clip)
        assert expected.std(dim=0).max() > 1e-3  # what is seen matters
        torch.testing.assert_close(form(frames), expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(form(clip), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(3, 2, 5, 5), (2, 3, 1, 7), (1, 2, 40, 64)])
@pytest.mark.parametrize("budget", [1, 300, 1 << 20])  # rows alone, some rows or groups, all
@pytest.mark.parametrize("masked", [False, True])
def test_products_are_attention(shape, budget, masked, monkeypatch):
    monkeypatch.setattr(kernels, "SCORE_BYTES", budget)
    n, heads, queries, keys = shape
    q = torch.randn(n, heads, queries, 16)
    k, v = torch.randn(2, n, heads, keys, 16)
    seen = torch.rand(n, 1, queries, keys) < 0.5 if masked else None
    if seen is not None:
        seen[..., 0] = True  # a softmax over nothing is not a number
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, seen)
    torch.testing.assert_close(
        kernels.chunked_attention(q, k, v, seen), expected, atol=1e-6, rtol=1e-5
    )


@pytest.mark.parametrize("amx", [True, False])
def test_bfloat16_has_the_kernel_that_is_faster_on_this_processor(amx, monkeypatch):
    monkeypatch.setattr(kernels, "cpu_has_amx", lambda: amx)
    chosen = kernels.find_mix(CPU, torch.bfloat16)
    assert (chosen is kernels.chunked_attention) == (not amx)
    model, frames = randomised(tiny(heads=2)), coloured_frames(2, 8, 64, 64)
    with torch.inference_mode():
        expected = make_fast(model, CPU, torch.float32)(frames).softmax(dim=-1)
        scores = make_fast(model, CPU, torch.bfloat16)(frames).softmax(dim=-1)
    torch.testing.assert_close(scores, expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("scheme", ["divided", "vjepa2"])
@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_lower_precision_gives_nearly_the_same_scores(dtype, scheme):
    model = randomised(tiny(heads=2, attention=scheme))
    frames = coloured_frames(4, 8, 64, 64)
    with torch.inference_mode():
        expected = make_fast(model, CPU, torch.float32)(frames).softmax(dim=-1)
        scores = make_fast(model, CPU, DTYPES[dtype])(frames).softmax(dim=-1)
    torch.testing.assert_close(scores, expected, atol=0.02, rtol=0)


@pytest.mark.parametrize("count", [1, 8])
def test_clips_of_one_frame_are_no_worse_in_lower_precision(count):
    """oneDNN's 3-D convolution over one frame gave wrong scores and NaN on processors with AMX."""
    model = load_model("camera-motion")[0]
    frames = coloured_frames(count, 1, 96, 96)
    with torch.inference_mode():
        expected = make_fast(model, CPU, torch.float32)(frames)
        for _ in range(3):
            given = make_fast(model, CPU, torch.bfloat16)(frames)
            torch.testing.assert_close(given, expected, atol=0.05, rtol=0)
        plain = model(normalised(frames, model.preprocessing))
    torch.testing.assert_close(expected, plain, atol=1e-4, rtol=0)


def test_it_has_no_share_in_the_models_memory():
    model = randomised(tiny())
    frames = coloured_frames(1, 8, 64, 64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        form = FastModel(model)
        expected = form(frames)
        assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.fill_(0.5)
    with torch.inference_mode():
        torch.testing.assert_close(form(frames), expected, atol=0, rtol=0)


@pytest.mark.parametrize("scheme", [name for name in SCHEMES if not SCHEMES[name].fused])
def test_what_frames_give_can_be_used_in_several_windows(scheme):
    form = FastModel(randomised(tiny(attention=scheme)))
    with torch.inference_mode():
        units = form.per_frame(coloured_frames(1, 8, 64, 64))
        first = form.over_time(units)
        torch.testing.assert_close(form.over_time(units), first, atol=0, rtol=0)


@pytest.mark.parametrize("scheme", ["divided", "vjepa2"])
def test_a_consumed_model_holds_its_blocks_no_more(scheme):
    model = randomised(tiny(attention=scheme))
    expected = FastModel(model)
    frames = coloured_frames(1, 8, 64, 64)
    form = FastModel(model, consume=True)
    assert not list(model.blocks.parameters())
    assert model.pooler is None or not list(model.pooler.blocks.parameters())
    with torch.inference_mode():
        torch.testing.assert_close(form(frames), expected(frames), atol=0, rtol=0)


def test_int8_is_refused_where_it_cannot_run():
    with pytest.raises(DeviceError, match="int8 runs on the CPU"):
        find_linear(torch.device("cuda"), torch.int8)


def test_what_cannot_be_packed_is_multiplied_as_torch_does(monkeypatch):
    monkeypatch.setattr(linear, "packs_weights", lambda dtype: False)
    assert find_linear(CPU, torch.float32) is linear.PlainLinear
