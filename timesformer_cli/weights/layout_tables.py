"""The tensor names of each code base that we load, and how to tell which one wrote a file."""

from collections.abc import Iterable
from dataclasses import replace

from timesformer_cli.errors import WeightsError
from timesformer_cli.weights.layout import Layout, Theirs

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
# In mmaction2, divided attention has its norms inside the passes; the other two schemes have them
# beside the passes. Hence two layouts.
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
    typical="mmaction2-divided-k400",
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
    typical="mmaction2-divided-k400",
)


def _vit(prefix: str) -> dict[str, Theirs]:
    """The names of a block in the ViViT and VideoMAE of transformers."""
    layer = f"{prefix}.encoder.layer.{{}}"
    attention = f"{layer}.attention.attention"
    return {
        "space.norm": f"{layer}.layernorm_before",
        "space.attention.qkv": tuple(f"{attention}.{part}" for part in ("query", "key", "value")),
        "space.attention.proj": f"{layer}.attention.output.dense",
        "norm": f"{layer}.layernorm_after",
        "mlp.fc1": f"{layer}.intermediate.dense",
        "mlp.fc2": f"{layer}.output.dense",
    }


VIVIT = Layout(
    "vivit",
    stem={
        "cls": "vivit.embeddings.cls_token",
        "positions.table": "vivit.embeddings.position_embeddings",
        "patches.proj": "vivit.embeddings.patch_embeddings.projection",
        "norm": "vivit.layernorm",
        "head": "classifier",
    },
    block=_vit("vivit"),
    schemes=frozenset({"vivit-1"}),
    any_tubelet=True,
    typical="vivit-k400",
)
# VideoMAE's keys have no bias. A zero does instead: a bias would add the same number to all scores
# of a query, and softmax ignores that.
VIDEOMAE = Layout(
    "videomae",
    stem={
        "patches.proj": "videomae.embeddings.patch_embeddings.projection",
        "norm": "fc_norm",
        "head": "classifier",
    },
    block={
        **_vit("videomae"),
        "space.attention.qkv.bias": (
            "videomae.encoder.layer.{}.attention.attention.q_bias",
            None,
            "videomae.encoder.layer.{}.attention.attention.v_bias",
        ),
    },
    schemes=frozenset({"videomae"}),
    any_tubelet=True,
    typical="videomae-base-k400",
)
# Without mean pooling, which is how the plain encoder is fine-tuned, the norm is the encoder's own.
VIDEOMAE_FIRST = replace(
    VIDEOMAE,
    name="videomae without mean pooling",
    stem={**VIDEOMAE.stem, "norm": "videomae.layernorm"},
    readout="first",
)


def _lucidrains(name: str, inner: str) -> Layout:
    """The names of lucidrains' code; `inner` is the path through the wrappers around a part.

    Each part is wrapped in its norm (`fn`), and with token shift once more (`fn.fn`).
    """
    return Layout(
        name,
        stem={
            "cls": "cls_token",
            "positions.table": "pos_emb.weight",
            "patches.proj": "to_patch_embedding",
            "norm": "to_out.0",
            "head": "to_out.1",
        },
        block={
            "time.norm": "layers.{}.0.norm",
            "time.attention.qkv": f"layers.{{}}.0.{inner}.to_qkv",
            "time.attention.proj": f"layers.{{}}.0.{inner}.to_out.0",
            "space.norm": "layers.{}.1.norm",
            "space.attention.qkv": f"layers.{{}}.1.{inner}.to_qkv",
            "space.attention.proj": f"layers.{{}}.1.{inner}.to_out.0",
            "norm": "layers.{}.2.norm",
            "mlp.fc1": f"layers.{{}}.2.{inner}.net.0",
            "mlp.fc2": f"layers.{{}}.2.{inner}.net.3",
        },
        schemes=frozenset({"lucidrains"}),
        dropped=frozenset({"frame_rot_emb.inv_freqs", "image_rot_emb.scales"}),
        patch="p q c",
    )


LUCIDRAINS = _lucidrains("lucidrains", "fn")
LUCIDRAINS_SHIFT = _lucidrains("lucidrains with token shift", "fn.fn")

# timm is missing here on purpose: its ViT has the names of the official layout without time.
LAYOUTS = (
    TRANSFORMERS,
    OFFICIAL,
    MMACTION2_DIVIDED,
    MMACTION2,
    VIVIT,
    VIDEOMAE,
    VIDEOMAE_FIRST,
    LUCIDRAINS,
    LUCIDRAINS_SHIFT,
)


def detect(names: Iterable[str]) -> Layout | None:
    """Return the layout in which a checkpoint is written, judged by its keys; None is our own.

    It is the layout that knows most of the keys. A file that lacks one tensor is still recognised,
    so the user is told which one. Raises WeightsError for keys of no known layout.
    """
    names = set(names)
    if any(".passes." in name for name in names):
        return None

    def known(layout: Layout) -> int:
        modules = layout.stem.keys() | layout.block.keys()
        every = {
            name for ours in modules for leaf in _LEAVES for name in layout.tensors(ours, leaf)
        }
        return len(every & names)

    best = max(LAYOUTS, key=known)
    if not known(best):
        shown = ", ".join(sorted(names)[:3]) or "none at all"
        raise WeightsError(
            f"its tensors are those of no TimeSformer layout we know (keys: {shown})"
        )
    return best


_LEAVES = ("", "weight", "bias")
