"""Predicted memory against what is alive in a real pass, and costs against published figures."""

import gc
from itertools import product

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.support.models import randomised, tiny
from timesformer_cli import cost
from timesformer_cli.benchmark.live_bytes import LiveBytes
from timesformer_cli.benchmark.rows import AUTO_KERNEL
from timesformer_cli.config import ModelConfig
from timesformer_cli.cost import published
from timesformer_cli.cost.crossovers import costs_by_frames, crossovers
from timesformer_cli.inference.fast.kernels import attention_kernel
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.block import checkpoint_gradients
from timesformer_cli.schemes import PAPER, SCHEMES

LOGITS = 1e-5


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small tensors gain nothing from several threads, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def alive(config, batch_size, kernel, dtype, train=False, forgetful=False):
    """Most bytes alive beside the weights in one pass of a model of that shape."""
    with torch.device("meta"):  # bytes are counted, not values: zeros do, and are made faster
        model = TimeSformer(config)
    model.to(dtype).to_empty(device="cpu").requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    model.requires_grad_(train).train(train)
    if forgetful:
        checkpoint_gradients(model.blocks)
    shape = (batch_size, config.frames, config.channels, config.height, config.width)
    clip = torch.randn(shape, dtype=dtype)
    with torch.set_grad_enabled(train), attention_kernel(kernel), LiveBytes(clip) as counted:
        logits = model(clip)
        if train:
            logits.float().logsumexp(-1).sum().backward()
    return counted.peak


def predicted(config, batch_size, kernel, dtype, train=False, forgetful=False):
    return cost.activation_bytes(
        config,
        batch_size=batch_size,
        item_bytes=dtype.itemsize,
        kernel=kernel,
        train=train,
        checkpoint_gradients=forgetful,
    )


@pytest.mark.parametrize("kernel", ["math", "fused"])
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("frames", [8, 16])
@pytest.mark.parametrize("attention", SCHEMES)
def test_predicted_memory_is_what_a_pass_holds(attention, frames, batch_size, kernel):
    config = ModelConfig.of_size(
        "tiny", attention=attention, frames=frames, height=64, width=64, depth=2, classes=10
    )
    for dtype in (torch.float32, torch.bfloat16):
        measured = alive(config, batch_size, kernel, dtype)
        near = 0.1 if attention in PAPER else 0.2
        assert predicted(config, batch_size, kernel, dtype) == pytest.approx(measured, rel=near)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["math", "fused"])
@pytest.mark.parametrize("batch_size", [1, 4])
@pytest.mark.parametrize("frames", [8, 16])
@pytest.mark.parametrize("attention", PAPER)
def test_predicted_memory_is_what_a_pass_of_the_base_model_holds(
    attention, frames, batch_size, kernel
):
    """At 224 px; two of the twelve blocks, which are all alike, have the same peak."""
    config = ModelConfig(attention=attention, frames=frames, depth=2)
    measured = alive(config, batch_size, kernel, torch.float32)
    assert predicted(config, batch_size, kernel, torch.float32) == pytest.approx(measured, rel=0.15)


@pytest.mark.parametrize("forgetful", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize("kernel", ["math", "fused"])
@pytest.mark.parametrize("attention", SCHEMES)
def test_predicted_training_memory_is_what_forward_and_backward_hold(attention, kernel, forgetful):
    config = ModelConfig.of_size(
        "tiny", attention=attention, height=64, width=64, depth=3, classes=10
    )
    for batch_size in (1, 3):
        how = batch_size, kernel, torch.float32, True, forgetful
        near = 0.08 if attention in PAPER else 0.2
        assert predicted(config, *how) == pytest.approx(alive(config, *how), rel=near)


@pytest.mark.parametrize("kernel", ["math", "fused"])
@pytest.mark.parametrize("attention", PAPER)
def test_the_prediction_holds_where_activations_outweigh_weights(attention, kernel):
    config = ModelConfig.of_size(
        "tiny", attention=attention, height=128, width=128, depth=4, classes=10
    )
    for dtype, forgetful in product((torch.float32, torch.bfloat16), (False, True)):
        how = 1, kernel, dtype, True, forgetful
        assert predicted(config, *how) == pytest.approx(alive(config, *how), rel=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("forgetful", [False, True], ids=["kept", "checkpointed"])
@pytest.mark.parametrize("kernel", ["math", "fused"])
@pytest.mark.parametrize("attention", PAPER)
def test_predicted_training_memory_is_what_the_base_model_holds(attention, kernel, forgetful):
    """At 224 px, with four of the twelve blocks."""
    how = 1, kernel, torch.float32, True, forgetful
    config = ModelConfig(attention=attention, depth=4)
    assert predicted(config, *how) == pytest.approx(alive(config, *how), rel=0.15)


def test_live_bytes_count_each_storage_once_and_until_it_is_freed():
    given = torch.zeros(100)
    with LiveBytes(given) as counted:
        assert counted.live == 400
        made = given + 1
        view = made.view(10, 10).t()
        made.mul_(2)
        assert (counted.live, counted.peak) == (800, 800)
        del made
        assert counted.live == 800, "the view still holds it"
        del view
        gc.collect()
        assert counted.live == 400
        torch.zeros(50)
        assert (counted.live, counted.peak) == (400, 800)


def test_live_bytes_leave_out_the_weights():
    linear = torch.nn.Linear(10, 10)
    clip = torch.zeros(3, 10)
    with torch.no_grad(), LiveBytes(clip) as counted:
        linear(clip)
    assert counted.peak == 2 * 3 * 10 * 4


@pytest.mark.parametrize("attention", SCHEMES)
def test_both_kernels_give_the_same_logits(attention):
    model = randomised(tiny(attention=attention, heads=2))
    clip = torch.randn(2, 8, 3, 64, 64)
    with torch.no_grad():
        with attention_kernel("math"):
            math = model(clip)
        with attention_kernel("fused"):
            fused = model(clip)
    torch.testing.assert_close(math, fused, rtol=LOGITS, atol=LOGITS)


def test_auto_is_the_kernel_that_the_model_gets_by_itself():
    class Names(TorchDispatchMode):
        def __init__(self):
            super().__init__()
            self.seen = set()

        def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
            self.seen.add(str(operator))
            return operator(*args, **(kwargs or {}))

    def kernel(name):
        with torch.no_grad(), attention_kernel(name), Names() as names:
            model(torch.randn(1, 8, 3, 64, 64))
        return "fused" if any("flash_attention" in one for one in names.seen) else "math"

    model = randomised(tiny(heads=2))
    assert (kernel("math"), kernel("fused")) == ("math", "fused")
    assert kernel("auto") == AUTO_KERNEL


@pytest.mark.parametrize(("frames", "rows"), [(8, 14), (16, 14), (8, 28)])
def test_comparisons_are_counted_as_the_paper_does(frames, rows):
    patches = rows * rows
    expected = {
        "space": patches + 1,
        "joint": patches * frames + 1,
        "divided": patches + frames + 2,
        "sparse": patches * frames // 4 + patches * frames // 8 + 2,
        "axial": frames + 2 * rows + 3,
    }
    size = 16 * rows
    for name, comparisons in expected.items():
        config = ModelConfig(attention=name, frames=frames, height=size, width=size)
        assert cost.comparisons_per_token(config) == comparisons


@pytest.mark.parametrize(
    ("attention", "gmacs"),
    [
        ("joint", {8: 179.6, 16: 449.7, 32: 1261.8, 96: 8135.7}),
        ("divided", {8: 195.8, 16: 392.1, 32: 785.9, 96: 2379.9}),
    ],
)
def test_multiply_adds_grow_with_the_clip_as_computed_elsewhere(attention, gmacs):
    costs = costs_by_frames(attention, "base", 224)
    assert {frames: round(costs[frames] / 1e9, 1) for frames in gmacs} == gmacs


def test_every_published_number_comes_out_to_its_last_digit():
    rows = list(published.compared())
    assert [row.name for row in rows[:5]] == list(PAPER)
    for row in rows:
        if row.paper == published.TIMESFORMER:
            digits = 1 if row.quantity == "M parameters" else 2
            assert round(row.ours, digits) == row.published, row.name
        else:
            assert abs(row.difference_percent) < 1, row.name


def test_a_crossover_is_where_the_cheaper_becomes_the_dearer():
    for pixels in (224, 448):
        found = crossovers(PAPER, "base", pixels)
        assert found
        costs = {name: costs_by_frames(name, "base", pixels) for name in PAPER}
        for one in found:
            below, above = costs[one.below], costs[one.above]
            shorter = max(f for f in below.keys() & above.keys() if f < one.frames)
            assert below[shorter] < above[shorter]
            assert below[one.frames] > above[one.frames]


def test_crossovers_say_it_in_words():
    (one,) = crossovers(["divided", "joint"], "base", 224)
    assert one.text == "joint costs less than divided below 11 frames at 224 px (base)"
    (always,) = crossovers(["divided", "space"], "base", 224)
    assert always.text.startswith("space costs less than divided at any length")
    assert crossovers(["joint"], "base", 224) == []
