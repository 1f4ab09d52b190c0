"""How others name the tensors that we have: one table for each code base."""

from collections.abc import Mapping
from dataclasses import dataclass

from timesformer_cli.config import ModelConfig

# Their tensor's name; several that lie one after another in ours; None where ours is zero.
Theirs = str | tuple[str | None, ...]

# The scheme names of the transformers configuration and of the official code.
ATTENTION_TYPES = {
    "divided": "divided_space_time",
    "joint": "joint_space_time",
    "space": "space_only",
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Another code base's names. `stem` names whole-model modules, `block` those of block `{}`.

    `time` and `space` stand for the two attention passes. A name that ends in `_` runs on into
    `weight` or `bias`. `dropped` are tensors that hold nothing learned. `schemes` are those that
    the code base has; `patch` is how it lays out a patch's pixels, where not as we do.
    """

    name: str
    stem: Mapping[str, str]
    block: Mapping[str, Theirs]
    schemes: frozenset[str] = frozenset(ATTENTION_TYPES)
    dropped: frozenset[str] = frozenset()
    patch: str = "c p q"

    def has(self, config: ModelConfig) -> bool:
        """Whether the code base has such a model."""
        tubelet = config.scheme.tubelet
        return (
            config.attention in self.schemes
            and config.embedding == "linear"
            and config.tubelet == tubelet
        )

    def names(self, config: ModelConfig) -> dict[str, Theirs]:
        """Our module names to theirs, for a model of this configuration."""
        # The space pass is the last of either scheme, the time pass comes before it.
        passes = {"space": f"passes.{len(config.scheme.passes) - 1}", "time": "passes.0"}
        named: dict[str, Theirs] = dict(self.stem)
        for number in range(config.depth):
            for ours, theirs in self.block.items():
                role, _, rest = ours.partition(".")
                if role == "time" and len(config.scheme.passes) == 1:
                    continue
                ours = f"{passes[role]}.{rest}" if role in passes else ours
                named[f"blocks.{number}.{ours}"] = _numbered(theirs, number)
        return named

    def tensors(self, ours: str, leaf: str = "") -> tuple[str, ...]:
        """Their names of a tensor of the whole model or of its first block."""
        theirs = join(_numbered(self.stem.get(ours) or self.block[ours], 0), leaf)
        return tuple(name for name in as_parts(theirs) if name is not None)


def as_parts(theirs: Theirs) -> tuple[str | None, ...]:
    """Their tensors that make up one of ours, one after another."""
    return (theirs,) if isinstance(theirs, str) else theirs


def join(theirs: Theirs, leaf: str) -> Theirs:
    """The names of a module's weight or bias."""
    if not isinstance(theirs, str):
        return tuple(name and str(join(name, leaf)) for name in theirs)
    return theirs + leaf if theirs.endswith("_") or not leaf else f"{theirs}.{leaf}"


def _numbered(theirs: Theirs, number: int) -> Theirs:
    if isinstance(theirs, str):
        return theirs.format(number)
    return tuple(name and name.format(number) for name in theirs)


TRANSFORMERS = Layout(
    "transformers",
    stem={
        "cls": "timesformer.embeddings.cls_token",
        "positions.space": "timesformer.embeddings.position_embeddings",
        "positions.time": "timesformer.embeddings.time_embeddings",
        "patches.proj": "timesformer.embeddings.patch_embeddings.projection",
        "norm": "timesformer.layernorm",
        "head": "classifier",
    },
    block={
        "time.norm": "timesformer.encoder.layer.{}.temporal_layernorm",
        "time.attention.qkv": "timesformer.encoder.layer.{}.temporal_attention.attention.qkv",
        "time.attention.proj": "timesformer.encoder.layer.{}.temporal_attention.output.dense",
        "time.fc": "timesformer.encoder.layer.{}.temporal_dense",
        "space.norm": "timesformer.encoder.layer.{}.layernorm_before",
        "space.attention.qkv": "timesformer.encoder.layer.{}.attention.attention.qkv",
        "space.attention.proj": "timesformer.encoder.layer.{}.attention.output.dense",
        "norm": "timesformer.encoder.layer.{}.layernorm_after",
        "mlp.fc1": "timesformer.encoder.layer.{}.intermediate.dense",
        "mlp.fc2": "timesformer.encoder.layer.{}.output.dense",
    },
)

OFFICIAL = Layout(
    "official",
    stem={
        "cls": "cls_token",
        "positions.space": "pos_embed",
        "positions.time": "time_embed",
        "patches.proj": "patch_embed.proj",
        "norm": "norm",
        "head": "head",
    },
    block={
        "time.norm": "blocks.{}.temporal_norm1",
        "time.attention.qkv": "blocks.{}.temporal_attn.qkv",
        "time.attention.proj": "blocks.{}.temporal_attn.proj",
        "time.fc": "blocks.{}.temporal_fc",
        "space.norm": "blocks.{}.norm1",
        "space.attention.qkv": "blocks.{}.attn.qkv",
        "space.attention.proj": "blocks.{}.attn.proj",
        "norm": "blocks.{}.norm2",
        "mlp.fc1": "blocks.{}.mlp.fc1",
        "mlp.fc2": "blocks.{}.mlp.fc2",
    },
)

_MMACTION2_STEM = {
    "cls": "backbone.cls_token",
    "positions.space": "backbone.pos_embed",
    "positions.time": "backbone.time_embed",
    "patches.proj": "backbone.patch_embed.projection",
    "norm": "backbone.norm",
    "head": "cls_head.fc_cls",
}
_MMACTION2_MLP = {
    "mlp.fc1": "backbone.transformer_layers.layers.{}.ffns.0.layers.0.0",
    "mlp.fc2": "backbone.transformer_layers.layers.{}.ffns.0.layers.1",
}

# Divided attention keeps its norms inside the passes there, the other two schemes beside them.
MMACTION2_DIVIDED = Layout(
    "mmaction2 divided",
    stem=_MMACTION2_STEM,
    block={
        "time.norm": "backbone.transformer_layers.layers.{}.attentions.0.norm",
        "time.attention.qkv": "backbone.transformer_layers.layers.{}.attentions.0.attn.in_proj_",
        "time.attention.proj": "backbone.transformer_layers.layers.{}.attentions.0.attn.out_proj",
        "time.fc": "backbone.transformer_layers.layers.{}.attentions.0.temporal_fc",
        "space.norm": "backbone.transformer_layers.layers.{}.attentions.1.norm",
        "space.attention.qkv": "backbone.transformer_layers.layers.{}.attentions.1.attn.in_proj_",
        "space.attention.proj": "backbone.transformer_layers.layers.{}.attentions.1.attn.out_proj",
        "norm": "backbone.transformer_layers.layers.{}.ffns.0.norm",
        **_MMACTION2_MLP,
    },
)
MMACTION2 = Layout(
    "mmaction2",
    stem=_MMACTION2_STEM,
    block={
        "space.norm": "backbone.transformer_layers.layers.{}.norms.0",
        "space.attention.qkv": "backbone.transformer_layers.layers.{}.attentions.0.attn.in_proj_",
        "space.attention.proj": "backbone.transformer_layers.layers.{}.attentions.0.attn.out_proj",
        "norm": "backbone.transformer_layers.layers.{}.norms.1",
        **_MMACTION2_MLP,
    },
)
