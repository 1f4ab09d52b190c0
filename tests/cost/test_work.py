"""Costs on paper against the built model and against torch's own counter."""

from itertools import product

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.support.models import TYPED, tiny
from timesformer_cli import cost
from timesformer_cli.config import ModelConfig
from timesformer_cli.model import TimeSformer
from timesformer_cli.schemes import PAPER, RELATIVES
from timesformer_cli.sizes import SIZES

SHAPES = {
    "native": {},
    "oblong": {"frames": 4, "height": 32, "width": 96},
    "tubelets": {"tubelet": 2},
    "small patches": {"patch": 8, "height": 32, "width": 32},
    "conv-stem": {"embedding": "conv-stem", "tubelet": 1},
    "flow-stem": {"embedding": "flow-stem", "tubelet": 1},
    "pooled": {"pooler_blocks": 2},
    "odd": {"frames": 12, "height": 80, "width": 144, "depth": 4},  # windows are padded, or apart
    "conv-stem, oblong": {
        "embedding": "conv-stem",
        "tubelet": 1,
        "frames": 2,
        "height": 32,
        "width": 64,
    },
    "flow-stem, oblong": {
        "embedding": "flow-stem",
        "tubelet": 1,
        "frames": 2,
        "height": 32,
        "width": 64,
        "patch": 8,
    },
}
EVERY = pytest.mark.parametrize(
    ("attention", "shape"),
    [
        *((name, shape) for name, shape in product(PAPER, SHAPES) if shape != "odd"),
        *product(RELATIVES, ["native", "oblong", "odd"]),
        *product(TYPED.values(), ["native"]),
        *((TYPED[name], "odd") for name in TYPED if name != "strided"),  # it takes even grids
    ],
)


@EVERY
def test_multiply_adds_equal_what_torch_counts(attention, shape):
    config = tiny(attention=attention, **SHAPES[shape])
    model = TimeSformer(config).eval().requires_grad_(False)
    clip = torch.randn(1, config.frames, 3, config.height, config.width)
    # On the math kernel every product is an operator of its own, so none escapes the counter.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(clip)
    assert 2 * cost.macs(config).total == counter.get_total_flops()


@EVERY
def test_parameters_equal_those_of_the_built_model(attention, shape):
    config = tiny(attention=attention, qkv_bias=attention != "axial", **SHAPES[shape])
    model = TimeSformer(config)
    assert cost.parameters(config) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("attention", "millions"),
    [("space", 85.9), ("joint", 85.9), ("divided", 121.4), ("sparse", 121.4), ("axial", 156.8)],
)
def test_parameters_are_those_of_the_paper_table_1(attention, millions):
    parameters = cost.parameters(ModelConfig(attention=attention, classes=174))
    assert round(parameters / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("attention", "gmacs"),
    [("space", 140.5), ("joint", 179.6), ("divided", 195.8), ("sparse", 207.1), ("axial", 252.6)],
)
def test_multiply_adds_of_a_view_of_the_base_model(attention, gmacs):
    assert round(cost.macs(ModelConfig(attention=attention)).total / 1e9, 1) == gmacs


@pytest.mark.parametrize(
    ("shape", "tera"),
    [((8, 224), 0.587), ((16, 448), 5.108), ((96, 224), 7.140)],
    ids=["base", "HR", "L"],
)
def test_three_views_cost_what_the_paper_reports(shape, tera):
    frames, size = shape
    config = ModelConfig(frames=frames, height=size, width=size)
    assert round(3 * cost.macs(config).total / 1e12, 3) == tera


@pytest.mark.parametrize(
    ("attention", "elements"),
    [
        # 12 heads; members with the class token, squared; times the groups.
        ("space", 12 * 8 * 197**2),
        ("joint", 12 * 1569**2),
        ("divided", 12 * 8 * 197**2),
        ("sparse", 12 * 4 * 393**2),
        ("axial", 12 * 112 * 15**2),
    ],
)
def test_the_score_matrix_is_that_of_the_largest_pass(attention, elements):
    assert cost.score_elements(ModelConfig(attention=attention)) == elements


# Head width, and the MLP's width in widths of a token, where they are not 64 and 4.
UNLIKE = {"huge": (80, 4), "giant": (64, 48 / 11)}


@pytest.mark.parametrize("size", SIZES)
def test_every_named_size_has_the_published_proportions(size):
    config = ModelConfig.of_size(size)
    head, ratio = UNLIKE.get(size, (64, 4))
    assert config.dim == head * config.heads
    assert config.mlp_dim == int(ratio * config.dim)
