"""Multiply-adds and parameters of a model, read off its configuration and scheme."""

from dataclasses import dataclass, replace
from math import prod

from timesformer_cli.config import ModelConfig
from timesformer_cli.cost.stems import STEMS, stem_macs, stem_parameters
from timesformer_cli.grouping import Grouping
from timesformer_cli.text_config import TextConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Macs:
    """Multiply-adds of one view by where they are spent; norms, biases and softmax not counted."""

    embedding: int  # pixels to patches
    projections: int  # linear maps of the attention passes
    attention: int  # scores, and the values that they mix
    mlp: int
    head: int

    @property
    def total(self) -> int:
        """All of them; the papers of this family call this number FLOPs."""
        return self.embedding + self.projections + self.attention + self.mlp + self.head


def tokens(config: ModelConfig) -> int:
    """Tokens of one view, class tokens included."""
    return prod(config.grid) + config.class_tokens


def macs(config: ModelConfig) -> Macs:
    """Multiply-adds of one view at the configuration's native clip shape."""
    projections = attention = mlp = 0
    for encoder, depth in stacks(config):
        mlp += depth * tokens(encoder) * _mlp_macs(encoder)
        for number in range(depth):
            passes = encoder.scheme.passes_of(number)
            for grouping in passes:
                projections += 4 * mapped(encoder, grouping) * encoder.dim**2
                attention += sum(
                    2 * scores_per_head(encoder, part) * encoder.dim // encoder.heads * heads
                    for part, heads in grouping.shares(encoder.heads)
                )
            if encoder.scheme.bridged:
                bridged = sum(_updated(encoder, grouping) for grouping in passes[:-1])
                projections += bridged * encoder.dim**2
    if (pooler := config.pooler) is not None:
        # One query: its own map, keys and values of all tokens, and its MLP or its map back.
        width, back = query_maps(config)
        projections += (1 + 2 * tokens(pooler) + back) * pooler.dim * width
        attention += 2 * tokens(pooler) * width
        mlp += 0 if back else _mlp_macs(pooler)
    embedding = _embedding_macs(config)
    if (fast := config.fast) is not None:
        embedding += _embedding_macs(fast)
        # Slow patches are mapped to queries and back, fast ones to keys and values; each fast patch
        # is compared with the one slow patch at its place.
        slow, quick, fusions = prod(config.grid), prod(fast.grid), _fusions(config)
        projections += fusions * 2 * (slow * config.dim + quick * fast.dim) * fast.dim
        attention += fusions * 2 * quick * fast.dim
    return Macs(
        embedding=embedding,
        projections=projections,
        attention=attention,
        mlp=mlp,
        head=config.features * config.classes,
    )


def score_elements(config: ModelConfig) -> int:
    """Elements of one block's largest score matrix, over all heads and groups."""
    return max(
        heads * scores_per_head(config, part)
        for grouping in config.scheme.passes + config.scheme.alternate
        for part, heads in grouping.shares(config.heads)
    )


def parameters(config: ModelConfig) -> int:
    """Trainable numbers, exactly as many as the built model has."""
    final_norm, head = 2 * config.features, (config.features + 1) * config.classes
    inner = sum(
        _table_parameters(encoder) + depth * _block_parameters(encoder)
        for encoder, depth in stacks(config)
    )
    if (pooler := config.pooler) is not None:
        dim, (width, back) = pooler.dim, query_maps(config)
        query, maps = dim, 3 * (dim + 1) * width
        if back:  # a scale per channel of a head, the map back, and the norm behind it
            inner += query + maps + width // pooler.heads + (width + 1) * dim + 2 * dim
        else:
            inner += query + maps + 4 * dim + _mlp_parameters(pooler)
    if config.over_time is not None:
        inner += 2 * config.dim  # the norm before it
    if config.text is not None:
        inner += text_parameters(config.text)
    embeddings = _embedding_parameters(config)
    if (fast := config.fast) is not None:
        embeddings += _embedding_parameters(fast)
        norms, maps = 2 * (config.dim + fast.dim), 2 * (config.dim + fast.dim) * fast.dim
        inner += _fusions(config) * (norms + maps + 3 * fast.dim + config.dim)
    return embeddings + inner + final_norm + head


def of_encoder(config: ModelConfig) -> tuple[int, int]:
    """Multiply-adds of one view and parameters of what comes before the pooler and the head."""
    encoder = replace(config, pooler_blocks=0)
    spent = macs(encoder)
    head = (encoder.features + 1) * encoder.classes
    return spent.total - spent.head, parameters(encoder) - head


def comparisons_per_token(config: ModelConfig) -> int:
    """Keys that a patch is compared with in a block, as the paper counts them (section 3.1).

    Each pass counts the patches seen in its group and one class token. The class token counts even
    in the temporal pass, which leaves it out here and in the published code.
    """
    scheme = config.scheme
    return sum(
        part.seen(config.grid) + scheme.has_cls
        for grouping in scheme.passes
        for part in grouping.parts
    )


def mapped(config: ModelConfig, grouping: Grouping) -> int:
    """Tokens that a pass maps to queries, keys and values, and back; copies count."""
    if grouping.second_grouping is not None or grouping.cls == "global":
        return _updated(config, grouping)
    groups, members = grouping.sizes(config.grid)
    return groups * (members + (grouping.cls != "absent"))


def scores_per_head(config: ModelConfig, grouping: Grouping) -> int:
    """Elements of a pass's score matrices for one head."""
    groups, members = grouping.sizes(config.grid)
    keys = grouping.keys(config.grid)
    if grouping.cls == "global":  # a key in every group, a query once
        return groups * members * (keys + 1) + tokens(config)
    classes = grouping.cls != "absent"
    return groups * (members + classes) * (keys + classes)


def encoders(config: ModelConfig) -> list[ModelConfig]:
    """The model's transformers: itself and, where there is one, the second."""
    every = (config, config.over_frames, config.over_time, config.fast)
    return [encoder for encoder in every if encoder is not None]


def stacks(config: ModelConfig) -> list[tuple[ModelConfig, int]]:
    """Every transformer with the number of its blocks; a pooler's last is none, it has one query."""
    rows = [(encoder, encoder.depth) for encoder in encoders(config)]
    return rows if config.pooler is None else [*rows, (config.pooler, config.pooler.depth - 1)]


def text_parameters(text: TextConfig) -> int:
    """Trainable numbers of a text tower."""
    dim, mlp = text.dim, text.mlp_dim
    maps = 4 * (dim**2 + dim) + 2 * dim * mlp + mlp + dim
    return (text.vocabulary + 1) * dim + text.depth * (maps + 4 * dim) + 2 * dim


def query_maps(config: ModelConfig) -> tuple[int, bool]:
    """Channels of a pooler's query over all heads, and whether they are mapped back to a token's."""
    if config.scheme.pooler == "heads":
        return config.mlp_dim // config.heads * config.heads, True
    return config.dim, False


def _fusions(config: ModelConfig) -> int:
    """How often the slow path looks at the fast one."""
    return -(-config.depth // config.scheme.fuse_every)


def _updated(config: ModelConfig, grouping: Grouping) -> int:
    """Tokens that a pass updates."""
    return prod(config.grid) + (config.class_tokens if grouping.cls != "absent" else 0)


def _mlp_macs(config: ModelConfig) -> int:
    """Multiply-adds of an MLP for one token."""
    return config.dim * (config.scheme.activation_inputs + 1) * config.mlp_dim


def _mlp_parameters(config: ModelConfig) -> int:
    return _mlp_macs(config) + config.scheme.activation_inputs * config.mlp_dim + config.dim


def _block_parameters(config: ModelConfig) -> int:
    dim, scheme = config.dim, config.scheme
    norm, linear = 2 * dim, dim**2 + dim
    qkv = 3 * dim**2 + (3 * dim if config.qkv_bias else 0)
    passes = len(scheme.passes)
    bridges = passes - 1 if scheme.bridged else 0
    mlp = _mlp_parameters(config)
    return passes * (norm + qkv + linear) + bridges * linear + norm + mlp


def _table_parameters(config: ModelConfig) -> int:
    """Those of the class token and of the tables of positions."""
    t, h, w = config.grid
    classes = int(config.scheme.has_cls)
    tables = {
        "frame": h * w,
        "time": t,
        "separate": classes + h * w + (t if config.scheme.mixes_time else 0),
        "table": classes + t * h * w,
    }
    return (classes + tables.get(config.positions, 0)) * config.dim


def _embedding_macs(config: ModelConfig) -> int:
    if config.embedding in STEMS:
        return stem_macs(config)
    return prod(config.grid) * config.channels * config.tubelet * config.patch**2 * config.dim


def _embedding_parameters(config: ModelConfig) -> int:
    if config.embedding in STEMS:
        return stem_parameters(config)
    return (config.channels * config.tubelet * config.patch**2 + 1) * config.dim
