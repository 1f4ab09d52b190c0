"""8-bit maps: each token for itself, nearly as right as 8 bits can be, on every processor."""

import os
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from scripts.peers.rounding import IdealLinear, error, exact_logits
from tests.inference.test_fast_model import coloured_frames
from tests.support.models import randomised, tiny
from timesformer_cli.inference.device import int8_pair_limit
from timesformer_cli.inference.fast.linear import Int8Linear, int8_scales
from timesformer_cli.inference.fast.model import make_fast
from timesformer_cli.weights.load import load_model, save_model

CPU = torch.device("cpu")
# Tokens and weights at their limits, where sums of two products need more than 16 bits.
LARGE = """
import torch
from timesformer_cli.inference.device import int8_pair_limit
from timesformer_cli.inference.fast.linear import Int8Linear
tokens, weight = torch.ones(5, 768), torch.ones(32, 768)
tokens[:, 0] = 0
off = Int8Linear(weight, None)(tokens) / 767 - 1
print(int8_pair_limit(), float(off.abs().max()))
"""


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("biased", [False, True])
def test_a_map_is_what_its_rounded_weight_and_tokens_give(gelu, biased):
    torch.manual_seed(0)
    tokens, weight = torch.randn(2, 11, 48) * 3, torch.randn(40, 48)
    bias = torch.randn(40) if biased else None
    given = Int8Linear(weight, bias, gelu=gelu)(tokens)
    scale = int8_scales(weight, int8_pair_limit()).double()[:, None]
    least, most = tokens.double().aminmax(dim=-1, keepdim=True)
    step = (most - least) / 255
    rounded = ((tokens.double() - least) / step).round() * step + least
    expected = F.linear(rounded, (weight.double() / scale).round() * scale)
    expected = expected if bias is None else expected + bias
    expected = F.gelu(expected) if gelu else expected
    torch.testing.assert_close(given.double(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("inputs", [48, 49])
@pytest.mark.parametrize("limit", [254, 128])
def test_two_neighbouring_weights_stay_within_the_limit(limit, inputs):
    torch.manual_seed(0)
    weight = torch.cat([torch.randn(200, inputs), torch.ones(1, inputs), torch.zeros(1, inputs)])
    weight[:100, :2] = 5 * torch.rand(100, 1)  # two large ones beside each other
    rounded = (weight / int8_scales(weight, limit)[:, None]).round()
    assert rounded.abs().max() <= 127
    pairs = F.pad(rounded, (0, inputs % 2)).view(len(weight), -1, 2)
    assert pairs.clamp(min=0).sum(dim=2).max() <= limit
    assert pairs.clamp(max=0).sum(dim=2).min() >= -limit


@pytest.mark.parametrize("tokens", [torch.zeros(3, 16), torch.full((3, 16), -2.5)], ids=["0", "c"])
def test_tokens_of_one_value_are_exact(tokens):
    weight = torch.ones(16, 16)
    weight[0] = 0
    expected = F.linear(tokens, weight)
    torch.testing.assert_close(Int8Linear(weight, None)(tokens), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_tokens_that_are_no_numbers_are_not_hidden(value):
    """A norm makes the whole token nan where one value of it is."""
    tokens = torch.ones(2, 16)
    tokens[0, slice(None) if value != value else 3] = value
    mapped = Int8Linear(torch.ones(16, 16), None)(tokens)
    assert not mapped[0].isfinite().any()
    assert mapped[1].isfinite().all()


@pytest.mark.parametrize("scheme", ["divided", "joint", "vjepa2"])
def test_a_clips_logits_do_not_depend_on_what_shares_its_batch(scheme):
    model = randomised(tiny(heads=2, attention=scheme))
    frames = coloured_frames(8, 8, 64, 64)
    frames[3] = 255  # a clip that would widen every other one's scale
    form = make_fast(model, CPU, torch.int8)
    with torch.inference_mode():
        alone = torch.cat([form(clip[None]) for clip in frames])
        together = form(frames)
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["random", "camera-motion"])
def test_the_error_is_near_the_least_that_8_bits_allow(name, tmp_path):
    torch.manual_seed(0)
    if name == "random":
        name = str(tmp_path)
        save_model(randomised(tiny(heads=2, dim=128)), tmp_path)
    model = load_model(name)[0]
    # Smooth ones: in pixels that are noise the flow of camera-motion hangs on the last bit.
    coarse = torch.randint(0, 256, (8 * 8, 3, 12, 12)).float()
    smooth = torch.nn.functional.interpolate(
        coarse, (model.config.height, model.config.width), mode="bilinear"
    )
    frames = smooth.movedim(1, -1).unflatten(0, (8, 8)).to(torch.uint8)
    exact = exact_logits(name, frames)
    ideal = error(exact_logits(name, frames, IdealLinear), exact)
    with torch.inference_mode():
        own = error(make_fast(model, CPU, torch.int8)(frames), exact)
    assert own < 1.2 * ideal


@pytest.mark.skipif(sys.platform != "linux", reason="oneDNN's limit is known for Linux on x86")
def test_nothing_is_cut_off_on_processors_without_vnni():
    """Before weights were bounded there, this product was half of what it should be."""
    told = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    ran = subprocess.run([sys.executable, "-c", LARGE], env=told, capture_output=True, text=True)
    limit, off = ran.stdout.split()
    assert int(limit) in (128, 254), ran.stderr
    assert float(off) < 0.01  # 1 is 63.5 steps
