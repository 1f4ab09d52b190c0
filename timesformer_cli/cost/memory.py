"""What a model's weights and activations occupy, read off its configuration and scheme."""

from dataclasses import dataclass
from typing import Literal

from timesformer_cli.config import ModelConfig
from timesformer_cli.cost.work import GATED, encoders, mapped, parameters, scores, tokens

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
) -> int:
    """Most bytes alive at once beside the weights, in eager torch: the input, what a forward pass
    holds at its worst moment and, to `train`, what the backward pass needs, gradients included.

    Not counted: buffers that an operator takes and gives back inside itself.
    """
    batch = batch_size * item_bytes
    stream = batch * tokens(config) * config.dim  # the residual stream, or anything of its shape
    hidden = batch * _hidden(config)
    clip = batch * config.frames * config.height * config.width * config.channels
    passes = [
        _pass_bytes(config, number, batch_size, item_bytes, kernel)
        for number in range(len(config.scheme.passes))
    ]
    if train:
        held = 2 * clip  # cutting into patches copies the clip
        held += sum(_held(encoder, batch_size, item_bytes, kernel) for encoder in encoders(config))
        gradients = weight_bytes(config, item_bytes=item_bytes)
        held_last = 2 * clip + 3 * stream + passes[0].saved + passes[0].backward
        return max(
            held + stream,
            # Of the last MLP only the class token's part is on the way from the loss.
            held - 2 * hidden + passes[-1].backward,
            # At the end of the way back the gradients are there, and what was kept is going.
            held_last + gradients * (2 * config.depth - 1) // (2 * config.depth),
            2 * clip + stream + gradients,
        )
    # Alive in a block: its input, which its caller holds, what the passes made of it, its norm.
    first, later = clip + 2 * stream, clip + 3 * stream
    return max(
        2 * clip + stream,  # cutting into patches copies the clip
        first + passes[0].forward,
        *(later + one.forward for one in passes[1:]),
        later + 2 * hidden,  # before and after the activation
    )


def _hidden(config: ModelConfig) -> int:
    """Elements of the MLP between its maps; a gated one has the values, and the gates twice."""
    return tokens(config) * config.mlp_dim * GATED.get(config.scheme.activation, 1)


def _held(config: ModelConfig, batch_size: int, item_bytes: int, kernel: Kernel) -> int:
    """Bytes that all blocks of one transformer keep for the backward pass."""
    passes = range(len(config.scheme.passes))
    saved = sum(_pass_bytes(config, one, batch_size, item_bytes, kernel).saved for one in passes)
    mlp = 2 * tokens(config) * config.dim + 2 * _hidden(config)
    return config.depth * (saved + batch_size * item_bytes * mlp)


@dataclass(frozen=True, slots=True)
class _PassBytes:
    """Bytes of one attention pass: alive at its worst moment beside stream and norm, kept for the
    backward pass, and alive there at the worst moment beside all that was kept.
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
            backward=stream + 6 * grouped,
        )
    # The math kernel scales q and k and copies both for the product, in float32.
    single = elements * SINGLE // len(grouping.parts)
    shares = grouping.shares(config.heads)
    pairs = batch_size * max(heads * scores(config, part) for part, heads in shares)
    raised, kept = (3 * single, pairs * item_bytes) if item_bytes < SINGLE else (0, 0)
    product = 4 * single + pairs * SINGLE
    softmax = single + 2 * pairs * SINGLE
    mixing = 3 * single + pairs * SINGLE + kept
    return _PassBytes(
        forward=joined + qkv + raised + max(product, softmax, mixing),
        saved=2 * grouped + 3 * single + pairs * SINGLE + stream + extra,
        backward=stream + 2 * grouped + 2 * single + 2 * pairs * SINGLE,
    )
