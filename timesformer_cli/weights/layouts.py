"""Foreign checkpoints as key maps: how others name the tensors that we have."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import WeightsError
from timesformer_cli.schemes import SCHEMES

Shapes = Mapping[str, tuple[int, ...]]

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
    `weight` or `bias`.
    """

    name: str
    stem: Mapping[str, str]
    block: Mapping[str, str]

    def names(self, config: ModelConfig) -> dict[str, str]:
        """Our module names to theirs, for a model of this configuration."""
        # The space pass is the last of either scheme, the time pass comes before it.
        passes = {"space": f"passes.{len(config.scheme.passes) - 1}", "time": "passes.0"}
        named = dict(self.stem)
        for number in range(config.depth):
            for ours, theirs in self.block.items():
                role, _, rest = ours.partition(".")
                if role == "time" and len(config.scheme.passes) == 1:
                    continue
                ours = f"{passes[role]}.{rest}" if role in passes else ours
                named[f"blocks.{number}.{ours}"] = theirs.format(number)
        return named

    def tensor(self, ours: str, leaf: str = "") -> str:
        """Their name of a tensor of the whole model or of its first block."""
        return _join((self.stem.get(ours) or self.block[ours]).format(0), leaf)


def _join(module: str, leaf: str) -> str:
    return module + leaf if module.endswith("_") or not leaf else f"{module}.{leaf}"


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

# A timm ViT is a space-only model in the official layout: the same names, without the video ones.
LAYOUTS = (TRANSFORMERS, OFFICIAL, MMACTION2_DIVIDED, MMACTION2)


def expressible(config: ModelConfig) -> bool:
    """Whether the foreign layouts, which know linear patches of one frame, can say this model."""
    return (
        config.attention in ATTENTION_TYPES and config.embedding == "linear" and config.tubelet == 1
    )


def translate(ours: Iterable[str], layout: Layout | None, config: ModelConfig) -> dict[str, str]:
    """Our tensor names to theirs; None is our own layout.

    Raises WeightsError where the layout has no names for such a model.
    """
    if layout is None:
        return {name: name for name in ours}
    modules = layout.names(config)
    translated = {}
    for name in ours:
        module, _, leaf = name.rpartition(".")
        if not expressible(config) or not modules.keys() & {name, module}:
            raise WeightsError(
                f"its tensors are named as {layout.name} does, which has no such model: "
                f"{config.attention} attention, {config.embedding} patches"
            )
        translated[name] = modules[name] if name in modules else _join(modules[module], leaf)
    return translated


def detect(names: Iterable[str]) -> Layout | None:
    """The layout a checkpoint is written in, by its keys; None is our own.

    The one that knows most of them, so that a key too few is told as that and no more. Raises
    WeightsError for keys of no known layout.
    """
    names = set(names)
    if "cls" in names and "positions.space" in names:
        return None

    def known(layout: Layout) -> int:
        modules = layout.stem.keys() | layout.block.keys()
        return len({layout.tensor(ours, leaf) for ours in modules for leaf in _LEAVES} & names)

    best = max(LAYOUTS, key=known)
    if not known(best):
        shown = ", ".join(sorted(names)[:3]) or "none at all"
        raise WeightsError(
            f"its tensors are those of no TimeSformer layout we know (keys: {shown})"
        )
    return best


_LEAVES = ("", "weight", "bias")


def infer_config(shapes: Shapes, layout: Layout) -> ModelConfig:
    """The configuration that tensors of these names and shapes belong to.

    The scheme follows from the keys (temporal attention: divided; time positions only: joint;
    neither: space), heads are 64 wide, pictures square. Raises WeightsError where that fails.
    """

    def shape(ours: str, leaf: str = "") -> tuple[int, ...]:
        name = layout.tensor(ours, leaf)
        if name not in shapes:
            raise WeightsError(f"it has no tensor '{name}', which the {layout.name} layout needs")
        return shapes[name]

    has_time_pass = "time.attention.qkv" in layout.block and (
        layout.tensor("time.attention.qkv", "weight") in shapes
    )
    has_time_table = layout.tensor("positions.time") in shapes
    attention = "divided" if has_time_pass else "joint" if has_time_table else "space"
    numbered = re.compile(re.escape(layout.block["norm"]).replace(r"\{\}", r"(\d+)") + r"\.weight")
    blocks = {int(match[1]) for name in shapes if (match := numbered.fullmatch(name))}
    kernel = shape("patches.proj", "weight")
    table = shape("positions.space")
    try:
        dim, channels, *_, patch = kernel
        side = round((table[1] - 1) ** 0.5)
        if side**2 != table[1] - 1 or len(kernel) != 4 or dim % 64 or not blocks:
            raise ValueError
        frames = shape("positions.time")[1] if SCHEMES[attention].sees_time else 8
        return ModelConfig(
            attention=attention,
            dim=dim,
            depth=max(blocks) + 1,
            heads=dim // 64,
            mlp_dim=shape("mlp.fc1", "weight")[0],
            frames=frames,
            height=side * patch,
            width=side * patch,
            patch=patch,
            channels=channels,
            classes=shape("head", "weight")[0],
            qkv_bias=layout.tensor("space.attention.qkv", "bias") in shapes,
        )
    except (IndexError, ValueError) as error:
        raise WeightsError(
            f"no TimeSformer of heads 64 wide and square pictures has tensors of these shapes "
            f"(patch kernel {kernel}, positions {table}, {len(blocks)} blocks); "
            f"give a folder with its config.json instead"
        ) from error
