"""What a model costs on paper, read off its configuration and scheme; no torch, no weights."""

from dataclasses import dataclass, replace
from math import prod

from timesformer_cli.config import ModelConfig


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


def at(config: ModelConfig, *, frames: int, height: int, width: int) -> ModelConfig:
    """The same model on clips of another shape."""
    return replace(config, frames=frames, height=height, width=width)


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
