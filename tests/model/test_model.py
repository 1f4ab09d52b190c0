"""What the network promises beside parity: shapes, determinism, training behaviour."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from tests.support.models import TYPED, randomised, tiny
from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import UsageError
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.block import DropPath
from timesformer_cli.model.positions import resize_table
from timesformer_cli.schemes import PAPER, RELATIVES, SCHEMES

VARIANTS = {
    "linear": {},
    "tubelets": {"tubelet": 2},
    "conv-stem": {"embedding": "conv-stem", "tubelet": 1},
    "flow-stem": {"embedding": "flow-stem", "tubelet": 1},
}


@pytest.mark.parametrize(
    ("attention", "variant"),
    [*product(PAPER, VARIANTS), *product([*RELATIVES, *TYPED.values()], ["linear"])],
)
def test_any_clip_the_patches_divide_gives_logits(attention, variant):
    model = randomised(tiny(attention=attention, **VARIANTS[variant]))
    for frames, height, width in ((8, 64, 64), (4, 64, 64), (12, 32, 96)):
        logits = model(torch.randn(2, frames, 3, height, width))
        assert logits.shape == (2, 5)
        assert logits.isfinite().all()


@pytest.mark.parametrize("attention", [*SCHEMES, *TYPED.values()])
def test_clips_of_a_batch_do_not_see_one_another(attention):
    model = randomised(tiny(attention=attention))
    clips = torch.randn(3, 8, 3, 64, 64)
    with torch.no_grad():
        alone = torch.cat([model(clip[None]) for clip in clips])
        assert_close(model(clips), alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("attention", SCHEMES)
def test_only_space_attention_is_blind_to_the_order_of_frames(attention):
    model = randomised(tiny(attention=attention)).double()
    clip = torch.randn(1, 8, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        difference = (model(clip) - model(clip.flip(1))).abs().max()
    assert (difference < 1e-12) == (attention == "space")


@pytest.mark.parametrize("attention", SCHEMES)
def test_dropout_acts_in_training_only(attention):
    rates = {"dropout": 0.3, "attention_dropout": 0.3, "drop_path": 0.3}
    model = randomised(tiny(attention=attention, depth=3, **rates))
    clip = torch.randn(2, 8, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(clip), model(clip))
        model.train()
        assert not torch.equal(model(clip), model(clip))


def test_stochastic_depth_drops_clips_whole_and_keeps_the_mean():
    torch.manual_seed(0)
    drop = DropPath(0.25).train()
    cls, patches = drop(torch.ones(4000, 1, 2), torch.ones(4000, 1, 1, 2, 2))
    kept = cls[:, 0, 0] != 0
    assert torch.equal(kept, patches[:, 0, 0, 0, 0] != 0)
    assert set(patches.flatten().tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    assert patches.mean().item() == pytest.approx(1, abs=0.05)


def test_a_new_divided_model_starts_as_the_image_model():
    """`temporal_fc` is zero at first, so what the time pass says does not count yet."""
    model = TimeSformer(tiny()).eval()
    clip = torch.randn(1, 8, 3, 64, 64)
    with torch.no_grad():
        before = model(clip)
        for block in model.blocks:
            block.passes[0].attention.qkv.weight.normal_()
        assert torch.equal(model(clip), before)
    assert all(not block.passes[0].fc.weight.any() for block in model.blocks)


@pytest.mark.parametrize("attention", SCHEMES)
def test_every_parameter_learns(attention):
    model = randomised(tiny(attention=attention)).train()
    model(torch.randn(2, 8, 3, 64, 64)).square().sum().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 8, 3, 60, 64), "height 60 is not a multiple"),
        ((1, 8, 3, 64, 70), "width 70 is not a multiple"),
        ((1, 3, 8, 64, 64), "c = 3"),
        ((8, 3, 64, 64), r"\(b t c h w\)"),
    ],
)
def test_a_clip_that_does_not_fit_is_refused_in_words(shape, words):
    with pytest.raises(UsageError, match=words):
        TimeSformer(tiny())(torch.randn(shape))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"attention": "dense"}, "space, joint, divided, sparse, axial, vivit-1"),
        ({"embedding": "conv"}, "linear, conv-stem"),
        ({"heads": 5}, "5 heads"),
        ({"height": 225}, "height 225"),
        ({"frames": 7, "tubelet": 2}, "frame count 7"),
        ({"attention": "sparse", "height": 112, "width": 112}, "7 rows do not divide"),
        ({"embedding": "conv-stem", "patch": 14}, "power of two"),
        ({"embedding": "flow-stem", "patch": 14, "frames": 1}, "two frames or more"),
        ({"depth": 10**9}, "depth"),
        ({"drop_path": 1.0}, "drop_path"),
        ({"attention": "vivit-2", "pooler_blocks": 2}, "vivit-2 has a second transformer"),
        ({"attention": "two-pathway", "pooler_blocks": 1}, "two-pathway has a second transformer"),
        ({"positions": "rotary-3d"}, "divided has class tokens"),
        ({"attention": "vjepa2", "pooler_blocks": -2}, "pooler_blocks is -2"),
        ({"attention": "vjepa2", "pooler_blocks": 10**9}, "pooler_blocks"),
    ],
)
def test_an_impossible_configuration_is_refused_in_words(fields, words):
    with pytest.raises(UsageError, match=words):
        ModelConfig(**fields)


def test_a_configuration_survives_json_and_refuses_what_it_does_not_know():
    config = tiny(attention="axial", embedding="conv-stem")
    assert ModelConfig.from_dict(config.to_dict()) == config
    for wrong in ({"depht": 3}, {"depth": "3"}, {"depth": True}, {"attention": 3}):
        with pytest.raises(UsageError):
            ModelConfig.from_dict(config.to_dict() | wrong)


sides = st.integers(1, 9)


@given(size=st.tuples(sides, sides), mode=st.sampled_from(["nearest", "bicubic"]))
def test_resizing_a_table_to_its_own_size_is_the_identity(size, mode):
    table = torch.randn(*size, 3)
    assert resize_table(table, size, mode) is table


@given(size=st.tuples(sides, sides), to=st.tuples(sides, sides))
def test_resizing_a_table_is_separable_and_keeps_constants(size, to):
    table = torch.randn(*size, 2)
    rows_first = resize_table(resize_table(table, (to[0], size[1]), "bicubic"), to, "bicubic")
    columns_first = resize_table(resize_table(table, (size[0], to[1]), "bicubic"), to, "bicubic")
    assert_close(rows_first, columns_first, rtol=1e-4, atol=1e-4)
    assert_close(resize_table(table, to, "bicubic"), rows_first, rtol=1e-4, atol=1e-4)
    flat = resize_table(torch.full((*size, 2), 0.7), to, "bicubic")
    assert_close(flat, torch.full((*to, 2), 0.7))


def test_a_square_table_on_an_oblong_grid_stretches_each_axis_by_itself():
    table = torch.arange(4.0).view(1, 4, 1).expand(4, 4, 1)  # grows along the columns only
    wide = resize_table(table, (4, 8), "bicubic")
    assert torch.allclose(wide[0], wide[3])
    assert wide[0, 7] > wide[0, 4] > wide[0, 0]
