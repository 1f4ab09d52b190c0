"""Maps of attention are products of the attention that there is, for every scheme."""

import pytest
import torch

from tests.explain.dense import dense_rollout
from tests.support.models import TYPED, randomised, tiny
from timesformer_cli.explain import record
from timesformer_cli.explain.maps import attention_maps
from timesformer_cli.explain.record import recorded
from timesformer_cli.explain.shadow import rollout
from timesformer_cli.model.attention import GroupedAttention
from timesformer_cli.model.encoders import AttentivePooler, Fusion, HeadsPooler
from timesformer_cli.schemes import SCHEMES


def model_of(attention: str, **changes):
    return randomised(tiny(attention=attention, frames=8, patch=16, height=64, width=96, **changes))


def clip_of(model, seed=1):
    config = model.config
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, config.frames, 3, config.height, config.width, generator=generator)


POOLED = {"pooler_blocks": 2}


@pytest.mark.parametrize(
    ("attention", "changes"),
    [
        *((attention, {}) for attention in (*SCHEMES, *TYPED.values())),
        ("divided", POOLED),
        ("space", POOLED),
    ],
)
def test_maps_leave_the_answer_as_it_is_and_share_out_one(attention, changes):
    model = model_of(attention, heads=2, **changes)
    clip = clip_of(model)
    with torch.no_grad():
        plain = model(clip)[0]
    maps = attention_maps(model, clip)
    torch.testing.assert_close(maps.logits, plain, atol=1e-6, rtol=1e-6)
    assert maps.rollout.shape == maps.gradient.shape == model.config.grid
    assert float(maps.rollout.sum()) + maps.elsewhere == pytest.approx(1, abs=1e-5)
    assert (maps.rollout >= 0).all() and (maps.gradient >= 0).all() and maps.gradient.any()
    with torch.no_grad():  # and the network is as it was
        assert torch.equal(model(clip)[0], plain)


@pytest.mark.parametrize("attention", [*SCHEMES, *TYPED.values()])
def test_two_networks_that_compute_the_same_have_the_same_maps(attention):
    """Every value gets the same vector on top, and the next map takes it away again."""
    model = model_of(attention, heads=2)
    clip = clip_of(model)
    before = attention_maps(model, clip, 1)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, GroupedAttention):
                added = torch.full((module.proj.in_features,), 3.0)
                module.qkv.bias[-len(added) :] += added
                module.proj.bias -= module.proj.weight @ added
    after = attention_maps(model, clip, 1)
    torch.testing.assert_close(after.logits, before.logits, atol=1e-5, rtol=1e-5)
    for name in ("rollout", "gradient", "combined"):
        one, other = getattr(before, name), getattr(after, name)
        torch.testing.assert_close(other, one, atol=1e-4 * float(one.max()), rtol=1e-3)


# Positions that turn queries and keys would be dense matrices of their own; these add instead.
ADDED = {"lucidrains": "separate", "vjepa2": "sinusoidal"}


@pytest.mark.parametrize("attention", [*SCHEMES, TYPED["late-time"], TYPED["diagonal"]])
def test_rollout_is_the_product_of_dense_matrices(attention):
    changes = {"positions": ADDED[attention]} if attention in ADDED else {}
    model = model_of(attention, heads=2, **changes)
    clip = clip_of(model)
    with recorded(model) as recording, torch.no_grad():
        model(clip)
    shares, elsewhere = rollout(model, recording.calls, model.config.grid)
    with torch.no_grad():
        expected, rest = dense_rollout(model, clip)
    torch.testing.assert_close(shares, expected, atol=1e-6, rtol=1e-5)
    assert elsewhere == pytest.approx(rest, abs=1e-6)


@pytest.mark.parametrize("cap", [0, 0.7])
def test_what_is_recorded_has_the_gradients_of_plain_attention(monkeypatch, cap):
    monkeypatch.setattr(record, "AT_ONCE", 4 * 5 * 6 * 2)  # two heads at once, so in several parts
    q, k, v = (torch.randn(3, 4, n, 8, requires_grad=True) for n in (5, 6, 6))
    seen = torch.rand(3, 1, 5, 6) < 0.7
    seen[..., 0] = True
    recording = record.Recording({None: []})
    mixed = record._kernel(recording, None, by_head=True, cap=cap)(q, k, v, seen)
    scores = q @ k.mT / 8**0.5
    scores = (cap * torch.tanh(scores / cap) if cap else scores).masked_fill(~seen, -torch.inf)
    weights = scores.softmax(-1)
    weights.retain_grad()
    plain = weights @ v
    torch.testing.assert_close(mixed, plain)
    to = torch.randn_like(plain)
    for one, other in zip(
        torch.autograd.grad(mixed, (q, k, v), to),
        torch.autograd.grad(plain, (q, k, v), to, retain_graph=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
    weights.grad = None
    plain.backward(to)
    (call,) = recording.calls[None]
    torch.testing.assert_close(call.weights, weights)
    mean = weights.grad.masked_fill(~seen, 0).sum(-1, keepdim=True) / seen.sum(-1, keepdim=True)
    positive = ((weights.grad - mean) * weights).clamp(min=0).sum((1, 2))
    torch.testing.assert_close(call.positive, positive)


def towards_brightness(attention):
    """A network whose every patch, and class token, looks at the brightest patch that it sees."""
    changes = {"positions": ADDED[attention]} if attention in ADDED else {}
    model = model_of(attention, heads=2, **changes)
    for name, parameter in model.named_parameters():
        parameter.data.zero_()
        if "norm" in name and name.endswith("weight"):
            parameter.data.fill_(1)
    for embedding, dim in ((model.patches, 64), (model.fast and model.fast.patches, 16)):
        if embedding:
            embedding.proj.weight.data[0] = 1 / embedding.proj.weight[0].numel()
            embedding.proj.bias.data[:] = torch.linspace(-1, 1, dim)
    for module in model.modules():
        if isinstance(module, GroupedAttention):
            dim = module.proj.in_features
            k = torch.arange(dim, 2 * dim, dim // module.route.heads)
            module.qkv.bias.data[:dim] = 1
            module.qkv.weight.data[k, 0] = 40
        elif isinstance(module, AttentivePooler | HeadsPooler):
            module.q.bias.data[:] = 1
            module.k.weight.data[:: module.q.out_features // module.config.heads, 0] = 40
        elif isinstance(module, Fusion):
            dim = module.q.out_features
            module.q.bias.data[:] = 1
            module.kv.weight.data[: dim : dim // module.heads, 0] = 40
    return model


@pytest.mark.parametrize("attention", SCHEMES)
def test_the_peak_is_where_the_clip_is_bright(attention):
    model = towards_brightness(attention)
    t, h, w = model.config.grid
    tubelet, patch = model.config.tubelet, model.config.patch
    places = torch.randint(0, 1000, (20, 3), generator=torch.Generator().manual_seed(2)).tolist()
    for frame, row, column in places:
        frame, row, column = frame % t, row % h, column % w
        if any(grouping.stride > 1 for grouping in model.config.scheme.passes):
            row, column = row - row % 2, column - column % 2  # other patches are never looked at
        clip = torch.zeros(1, model.config.frames, 3, model.config.height, model.config.width)
        clip[
            :,
            frame * tubelet : (frame + 1) * tubelet,
            :,
            row * patch : (row + 1) * patch,
            column * patch : (column + 1) * patch,
        ] = 3
        with recorded(model) as recording, torch.no_grad():
            model(clip)
        shares, _ = rollout(model, recording.calls, (t, h, w))
        peak = torch.unravel_index(shares.argmax(), shares.shape)
        assert tuple(map(int, peak)) == (frame, row, column)
