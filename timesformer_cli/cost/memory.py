"""Bytes of a model's weights and activations, read off its configuration and scheme."""

from dataclasses import dataclass
from typing import Literal

from timesformer_cli.config import ModelConfig
from timesformer_cli.cost.work import mapped, parameters, query_maps, scores_per_head, tokens

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
    further = []  # transformers that run when the first is done, with the number of their blocks
    if config.over_time is not None:
        further.append((config.over_time, config.over_time.depth))
    if config.pooler is not None:
        further.append((config.pooler, config.pooler.depth - 1))
    sizes = _Sizes(
        clip=batch * config.frames * config.height * config.width * config.channels,
        stream=batch * tokens(config) * config.dim,
        gradients=weight_bytes(config, item_bytes=item_bytes),
        beside=sum(
            _held(encoder, batch_size, item_bytes, kernel)
            for encoder in (config.over_frames, config.fast)
            if encoder is not None
        ),
        block=_block_bytes(config, batch_size, item_bytes, kernel),
        further=[
            (_block_bytes(encoder, batch_size, item_bytes, kernel), count)
            for encoder, count in further
        ],
        query=_query_bytes(config, batch_size, item_bytes, kernel),
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
    beside: int  # what transformers beside the first keep for the backward pass
    block: "_BlockBytes"
    further: "list[tuple[_BlockBytes, int]]"  # of later transformers, with the number of blocks
    query: "_QueryBytes | None"  # of a pooler's query


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
    for block, count in sizes.further:
        if count:  # the caller holds the input of a transformer while all its blocks run
            before = sizes.clip + (sizes.stream if count > 1 else 0)
            moments += _block_moments(block, before, sizes.stream)
    if sizes.query is not None:
        moments.append(sizes.clip + sizes.stream + sizes.query.forward)
    return max(moments)


def _block_moments(block: "_BlockBytes", before: int, stream: int) -> list[int]:
    first, later = before + 2 * stream, before + 3 * stream
    return [
        first + block.passes[0].forward,
        *(later + each.forward for each in block.passes[1:]),
        later + 2 * block.hidden,  # before and after the activation
    ]


def _training_bytes(sizes: _Sizes, depth: int, checkpoint_gradients: bool) -> int:
    beside = sizes.beside
    chain = [sizes.block] * depth
    kept = [sizes.stream if checkpoint_gradients else sizes.block.held] * depth
    for block, count in sizes.further:  # their blocks keep their activations in any case
        chain += [block] * count
        kept += [block.held] * count
    start = 2 * sizes.clip + sizes.stream
    query = 0 if sizes.query is None else sizes.query.saved
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
        if number == last and sizes.query is None:
            # Nothing reads the patches that its MLP makes, so only class tokens have a gradient.
            moments.append(there + max(attention))
            continue
        # The MLP maps class tokens and patches in two calls: two gradients, then their sum.
        mlp = max(block.held + block.hidden, saved + 2 * sizes.stream + 4 * block.mapping)
        after = sizes.gradients * (last - number) // len(chain)
        moments.append(there + after + max(mlp, 2 * block.mapping + max(attention)))
    return max(moments)


@dataclass(frozen=True, slots=True)
class _QueryBytes:
    """Bytes of a pooler's query."""

    forward: int  # alive at its worst moment, beside its input
    saved: int  # kept for the backward pass


def _query_bytes(
    config: ModelConfig, batch_size: int, item_bytes: int, kernel: Kernel
) -> _QueryBytes | None:
    """Its input, the norm of it where it has one of its own, keys and values."""
    if config.pooler is None:
        return None
    width, wide = query_maps(config)
    count = batch_size * tokens(config.pooler)  # it reads no class token
    normed, keys = (0 if wide else count * config.dim * item_bytes), count * width * item_bytes
    copied = 0
    if kernel == "math":  # in float32; keys are scaled, and values of several clips laid out anew
        raised = 2 if item_bytes < SINGLE else 0
        copied = (raised + (1 if batch_size == 1 else 2)) * count * width * SINGLE
    stream = count * config.dim * item_bytes
    return _QueryBytes(forward=normed + 2 * keys + copied, saved=stream + normed + 2 * keys)


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
    shares = grouping.shares(config.heads)
    pairs = batch_size * max(heads * scores_per_head(config, part) for part, heads in shares)
    if config.scheme.softcap:
        # Scores before and after a step; a softmax is in float32, and a copy of it in less.
        lower = item_bytes if item_bytes < SINGLE else 0
        return _PassBytes(
            forward=joined
            + qkv
            + max(pairs * (item_bytes + SINGLE + lower), pairs * 2 * item_bytes + 2 * grouped),
            saved=5 * grouped + turned + pairs * (item_bytes + SINGLE + lower) + stream + extra,
            backward=max(2 * pairs * SINGLE - grouped, 2 * grouped - pairs * SINGLE),
        )
    if kernel == "fused":
        statistics = batch_size * config.heads * mapped(config, grouping) * SINGLE
        return _PassBytes(
            forward=joined + qkv + grouped + statistics,
            saved=5 * grouped + turned + statistics + stream + extra,
            backward=4 * grouped,  # gradients of q, k, v and of the mixed values
        )
    # The math kernel scales q and k and copies both for the product, in float32.
    single = elements * SINGLE // len(grouping.parts)
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
