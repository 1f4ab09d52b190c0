"""Bytes of a model's weights and activations, read off its configuration and scheme."""

from dataclasses import dataclass
from typing import Literal

from timesformer_cli.config import ModelConfig
from timesformer_cli.cost.work import encoders, mapped, parameters, scores_per_head, tokens

# Whether attention stores its scores ("math": product, softmax, product) or never ("fused").
Kernel = Literal["math", "fused"]
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# Kinds of positions that make attention work on copies of its tokens, and how many it then holds:
# of queries and keys, beside q, k and v.
COPIES = {"rotary-3d": 2}
SINGLE = 4  # bytes of the float32 in which torch's math kernel works, whatever it is given


def weight_bytes(config: ModelConfig, *, item_bytes: int) -> int:
    """Bytes of all parameters."""
    return parameters(config) * item_bytes


def activation_bytes(
    config: ModelConfig,
    *,
    batch_size: int = 1,
    item_bytes: int = 4,
    kernel: Kernel = "math",
    train: bool = False,
    checkpoint_gradients: bool = False,
) -> int:
    """The most bytes that are alive at once beside the weights, in eager torch.

    Counted are the input and what a forward pass holds at its worst moment. With `train` there is
    what the backward pass needs, gradients included; with `checkpoint_gradients` the inputs of all
    blocks and the activations of one block at a time. Buffers that an operator takes and gives
    back inside itself are not counted.
    """
    batch = batch_size * item_bytes
    sizes = _Sizes(
        clip=batch * config.frames * config.height * config.width * config.channels,
        stream=batch * tokens(config) * config.dim,
        gradients=weight_bytes(config, item_bytes=item_bytes),
        held=[_held(encoder, batch_size, item_bytes, kernel) for encoder in encoders(config)],
        block=_block_bytes(config, batch_size, item_bytes, kernel),
        pooler=None
        if config.pooler is None
        else _block_bytes(config.pooler, batch_size, item_bytes, kernel),
        pooled=0 if config.pooler is None else config.pooler.depth - 1,
    )
    if not train:
        return _inference_bytes(sizes)
    return _training_bytes(sizes, config.depth, checkpoint_gradients)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sizes:
    """The bytes that the worst moments are sums of."""

    clip: int
    stream: int  # the residual stream, or anything of its shape
    gradients: int  # of all weights
    held: list[int]  # per transformer: what its blocks keep for the backward pass
    block: "_BlockBytes"
    pooler: "_BlockBytes | None"  # of a block of an attentive pooler
    pooled: int  # how many such blocks there are


@dataclass(frozen=True, kw_only=True, slots=True)
class _BlockBytes:
    """Bytes of one block."""

    hidden: int  # the MLP's hidden layer
    mapping: int  # the weights of the MLP's first map
    held: int  # kept for the backward pass
    passes: "list[_PassBytes]"


def _inference_bytes(sizes: _Sizes) -> int:
    # Alive in a block: its input (the caller holds it), what the passes made of it, and its norm.
    moments = [
        2 * sizes.clip + sizes.stream,  # cutting into patches copies the clip
        *_block_moments(sizes.block, sizes.clip, sizes.stream),
    ]
    if sizes.pooler is not None and sizes.pooled:
        # The caller holds the pooler's input while all its blocks run.
        before = sizes.clip + (sizes.stream if sizes.pooled > 1 else 0)
        moments += _block_moments(sizes.pooler, before, sizes.stream)
    return max(moments)


def _block_moments(block: "_BlockBytes", before: int, stream: int) -> list[int]:
    first, later = before + 2 * stream, before + 3 * stream
    return [
        first + block.passes[0].forward,
        *(later + each.forward for each in block.passes[1:]),
        later + 2 * block.hidden,  # before and after the activation
    ]


def _training_bytes(sizes: _Sizes, depth: int, checkpoint_gradients: bool) -> int:
    beside = sum(sizes.held[1:])
    chain = [sizes.block] * depth
    kept = [sizes.stream if checkpoint_gradients else sizes.block.held] * depth
    if sizes.pooler is not None:  # its blocks keep their activations in any case
        chain += [sizes.pooler] * sizes.pooled
        kept += [sizes.pooler.held] * sizes.pooled
    start = 2 * sizes.clip + sizes.stream
    # The query's block keeps its input, the norm of it, keys and values.
    query = 4 * sizes.stream if sizes.pooler is not None else 0
    last = len(chain) - 1
    moments = [
        start + sum(kept[:last]) + chain[last].held + beside + query,  # the backward pass begins
        start + sizes.gradients,  # and where it ends
    ]
    # In between, gradients of weights appear while what was kept for them goes. The sums are linear
    # in a block's number, so the worst is near one of the ends of a run of like blocks.
    for number in {0, max(0, depth - 2), depth - 1, max(0, last - 1), last}:
        block, attention, saved = chain[number], [], 0
        for each in block.passes:
            saved += each.saved
            attention.append(saved + each.backward)
        done = beside * min(depth, number + 1) // depth
        there = start + sum(kept[:number]) + done
        if number == last and sizes.pooler is None:
            # Nothing reads the patches that its MLP makes, so only class tokens have a gradient.
            moments.append(there + max(attention))
            continue
        # The MLP maps class tokens and patches in two calls: two gradients, then their sum.
        mlp = max(block.held + block.hidden, saved + 2 * sizes.stream + 4 * block.mapping)
        after = sizes.gradients * (last - number) // len(chain)
        moments.append(there + after + max(mlp, 2 * block.mapping + max(attention)))
    return max(moments)


def _hidden(config: ModelConfig) -> int:
    """Elements that the MLP's first map makes; for a gated MLP these are values and gates."""
    return tokens(config) * config.mlp_dim * config.scheme.activation_inputs


def _held(config: ModelConfig, batch_size: int, item_bytes: int, kernel: Kernel) -> int:
    """Bytes that all blocks of one transformer keep for the backward pass."""
    return config.depth * _block_bytes(config, batch_size, item_bytes, kernel).held


def _block_bytes(
    config: ModelConfig, batch_size: int, item_bytes: int, kernel: Kernel
) -> _BlockBytes:
    passes = [
        _pass_bytes(config, number, batch_size, item_bytes, kernel)
        for number in range(len(config.scheme.passes))
    ]
    mlp = 2 * tokens(config) * config.dim + 2 * _hidden(config)
    return _BlockBytes(
        hidden=batch_size * item_bytes * _hidden(config),
        mapping=item_bytes * config.dim * _hidden(config) // tokens(config),
        held=sum(each.saved for each in passes) + batch_size * item_bytes * mlp,
        passes=passes,
    )


@dataclass(frozen=True, slots=True)
class _PassBytes:
    """Bytes of one attention pass."""

    forward: int  # alive at its worst moment, beside the stream and its norm
    saved: int  # kept for the backward pass
    backward: int  # what the worst moment of the backward pass has beyond `saved`


def _pass_bytes(
    config: ModelConfig, number: int, batch_size: int, item_bytes: int, kernel: Kernel
) -> _PassBytes:
    grouping = config.scheme.passes[number]
    elements = batch_size * mapped(config, grouping) * config.dim
    grouped = elements * item_bytes  # tokens as the groups hold them, class tokens repeated
    stream = batch_size * tokens(config) * config.dim * item_bytes
    extra = stream if number + 1 < len(config.scheme.passes) else 0
    joined = grouped if grouping.cls != "absent" else 0  # tokens with class tokens among them
    turned = COPIES.get(config.positions, 0) * grouped
    qkv = 3 * grouped + turned
    if kernel == "fused":
        statistics = batch_size * config.heads * mapped(config, grouping) * SINGLE
        return _PassBytes(
            forward=joined + qkv + grouped + statistics,
            saved=5 * grouped + turned + statistics + stream + extra,
            backward=4 * grouped,  # gradients of q, k, v and of the mixed values
        )
    # The math kernel scales q and k and copies both for the product, in float32.
    single = elements * SINGLE // len(grouping.parts)
    shares = grouping.shares(config.heads)
    pairs = batch_size * max(heads * scores_per_head(config, part) for part, heads in shares)
    raised, kept = (3 * single, pairs * item_bytes) if item_bytes < SINGLE else (0, 0)
    product = 4 * single + pairs * SINGLE
    softmax = single + 2 * pairs * SINGLE
    mixing = 3 * single + pairs * SINGLE + kept
    return _PassBytes(
        forward=joined + qkv + raised + max(product, softmax, mixing),
        saved=2 * grouped + turned + 3 * single + pairs * SINGLE + stream + extra,
        # First the gradients of the scores before and after the softmax, later those of q, k and v
        # twice; whichever is more.
        backward=max(2 * pairs * SINGLE - grouped, 2 * grouped - pairs * SINGLE),
    )
