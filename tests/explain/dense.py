"""Attention rollout as products of dense matrices, from who sees whom; no grouping is made."""

from itertools import product

import torch

from tests.model.test_schemes import GROUPINGS, MEANING, _same
from timesformer_cli.model.attention import GroupedAttention


def seen_by(part, grid):
    """Whether a patch is seen by another, `(a, b)`, by the definition of a grouping."""
    rule = next(MEANING[name] for name, known in GROUPINGS.items() if _same(known, part))
    places = list(product(*map(range, grid)))
    return torch.tensor([[rule(a, b, grid) for b in places] for a in places])


def softmax_rows(q, k, allowed, cap=0):
    """Attention of one head; `allowed` says which keys each query sees."""
    scores = q @ k.T / q.shape[-1] ** 0.5
    scores = cap * torch.tanh(scores / cap) if cap else scores
    return scores.masked_fill(~allowed, -torch.inf).softmax(-1)


def of_pass(attention, cls, patches):
    """The matrix of a pass over class tokens and patches, with the half that tokens keep."""
    grouping, heads = attention.grouping, attention.route.heads
    grid, c = tuple(patches.shape[1:4]), cls.shape[1]
    tokens = torch.cat([cls[0], patches[0].flatten(0, 2)])
    q, k, _ = attention.qkv(tokens).unflatten(-1, (3, heads, -1)).permute(1, 2, 0, 3)
    n = len(tokens) - c
    total, head = torch.zeros(c + n, c + n), 0
    for part, count in grouping.shares(heads):
        seen = seen_by(part, grid)
        groups = torch.unique(seen, dim=0)  # here members of a group see the same patches
        for _ in range(count):
            total += of_head(q[head], k[head], seen, groups, part.cls, c, attention.softcap)
            head += 1
    kept = torch.eye(c + n) / 2 + total / heads / 2
    if grouping.cls == "absent":
        kept[:c] = torch.eye(c + n)[:c]
    return kept


def of_head(q, k, seen, groups, takes_part, c, cap):
    n = len(seen)
    allowed = torch.zeros(c + n, c + n, dtype=torch.bool)
    allowed[c:, c:] = seen
    if takes_part == "own":
        frames = torch.arange(n) // (n // c) == torch.arange(c)[:, None]
        allowed[:c, c:], allowed[c:, :c] = frames, frames.T
        allowed[:c, :c] = torch.eye(c)
    elif takes_part != "absent":
        allowed[:, 0] = True
        allowed[0, 1:] = takes_part == "global"
    weights = softmax_rows(q, k, allowed | torch.eye(c + n, dtype=torch.bool), cap)
    if takes_part == "shared":
        copies = torch.cat([torch.ones(len(groups), 1, dtype=torch.bool), groups], 1)
        weights[0] = softmax_rows(q[:1].expand(len(groups), -1), k, copies).mean(0)
    return weights


def dense_rollout(model, clip):
    """The share of each patch in what is read out, `(t h w)`, and of all learned tokens."""
    inputs = {}
    modules = [m for m in model.modules() if isinstance(m, GroupedAttention)]
    if model.fast is not None:
        modules += model.fast.fusions
    if model.pooler is not None:
        modules.append(model.pooler.k)
    hooks = [m.register_forward_pre_hook(lambda m, got: inputs.update({m: got})) for m in modules]
    model(clip)
    for hook in hooks:
        hook.remove()

    def after(block, state):
        for attend in block.passes:
            state = of_pass(attend.attention, *inputs[attend.attention][:2]) @ state
        return state

    config = model.config
    grid = config.grid
    n, c = grid[0] * grid[1] * grid[2], config.class_tokens
    own = torch.eye(1 + n)  # of a learned token, and of each patch
    state = torch.cat([own[:1].expand(c, -1), own[1:]])
    if model.fast is not None:
        rows = torch.arange(n).view(grid).repeat_interleave(config.tubelet, 0).flatten()
        fast = torch.cat([own[:1], own[1:][rows]])
    for number, block in enumerate(model.blocks):
        if model.fast is not None:
            if number % model.fast.every == 0:
                fusion = model.fast.fusions[number // model.fast.every]
                state = torch.cat(
                    [state[:c], fused(fusion, *inputs[fusion]) @ fast[1:] / 2 + state[c:] / 2]
                )
            fast = after(model.fast.blocks[number], fast)
        state = after(block, state)
    if model.over_time is not None:
        for block in model.over_time.blocks:
            state = after(block, state)
    if model.pooler is not None:
        for block in model.pooler.blocks:
            state = after(block, state)
        state = pooled(model.pooler, *inputs[model.pooler.k])[None] @ state
    elif model.over_frames is not None:
        state = torch.cat([own[:1], state[:c]])
        for block in model.over_frames.blocks:
            state = after(block, state)
        state = state[:1]
    elif c:
        state = state[:c]
    read = state.mean(0)
    if model.fast is not None:
        read = (read + fast[0]) / 2
    return read[1:].view(grid), float(read[0])


def fused(fusion, slow, fast):
    """What each slow patch makes of the fast patches of its place and time, `(slow, fast)`."""
    t, h, w = slow.shape[1:4]
    frames = fast.shape[1] // t
    q = fusion.q(fusion.norm(slow)).flatten(0, 3).unflatten(-1, (fusion.heads, -1))
    k = (
        fusion.kv(fusion.fast_norm(fast))
        .chunk(2, -1)[0]
        .flatten(0, 3)
        .unflatten(-1, (fusion.heads, -1))
    )
    slow_places = list(product(range(t), range(h), range(w)))
    fast_places = list(product(range(t * frames), range(h), range(w)))
    allowed = torch.tensor(
        [[(a[0], *a[1:]) == (b[0] // frames, *b[1:]) for b in fast_places] for a in slow_places]
    )
    return sum(softmax_rows(q[:, i], k[:, i], allowed) for i in range(fusion.heads)) / fusion.heads


def pooled(pooler, tokens):
    heads = pooler.config.heads
    q = pooler.q(pooler.query)[0, 0].unflatten(-1, (heads, -1))
    if hasattr(pooler, "scale"):
        q = q * torch.nn.functional.softplus(pooler.scale) * 1.442695041
    k = pooler.k(tokens).flatten(0, -2).unflatten(-1, (heads, -1))
    every = torch.ones(1, len(k), dtype=torch.bool)
    return sum(softmax_rows(q[i : i + 1], k[:, i], every)[0] for i in range(heads)) / heads
