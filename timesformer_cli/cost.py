"""What a model costs on paper, read off its configuration and scheme; no torch, no weights."""

from dataclasses import dataclass
from math import prod
from typing import Literal

from timesformer_cli.config import ModelConfig

# Whether attention stores its scores ("math": product, softmax, product) or never ("fused").
Kernel = Literal["math", "fused"]
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
SINGLE = 4  # bytes of the float32 in which torch's math kernel works, whatever it is given


@dataclass(frozen=True, kw_only=True, slots=True)
class Macs:
    """Multiply-adds of one view by where they are spent; norms, biases and softmax not counted."""

    embedding: int
    projections: int
    attention: int
    mlp: int
    head: int

    @property
    def total(self) -> int:
        """All of them; published "FLOPs" of this family are these."""
        return self.embedding + self.projections + self.attention + self.mlp + self.head


def tokens(config: ModelConfig) -> int:
    """Tokens of one view, class tokens included."""
    return prod(config.grid) + _class_tokens(config)


def macs(config: ModelConfig) -> Macs:
    """Multiply-adds of one view at the configuration's native clip shape."""
    dim, grid = config.dim, config.grid
    patches, classes = prod(grid), _class_tokens(config)
    projections = attention = 0
    for number, grouping in enumerate(config.scheme.passes, start=1):
        groups, members = grouping.sizes(grid)
        seen = members + (grouping.cls != "absent")
        projections += 4 * groups * seen * dim**2
        attention += 2 * groups * seen**2 * dim
        if number < len(config.scheme.passes):
            projections += (patches + (classes if grouping.cls != "absent" else 0)) * dim**2
    return Macs(
        embedding=_embedding_macs(config),
        projections=config.depth * projections,
        attention=config.depth * attention,
        mlp=config.depth * 2 * (patches + classes) * dim * config.mlp_dim,
        head=dim * config.classes,
    )


def score_elements(config: ModelConfig) -> int:
    """Elements of one block's largest score matrix, over all heads and groups."""
    sizes = []
    for grouping in config.scheme.passes:
        groups, members = grouping.sizes(config.grid)
        sizes.append(config.heads * groups * (members + (grouping.cls != "absent")) ** 2)
    return max(sizes)


def parameters(config: ModelConfig) -> int:
    """Trainable numbers, exactly as many as the built model has."""
    dim, (t, h, w) = config.dim, config.grid
    norm, linear = 2 * dim, dim**2 + dim
    qkv = 3 * dim**2 + (3 * dim if config.qkv_bias else 0)
    passes = len(config.scheme.passes)
    mlp = 2 * dim * config.mlp_dim + config.mlp_dim + dim
    block = passes * (norm + qkv + linear) + (passes - 1) * linear + norm + mlp
    positions = (1 + h * w) * dim + (t * dim if config.scheme.sees_time else 0)
    head = dim * config.classes + config.classes
    return _embedding_parameters(config) + dim + positions + config.depth * block + norm + head


def comparisons_per_token(config: ModelConfig) -> int:
    """Keys that a patch is compared with in a block, as the paper counts them (section 3.1).

    One for every patch of its group and one for the class token, in each pass: also where our
    class token stays away, as in the published code's temporal pass.
    """
    return sum(grouping.sizes(config.grid)[1] + 1 for grouping in config.scheme.passes)


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
    hidden = batch * tokens(config) * config.mlp_dim
    clip = batch * config.frames * config.height * config.width * config.channels
    passes = [
        _pass_bytes(config, number, batch_size, item_bytes, kernel)
        for number in range(len(config.scheme.passes))
    ]
    if train:
        saved = sum(one.saved for one in passes) + 2 * stream + 2 * hidden
        held = 2 * clip + config.depth * saved  # cutting into patches copies the clip
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
        later + 2 * hidden,  # before and after the GELU
    )


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
    groups, members = grouping.sizes(config.grid)
    seen = members + (grouping.cls != "absent")
    elements = batch_size * groups * seen * config.dim
    grouped = elements * item_bytes  # tokens as the groups hold them, class tokens repeated
    stream = batch_size * tokens(config) * config.dim * item_bytes
    extra = stream if number + 1 < len(config.scheme.passes) else 0
    joined = grouped if grouping.cls != "absent" else 0  # tokens with class tokens among them
    qkv = 3 * grouped
    if kernel == "fused":
        statistics = batch_size * config.heads * groups * seen * SINGLE
        return _PassBytes(
            forward=joined + qkv + grouped + statistics,
            saved=5 * grouped + statistics + stream + extra,
            backward=stream + 6 * grouped,
        )
    # The math kernel scales q and k and copies both for the product, in float32.
    single = elements * SINGLE
    scores = batch_size * config.heads * groups * seen**2
    raised, kept = (3 * single, scores * item_bytes) if item_bytes < SINGLE else (0, 0)
    product = 4 * single + scores * SINGLE
    softmax = single + 2 * scores * SINGLE
    mixing = 3 * single + scores * SINGLE + kept
    return _PassBytes(
        forward=joined + qkv + raised + max(product, softmax, mixing),
        saved=2 * grouped + 3 * single + scores * SINGLE + stream + extra,
        backward=stream + 2 * grouped + 2 * single + 2 * scores * SINGLE,
    )


def _class_tokens(config: ModelConfig) -> int:
    return config.grid[0] if config.scheme.cls_per_frame else 1


def _stem(config: ModelConfig) -> list[tuple[int, int, int]]:
    """Channels in, channels out and output positions of each stage of the convolutional stem."""
    rows = []
    before, height, width = config.channels, config.height, config.width
    for after in config.stem_widths:
        height, width = height // 2, width // 2
        rows.append((before, after, config.frames * height * width))
        before = after
    return rows


def _embedding_macs(config: ModelConfig) -> int:
    if config.embedding == "conv-stem":
        *_, (_, last, positions) = stages = _stem(config)
        convolutions = sum(27 * before * after * size for before, after, size in stages)
        return convolutions + positions * last * config.dim
    return prod(config.grid) * config.channels * config.tubelet * config.patch**2 * config.dim


def _embedding_parameters(config: ModelConfig) -> int:
    if config.embedding == "conv-stem":
        stages = _stem(config)
        convolutions = sum(27 * before * after + 2 * after for before, after, _ in stages)
        return convolutions + stages[-1][1] * config.dim + config.dim
    return (config.channels * config.tubelet * config.patch**2 + 1) * config.dim
