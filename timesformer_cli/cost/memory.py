"""What a model's weights and activations occupy, read off its configuration and scheme."""

from dataclasses import dataclass
from typing import Literal

from timesformer_cli.config import ModelConfig
from timesformer_cli.cost.work import encoders, mapped, parameters, scores_per_head, tokens

# Whether attention stores its scores ("math": product, softmax, product) or never ("fused").
Kernel = Literal["math", "fused"]
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
SINGLE = 4  # bytes of the float32 in which torch's math kernel works, whatever it is given


def weight_bytes(config: ModelConfig, *, item_bytes: int) -> int:
    """What the parameters occupy."""
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
    """Most bytes alive at once beside the weights, in eager torch: the input, what a forward pass
    holds at its worst moment and, to `train`, what the backward pass needs, gradients included;
    with `checkpoint_gradients` the inputs of all blocks, and all of one block.

    Not counted: buffers that an operator takes and gives back inside itself.
    """
    batch = batch_size * item_bytes
    sizes = _Sizes(
        clip=batch * config.frames * config.height * config.width * config.channels,
        stream=batch * tokens(config) * config.dim,
        hidden=batch * _hidden(config),
        gradients=weight_bytes(config, item_bytes=item_bytes),
        mapping=item_bytes * config.dim * _hidden(config) // tokens(config),
        held=[_held(encoder, batch_size, item_bytes, kernel) for encoder in encoders(config)],
        passes=[
            _pass_bytes(config, number, batch_size, item_bytes, kernel)
            for number in range(len(config.scheme.passes))
        ],
    )
    if not train:
        return _inference_bytes(sizes)
    return _training_bytes(sizes, config.depth, checkpoint_gradients)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sizes:
    """Bytes: the clip, the residual stream (or anything of its shape), the MLP's hidden layer, all
    gradients, the weights of an MLP's first map, what the blocks of each transformer keep for the
    backward pass, a block's passes.
    """

    clip: int
    stream: int
    hidden: int
    gradients: int
    mapping: int
    held: list[int]
    passes: "list[_PassBytes]"


def _inference_bytes(sizes: _Sizes) -> int:
    # Alive in a block: its input, which its caller holds, what the passes made of it, its norm.
    first, later = sizes.clip + 2 * sizes.stream, sizes.clip + 3 * sizes.stream
    return max(
        2 * sizes.clip + sizes.stream,  # cutting into patches copies the clip
        first + sizes.passes[0].forward,
        *(later + one.forward for one in sizes.passes[1:]),
        later + 2 * sizes.hidden,  # before and after the activation
    )


def _training_bytes(sizes: _Sizes, depth: int, checkpoint_gradients: bool) -> int:
    held, *beside = sizes.held
    block, last = held // depth, depth - 1
    kept = sizes.stream if checkpoint_gradients else block  # of a block that is not at work
    start = 2 * sizes.clip + sizes.stream
    moments = [
        start + last * kept + block + sum(beside),  # where the way back begins
        start + sizes.gradients,  # and where it ends
    ]
    # On the way gradients of weights come as what was kept goes.
    saved, attention = 0, []
    for one in sizes.passes:
        saved += one.saved
        attention.append(saved + one.backward)
    for number in {0, max(0, last - 1), last}:
        there = start + number * kept + sum(beside) * (number + 1) // depth
        if number == last:  # of its MLP only the class token's part is on the way
            moments.append(there + max(attention))
            continue
        # The MLP maps class tokens and patches apart: two gradients, and then their sum.
        mlp = max(block + sizes.hidden, saved + 2 * sizes.stream + 4 * sizes.mapping)
        after = sizes.gradients * (last - number) // depth
        moments.append(there + after + max(mlp, 2 * sizes.mapping + max(attention)))
    return max(moments)


def _hidden(config: ModelConfig) -> int:
    """Elements of the MLP between its maps; a gated one has the values, and the gates twice."""
    return tokens(config) * config.mlp_dim * config.scheme.activation_inputs


def _held(config: ModelConfig, batch_size: int, item_bytes: int, kernel: Kernel) -> int:
    """Bytes that all blocks of one transformer keep for the backward pass."""
    passes = range(len(config.scheme.passes))
    saved = sum(_pass_bytes(config, one, batch_size, item_bytes, kernel).saved for one in passes)
    mlp = 2 * tokens(config) * config.dim + 2 * _hidden(config)
    return config.depth * (saved + batch_size * item_bytes * mlp)


@dataclass(frozen=True, slots=True)
class _PassBytes:
    """Bytes of one attention pass: alive at its worst moment beside stream and norm, kept for the
    backward pass, and how much more than that there is at the worst moment of the backward pass.
    """

    forward: int
    saved: int
    backward: int


def _pass_bytes(
    config: ModelConfig, number: int, batch_size: int, item_bytes: int, kernel: Kernel
) -> _PassBytes:
    grouping = config.scheme.passes[number]
    elements = batch_size * mapped(config, grouping) * config.dim
    grouped = elements * item_bytes  # tokens as the groups hold them, class tokens repeated
    stream = batch_size * tokens(config) * config.dim * item_bytes
    extra = stream if number + 1 < len(config.scheme.passes) else 0
    joined = grouped if grouping.cls != "absent" else 0  # tokens with class tokens among them
    qkv = 3 * grouped
    if kernel == "fused":
        statistics = batch_size * config.heads * mapped(config, grouping) * SINGLE
        return _PassBytes(
            forward=joined + qkv + grouped + statistics,
            saved=5 * grouped + statistics + stream + extra,
            backward=4 * grouped,  # gradients of q, k, v and of what they were mixed to
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
        saved=2 * grouped + 3 * single + pairs * SINGLE + stream + extra,
        # Gradients of the scores, before and after the softmax; or, later, of q, k, v, twice.
        backward=max(2 * pairs * SINGLE - grouped, 2 * grouped - pairs * SINGLE),
    )
