"""Carry numbers through a network's attention: each token is one number, each pass a mean.

A shadow network has the passes of its network and the weights that were recorded in them, but no
other map. It is linear in its patches, so its gradient says how much of what is read out came from
each of them: attention rollout (arXiv 2005.00928), whatever the groups, windows and class tokens.
"""

from collections.abc import Iterable

import torch
from einops import rearrange
from torch import Tensor, nn

from timesformer_cli.explain.record import AttentionCall, Calls
from timesformer_cli.grouping import Grid
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.attention import GroupedAttention
from timesformer_cli.model.block import Block
from timesformer_cli.model.encoders import FastPath, Fusion
from timesformer_cli.model.network import read_out
from timesformer_cli.model.regroup import group
from timesformer_cli.model.routing import Mix, route_of

Moved = tuple[Tensor | None, Tensor]  # class tokens `(b c 1)`, where they take part, and patches


def rollout(model: TimeSformer, calls: Calls, grid: Grid) -> tuple[Tensor, float]:
    """How much of what the head sees came from each patch `(t h w)`, and from no patch at all.

    A token keeps half of itself in every pass that it takes part in. All of it sums to one.
    """
    place = model.head.weight.device
    patches = torch.ones(1, *grid, 1, device=place, requires_grad=True)
    constant = torch.ones(
        (), device=place, requires_grad=True
    )  # the value of all tokens that are learned
    read = _read(model, calls, patches, constant)
    of_patches, of_constant = torch.autograd.grad(
        read.sum(), (patches, constant), allow_unused=True
    )
    return of_patches[0, ..., 0], 0.0 if of_constant is None else float(of_constant)


def looked_for(model: TimeSformer, calls: Calls, grid: Grid) -> Tensor:
    """The positive part of gradient times attention that each patch got, `(t h w)`.

    Summed over all queries, heads and passes, after a backward pass from one class.
    """
    patches = torch.zeros(1, *grid, 1, device=model.head.weight.device, requires_grad=True)
    cls = patches.new_zeros(1, model.config.class_tokens, 1)
    found: list[Tensor] = []
    blocks = [*model.blocks]
    if model.over_time is not None:
        blocks += model.over_time.blocks
    if model.pooler is not None:
        blocks += model.pooler.blocks
        (call,) = calls[model.pooler]
        found.append((_positive(call) * patches.flatten(1)).sum())
    for attention in _attentions(blocks):
        _moved(attention, cls, patches, _summing(calls[attention], found))
    if model.fast is not None:
        of_frames = _of_frames(model.fast, model, patches)
        for attention in _attentions(model.fast.blocks):
            _moved(
                attention, patches.new_zeros(1, 1, 1), of_frames, _summing(calls[attention], found)
            )
        for fusion in _fusions(model.fast):
            (call,) = calls[fusion]
            found.append((_positive(call) * _members(fusion, of_frames)[..., 0]).sum())
    (gradient,) = torch.autograd.grad(torch.stack(found).sum(), patches)
    return gradient[0, ..., 0]


def block_attention(
    block: Block, calls: Calls, grid: Grid, head: int | None, classes: int, query: Grid | None
) -> Tensor:
    """What one query of a block attends to `(t h w)`, through all of its passes, nothing else.

    The query is a patch, or the mean of the class tokens (of all patches, without any) for None.
    `head` None is the mean of all heads.
    """
    patches = torch.ones(1, *grid, 1, device=block.norm.weight.device, requires_grad=True)
    cls = patches.new_ones(1, classes, 1)
    moved = patches
    for attention in _attentions([block]):
        mix = _replaying(calls[attention], attention, head)
        update, moved = _moved(attention, cls, moved, mix)
        cls = cls if update is None else update
    looked = moved if query is not None or not classes else cls
    chosen = looked.mean() if query is None else looked[(0, *query)].sum()
    (gradient,) = torch.autograd.grad(chosen, patches)
    return gradient[0, ..., 0]


def _attentions(blocks: Iterable[nn.Module]) -> Iterable[GroupedAttention]:
    for block in blocks:
        yield from (module for module in block.modules() if isinstance(module, GroupedAttention))


def _moved(attention: GroupedAttention, cls: Tensor, patches: Tensor, mix: Mix) -> Moved:
    """What a kernel makes of class tokens and patches of one number each; their heads are averaged."""
    grouping, heads = attention.grouping, attention.route.heads
    t, h, w = patches.shape[1:4]
    grid = (t, h, w)
    shares = grouping.shares(heads)
    # One channel for each part of the heads that has a grouping of its own. Without turns: the
    # kernel looks at no query and no key.
    route = route_of(grouping, len(shares))
    several = (-1,) * (cls.ndim - 1), (-1,) * (patches.ndim - 1)
    tokens = route.gather(
        cls.expand(*several[0], len(shares)), patches.expand(*several[1], len(shares))
    )
    update, moved = route.scatter(route.attend(tokens, tokens, tokens, grid, mix), grid)
    share = moved.new_tensor([count / heads for _, count in shares])
    mean = (moved * share).sum(-1, keepdim=True)
    return None if update is None else (update * share).sum(-1, keepdim=True), mean


def _replaying(
    calls: list[AttentionCall], attention: GroupedAttention, head: int | None = None
) -> Mix:
    """A kernel that uses the weights of these calls, in order, of one head or the mean of all."""
    shares = [count for _, count in attention.grouping.shares(attention.route.heads)]
    weights = iter(calls)
    first = [0]

    def mix(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
        call = next(weights)
        if head is None:
            return call.weights.mean(1, keepdim=True) @ v
        if len(shares) == 1:
            return call.weights[:, head : head + 1] @ v
        begin = first[0]
        first[0] += call.weights.shape[1]
        if not begin <= head < first[0]:
            return v * 0
        # `_moved` takes the mean over the heads, of which this one is to count alone.
        return (
            call.weights[:, head - begin : head - begin + 1] @ v * sum(shares) / (first[0] - begin)
        )

    return mix


def _summing(calls: list[AttentionCall], found: list[Tensor]) -> Mix:
    """A kernel that moves nothing, and adds up what its keys got in these calls."""
    positive = map(_positive, calls)

    def mix(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
        found.append((next(positive) * v[:, 0, :, 0]).sum())
        return q

    return mix


def _positive(call: AttentionCall) -> Tensor:
    if (
        call.positive is None
    ):  # nothing reads it: patches that move after the class token's last pass
        return call.weights.new_zeros(call.weights.shape[0], call.weights.shape[-1])
    return call.positive


def _read(model: TimeSformer, calls: Calls, patches: Tensor, constant: Tensor) -> Tensor:
    """The network on numbers: as `TimeSformer.features`, with means for its attention."""
    cls = constant.expand(1, model.config.class_tokens, 1)
    fast = None
    if model.fast is not None:
        fast = constant.expand(1, 1, 1), _of_frames(model.fast, model, patches)
    for number, block in enumerate(model.blocks):
        if model.fast is not None and fast is not None:
            if number % model.fast.every == 0:
                fusion = _fusions(model.fast)[number // model.fast.every]
                weights = calls[fusion][0].weights[:, 0]
                fused = (weights @ _members(fusion, fast[1])).view(patches.shape)
                patches = (patches + fused) / 2
            fast = _passed(model.fast.blocks[number], calls, *fast)
        cls, patches = _passed(block, calls, cls, patches)
    if model.over_time is not None:
        for block in model.over_time.blocks:
            cls, patches = _passed(block, calls, cls, patches)
    if model.pooler is not None:
        for block in model.pooler.blocks:
            cls, patches = _passed(block, calls, cls, patches)
        (call,) = calls[model.pooler]
        return call.weights[0, 0] @ patches.flatten(0, 3)
    if model.over_frames is not None:
        cls, frames = constant.expand(1, 1, 1), rearrange(cls, "b t d -> b t 1 1 d")
        for block in model.over_frames.blocks:
            cls, frames = _passed(block, calls, cls, frames)
    tokens = cls if model.config.class_tokens else patches.flatten(1, 3)
    features = read_out(tokens, nn.Identity(), model.config)
    return features if fast is None else (features + fast[0].mean(dim=1)) / 2


def _passed(block: nn.Module, calls: Calls, cls: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
    """The attention passes of a block; what takes part in one keeps half of itself."""
    for attention in _attentions([block]):
        update, moved = _moved(attention, cls, patches, _replaying(calls[attention], attention))
        cls, patches = cls if update is None else (cls + update) / 2, (patches + moved) / 2
    return cls, patches


def _of_frames(fast: FastPath, model: TimeSformer, patches: Tensor) -> Tensor:
    """Numbers of tubelets `(b t h w 1)`, for every frame that the fast path sees of them."""
    return patches.repeat_interleave(model.config.tubelet // fast.config.tubelet, dim=1)


def _fusions(fast: FastPath) -> list[Fusion]:
    return [module for module in fast.fusions if isinstance(module, Fusion)]


def _members(fusion: Fusion, fast: Tensor) -> Tensor:
    """Numbers of fast patches `(n m 1)`, for each slow patch those that it looks at."""
    return group(fast, fusion.grouping).flatten(0, 1)
