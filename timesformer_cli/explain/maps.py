"""What a network looked at for one answer: maps over the patches of a clip."""

from dataclasses import dataclass
from typing import cast

import torch
from einops import rearrange
from torch import Tensor

from timesformer_cli.explain.options import ExplainOptions
from timesformer_cli.explain.record import recorded
from timesformer_cli.explain.results import Map
from timesformer_cli.explain.shadow import block_attention, looked_for, rollout
from timesformer_cli.grouping import Grid
from timesformer_cli.inference.exported.model import normalise
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.block import Block
from timesformer_cli.video.facts import Pixels

STEPS = 8  # of integrated gradients


def map_by(model: TimeSformer, frames: Pixels, label: int, options: ExplainOptions) -> Map:
    """The map `(t h w)` that the options ask for, of cropped frames `(frames height width 3)`.

    Raises UsageError where there is too much attention to keep.
    """
    prepared = model.preprocessing
    clip = torch.from_numpy(normalise(frames[None], prepared.mean, prepared.std))
    clip = clip.to(model.head.weight.device)
    if options.method == "attention":
        layer = options.layer or model.config.depth
        query = None
        if options.query is not None:
            frame, row, column = options.query
            query = frame - 1, row - 1, column - 1
        head = options.head and options.head - 1
        chosen = attention_of(model, clip, layer=layer - 1, head=head, query=query)
    elif options.method == "integrated":
        chosen = integrated_gradients(model, clip, label)
    else:
        chosen = getattr(attention_maps(model, clip, label), options.method)
    found: Map = chosen.cpu().numpy()
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionMaps:
    """Maps `(t h w)` of one clip for one class, none of them negative."""

    logits: Tensor  # (classes), as the network gives them otherwise
    rollout: Tensor  # the share of each patch in what the head sees; whatever the class
    elsewhere: float  # the share of learned tokens; with those of all patches it makes one
    gradient: Tensor  # attention that speaks for the class: the positive part of gradient x weight
    combined: Tensor  # the rollout above its median, times the root of the gradient


def attention_maps(model: TimeSformer, clip: Tensor, label: int | None = None) -> AttentionMaps:
    """Maps of a normalised clip `(1 t c h w)`, for a class by its index, or for the best one.

    Rollout: Abnar and Zuidema 2020 (arXiv 2005.00928), section 3. The gradient is taken as in
    Chefer et al. 2021 (arXiv 2103.15679), section 3.1, but centred for each query (see
    `record._centred`) and summed over all of them. Raises UsageError where there is too much
    attention to keep.
    """
    grid = grid_of(model, clip)
    with recorded(model) as recording, torch.enable_grad():
        clip = clip.detach().requires_grad_()  # so that a backward pass goes through all blocks
        logits = model(clip)[0]
        recording.closed = True
        torch.autograd.grad(logits[logits.argmax() if label is None else label], clip)
        gradient = looked_for(model, recording.calls, grid)
        shares, elsewhere = rollout(model, recording.calls, grid)
    return AttentionMaps(
        logits=logits.detach(),
        rollout=shares,
        elsewhere=elsewhere,
        gradient=gradient,
        # The root, because attention is in both factors, and grows with the size of its groups there.
        combined=(shares - shares.median()).clamp(min=0) * gradient.sqrt(),
    )


def attention_of(
    model: TimeSformer, clip: Tensor, *, layer: int, head: int | None, query: Grid | None
) -> Tensor:
    """What one block attends to `(t h w)`, from a patch or, for None, from its class tokens.

    Without class tokens None is the mean of all patches. The passes of the block follow one
    another; `head` None is the mean of its heads.
    """
    block = cast(Block, model.blocks[layer])
    with recorded(model, by_head=block) as recording, torch.no_grad():
        model(clip)
    with torch.enable_grad():
        return block_attention(
            block, recording.calls, grid_of(model, clip), head, model.config.class_tokens, query
        )


def integrated_gradients(model: TimeSformer, clip: Tensor, label: int) -> Tensor:
    """How much each patch `(t h w)` adds to a class, on the way from a grey clip; not negative.

    Sundararajan et al. 2017 (arXiv 1703.01365), section 3, in STEPS steps. Grey is the mean colour
    that the model's preprocessing subtracts.
    """
    total = torch.zeros_like(clip)
    for step in range(STEPS):
        along = (clip.detach() * (step + 0.5) / STEPS).requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(model(along)[0, label], along)
        total += gradient
    t, h, w = grid_of(model, clip)
    added = rearrange(
        total / STEPS * clip, "1 (t f) c (h y) (w x) -> t h w (f c y x)", t=t, h=h, w=w
    )
    return added.sum(-1).clamp(min=0)


def grid_of(model: TimeSformer, clip: Tensor) -> Grid:
    """Frames, rows and columns of patches of a clip `(1 t c h w)`."""
    return model.config.grid_of(clip.shape[1], *clip.shape[3:])
