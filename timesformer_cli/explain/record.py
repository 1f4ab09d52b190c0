"""Record what a network attends to, without changing what it answers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from timesformer_cli.errors import UsageError
from timesformer_cli.inference.process_tuning import large_tensors_apart
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.attention import GroupedAttention
from timesformer_cli.model.block import AttentionPass, Block, Mlp, checkpoint_gradients
from timesformer_cli.model.encoders import AttentivePooler, Fusion, HeadsPooler
from timesformer_cli.model.routing import Mix

MOST_KEPT = 2 << 30  # bytes of attention that one record may hold
FRAMES = 8  # that an MLP computes at once
AT_ONCE = 16 << 20  # bytes of attention that are computed at once


@dataclass(slots=True)
class AttentionCall:
    """One call of an attention kernel."""

    weights: Tensor  # of keys by query, mean over the heads `(n 1 q m)`, or of all `(n heads q m)`
    # The positive part of (gradient less its mean over the keys of a query) times weight, summed
    # over heads and queries, `(n m)`; only after a backward pass.
    positive: Tensor | None = None


Calls = dict[nn.Module, list[AttentionCall]]  # by the module that attends, in order


@dataclass(slots=True)
class Recording:
    """What a network attended to in its forward pass, which is closed before one back."""

    calls: Calls = field(default_factory=dict)
    bytes: int = 0  # kept
    closed: bool = False  # what is computed again for a backward pass is not written down again


def _kernel(recording: Recording, module: nn.Module, *, by_head: bool, cap: float = 0) -> Mix:
    """A kernel for one module that computes what any would, and keeps what it saw.

    Where there is a `cap`, logits are bent to stay between it and its negative.
    """
    calls = recording.calls[module]

    def mix(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
        call = None
        if not recording.closed:
            call = AttentionCall(
                q.new_empty(q.shape[0], q.shape[1] if by_head else 1, q.shape[2], k.shape[2])
            )
            calls.append(call)
            recording.bytes += 4 * call.weights.numel()
            if recording.bytes > MOST_KEPT:
                raise UsageError(
                    f"the attention of this clip takes more than {MOST_KEPT >> 30} GiB to keep; "
                    "give fewer --frames, or --method occlusion"
                )
        mixed: Tensor = _RecordedMix.apply(q, k, v, seen, call, cap)
        return mixed

    return mix


@contextmanager
def recorded(model: TimeSformer, by_head: nn.Module | None = None) -> Iterator[Recording]:
    """Inside the block, what the network attends to is recorded, head by head for one block.

    It computes its attention in plain steps then, and each of its blocks anew in a backward pass;
    its answers stay the same to rounding. Raises UsageError where there is too much to keep.
    """
    recording = Recording()
    alone = set() if by_head is None else set(by_head.modules())
    changed: list[tuple[nn.Module, str]] = []
    try:
        for module in model.modules():
            if isinstance(module, GroupedAttention | AttentivePooler | HeadsPooler | Fusion):
                recording.calls[module] = []
                cap = module.softcap if isinstance(module, GroupedAttention) else 0
                mix = _kernel(recording, module, by_head=module in alone, cap=cap)
                name, stand_in = (
                    ("forward", partial(Fusion.forward, module, mix=mix))
                    if isinstance(module, Fusion)
                    else ("mix", mix)
                )
                module.__dict__[name] = stand_in
                changed.append((module, name))
            # Once more within a block, so that of all that gradients need little is there at a time.
            elif isinstance(module, Block | AttentionPass):
                checkpoint_gradients([module])
                changed.append((module, "forward"))
            elif isinstance(module, Mlp):
                module.__dict__["forward"] = partial(_in_parts, module.forward)
                changed.append((module, "forward"))
        with large_tensors_apart():
            yield recording
    finally:
        for module, name in changed:
            del module.__dict__[name]


def _in_parts(forward: Callable[[Tensor], Tensor], tokens: Tensor) -> Tensor:
    """What treats each token alone, on a few frames `(b t ...)` at a time."""
    firsts = range(0, max(1, tokens.shape[1]), FRAMES)  # one part of nothing where there is nothing
    parts = [tokens[:, first : first + FRAMES] for first in firsts]
    return torch.cat([checkpoint(forward, part, use_reentrant=False) for part in parts], 1)


class _RecordedMix(torch.autograd.Function):
    """Softmax attention whose weights are written down, and what their gradients say of them.

    Autograd alone would keep the weights of all heads of all passes at once.
    """

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        seen: Tensor | None,
        call: AttentionCall | None,
        cap: float,
    ) -> Tensor:
        ctx.save_for_backward(q, k, v, seen)
        ctx.call, ctx.cap = call, cap
        mixed = torch.empty_like(q)
        heads = q.shape[1]
        for n, head in _parts(q, k):
            weights = _weights(_logits(q[n, head], k[n, head], cap), seen, n)
            mixed[n, head] = weights @ v[n, head]
            if call is None:
                continue
            if call.weights.shape[1] == heads:
                call.weights[n, head] = weights
            elif head.start == 0:
                call.weights[n] = weights.sum(1, keepdim=True) / heads
            else:
                call.weights[n] += weights.sum(1, keepdim=True) / heads
        return mixed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, seen = ctx.saved_tensors
        (gradient,) = gradients
        of_q, of_k, of_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        positive = q.new_zeros(k.shape[0], k.shape[2])
        scale = q.shape[-1] ** -0.5
        for n, head in _parts(q, k):
            logits = _logits(q[n, head], k[n, head], ctx.cap)
            weights = _weights(logits, seen, n)
            of_v[n, head] = weights.mT @ gradient[n, head]
            product = _centred(gradient[n, head] @ v[n, head].mT, seen, n).mul_(weights)
            positive[n] += product.clamp(min=0).sum((1, 2))
            of_scores = product.sub_(weights.mul_(product.sum(-1, keepdim=True))).mul_(scale)
            if ctx.cap:  # as the logits were bent
                of_scores = of_scores.mul_(1 - (logits / ctx.cap).square())
            of_q[n, head] = of_scores @ k[n, head]
            of_k[n, head] = of_scores.mT @ q[n, head]
        if ctx.call is not None:
            ctx.call.positive = positive
        return of_q, of_k, of_v, None, None, None


def _parts(q: Tensor, k: Tensor) -> Iterator[tuple[slice, slice]]:
    """Slices of groups and heads whose attention is small enough to be computed at once."""
    groups, heads = q.shape[:2]
    of_head = 4 * q.shape[2] * k.shape[2]
    some_heads = min(heads, max(1, AT_ONCE // of_head))
    some_groups = max(1, AT_ONCE // (of_head * heads))
    for n in range(0, groups, some_groups):
        for head in range(0, heads, some_heads):
            yield slice(n, n + some_groups), slice(head, head + some_heads)


def _logits(q: Tensor, k: Tensor, cap: float) -> Tensor:
    logits = (q * q.shape[-1] ** -0.5) @ k.mT
    return cap * torch.tanh(logits / cap) if cap else logits


def _centred(gains: Tensor, seen: Tensor | None, n: slice) -> Tensor:
    """What each key gains `(n heads q m)`, less the mean of all that its query sees.

    Weights of a query sum to one, so what all of its keys gain alike does not depend on where it
    looks: it changes with the bias of the values, even where the next map takes that away again.
    """
    if seen is None:
        return gains.sub_(gains.mean(-1, keepdim=True))
    mean = gains.masked_fill(~seen[n], 0).sum(-1, keepdim=True)
    return gains.sub_(mean.div_(seen[n].sum(-1, keepdim=True)))


def _weights(logits: Tensor, seen: Tensor | None, n: slice) -> Tensor:
    if seen is not None:
        logits = logits.masked_fill(~seen[n], -torch.inf)
    return logits.softmax(dim=-1)
