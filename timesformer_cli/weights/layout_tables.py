"""The tensor names of each code base that we load, and how to tell which one wrote a file."""

from collections.abc import Mapping
from dataclasses import replace

from timesformer_cli.weights.layout import READOUT, Layout, Theirs, as_parts
from timesformer_cli.weights.layout_videoprism import VIDEOPRISMS

TRANSFORMERS = Layout(
    "transformers",
    about="a TimeSformer as transformers names it",
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
    about="a TimeSformer as the official code names it",
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
    about="a TimeSformer as mmaction2 names it",
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
    schemes=frozenset({"divided"}),
    typical="mmaction2-divided-k400",
)
MMACTION2 = Layout(
    "mmaction2",
    about="a TimeSformer as mmaction2 names it",
    stem=_MMACTION2_STEM,
    block={
        "space.norm": "backbone.transformer_layers.layers.{}.norms.0",
        "space.attention.qkv": "backbone.transformer_layers.layers.{}.attentions.0.attn.in_proj_",
        "space.attention.proj": "backbone.transformer_layers.layers.{}.attentions.0.attn.out_proj",
        "norm": "backbone.transformer_layers.layers.{}.norms.1",
        **_MMACTION2_MLP,
    },
    schemes=frozenset({"joint", "space"}),
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
    about="a ViViT as transformers names it",
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
# transformers 5 names a ViViT in memory otherwise than in the files that it writes.
VIVIT_IN_MEMORY = replace(
    VIVIT,
    name="vivit of transformers 5",
    block={
        "space.norm": "vivit.layers.{}.layernorm_before",
        "space.attention.qkv": tuple(f"vivit.layers.{{}}.attention.{part}_proj" for part in "qkv"),
        "space.attention.proj": "vivit.layers.{}.attention.o_proj",
        "norm": "vivit.layers.{}.layernorm_after",
        "mlp.fc1": "vivit.layers.{}.mlp.fc1",
        "mlp.fc2": "vivit.layers.{}.mlp.fc2",
    },
)
# VideoMAE's keys have no bias. A zero does instead, also where a file has one: it adds the same
# number to all scores of a query, and softmax ignores that.
_VIDEOMAE_ATTENTION = "videomae.encoder.layer.{}.attention.attention"
VIDEOMAE = Layout(
    "videomae",
    about="a VideoMAE as transformers names it",
    stem={
        "patches.proj": "videomae.embeddings.patch_embeddings.projection",
        "norm": "fc_norm",
        "head": "classifier",
    },
    block={
        **_vit("videomae"),
        "space.attention.qkv.bias": (
            f"{_VIDEOMAE_ATTENTION}.q_bias",
            None,
            f"{_VIDEOMAE_ATTENTION}.v_bias",
        ),
    },
    schemes=frozenset({"videomae"}),
    any_tubelet=True,
    dropped=frozenset({f"{_VIDEOMAE_ATTENTION}.key.bias"}),
    typical="videomae-base-k400",
)
VIDEOMAE_IN_MEMORY = replace(
    VIDEOMAE,
    name="videomae of transformers 5",
    block={
        **VIDEOMAE.block,
        "space.attention.qkv.bias": (
            f"{_VIDEOMAE_ATTENTION}.query.bias",
            None,
            f"{_VIDEOMAE_ATTENTION}.value.bias",
        ),
    },
)
# The official code keeps q, k and v in one matrix, and the places of its patches are computed.
VIDEOMAE_OFFICIAL = Layout(
    "official videomae",
    about="a VideoMAE as the official code names it",
    stem={"patches.proj": "patch_embed.proj", "norm": "fc_norm", "head": "head"},
    block={
        **{ours: theirs for ours, theirs in OFFICIAL.block.items() if "time" not in ours},
        "space.attention.qkv.bias": ("blocks.{}.attn.q_bias", None, "blocks.{}.attn.v_bias"),
    },
    schemes=frozenset({"videomae"}),
    any_tubelet=True,
    typical="videomae-base-k400",
)


def _first(layout: Layout, norm: str) -> Layout:
    """The same without mean pooling, as the plain encoder is fine-tuned: the encoder's own norm."""
    stem = {**layout.stem, "norm": norm}
    return replace(layout, name=f"{layout.name}, without mean pooling", stem=stem, readout="first")


VIDEOMAE_FIRST = _first(VIDEOMAE, "videomae.layernorm")
VIDEOMAE_FIRST_IN_MEMORY = _first(VIDEOMAE_IN_MEMORY, "videomae.layernorm")
VIDEOMAE_FIRST_OFFICIAL = _first(VIDEOMAE_OFFICIAL, "norm")
VIDEOMAES = (
    VIDEOMAE,
    VIDEOMAE_IN_MEMORY,
    VIDEOMAE_OFFICIAL,
    VIDEOMAE_FIRST,
    VIDEOMAE_FIRST_IN_MEMORY,
    VIDEOMAE_FIRST_OFFICIAL,
)


_VJEPA2_BLOCK: dict[str, Theirs] = {
    "space.norm": "encoder.layer.{}.norm1",
    "space.attention.qkv": tuple(
        f"encoder.layer.{{}}.attention.{part}" for part in ("query", "key", "value")
    ),
    "space.attention.proj": "encoder.layer.{}.attention.proj",
    "norm": "encoder.layer.{}.norm2",
    "mlp.fc1": "encoder.layer.{}.mlp.fc1",
    "mlp.fc2": "encoder.layer.{}.mlp.fc2",
}
# The predictor only trains the encoder. Its blocks have the encoder's names.
_VJEPA2_PREDICTOR = frozenset(
    {
        "predictor.embeddings.mask_tokens",
        *(
            f"predictor.{module}.{leaf}"
            for leaf in ("weight", "bias")
            for module in (
                "embeddings.predictor_embeddings",
                "layernorm",
                "proj",
                *(
                    name.removeprefix("encoder.")
                    for theirs in _VJEPA2_BLOCK.values()
                    for name in as_parts(theirs)
                    if name is not None
                ),
            )
        ),
    }
)
VJEPA2_ENCODER = Layout(
    "vjepa2 encoder",
    about="a V-JEPA 2 encoder as transformers names it",
    stem={"patches.proj": "encoder.embeddings.patch_embeddings.proj", "norm": "encoder.layernorm"},
    block=_VJEPA2_BLOCK,
    schemes=frozenset({"vjepa2"}),
    any_tubelet=True,
    typical="vjepa2-large-ssv2",
    left=_VJEPA2_PREDICTOR,
    lacks=READOUT,
)


def _within(prefix: str, theirs: Theirs) -> Theirs:
    if isinstance(theirs, str):
        return prefix + theirs
    return tuple(name and prefix + name for name in theirs)


_QUERY, _LAYER = "pooler.cross_attention_layer", "pooler.self_attention_layers.{}"
VJEPA2 = replace(
    VJEPA2_ENCODER,
    name="vjepa2",
    about="a V-JEPA 2 as transformers names it",
    stem={
        **{ours: f"vjepa2.{theirs}" for ours, theirs in VJEPA2_ENCODER.stem.items()},
        "pooler.query": "pooler.query_tokens",
        "pooler.norm": f"{_QUERY}.layer_norm1",
        "pooler.q": f"{_QUERY}.cross_attn.q_proj",
        "pooler.k": f"{_QUERY}.cross_attn.k_proj",
        "pooler.v": f"{_QUERY}.cross_attn.v_proj",
        "pooler.mlp_norm": f"{_QUERY}.layer_norm2",
        "pooler.mlp.fc1": f"{_QUERY}.mlp.fc1",
        "pooler.mlp.fc2": f"{_QUERY}.mlp.fc2",
        "head": "classifier",
    },
    block={ours: _within("vjepa2.", theirs) for ours, theirs in _VJEPA2_BLOCK.items()},
    further={
        "pooler": {
            "passes.0.norm": f"{_LAYER}.layer_norm1",
            "passes.0.attention.qkv": tuple(f"{_LAYER}.self_attn.{part}_proj" for part in "qkv"),
            "passes.0.attention.proj": f"{_LAYER}.self_attn.out_proj",
            "norm": f"{_LAYER}.layer_norm2",
            "mlp.fc1": f"{_LAYER}.mlp.fc1",
            "mlp.fc2": f"{_LAYER}.mlp.fc2",
        }
    },
    left=frozenset(f"vjepa2.{name}" for name in _VJEPA2_PREDICTOR),
    lacks=(),
)


def _lucidrains(name: str, inner: str) -> Layout:
    """The names of lucidrains' code; `inner` is the path through the wrappers around a part.

    Each part is wrapped in its norm (`fn`), and with token shift once more (`fn.fn`).
    """
    return Layout(
        name,
        about="a TimeSformer as lucidrains' code names it",
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
    VIVIT_IN_MEMORY,
    *VIDEOMAES,
    VJEPA2,
    VJEPA2_ENCODER,
    *VIDEOPRISMS,
    LUCIDRAINS,
    LUCIDRAINS_SHIFT,
)


def _by_name() -> Mapping[str, tuple[Layout, ...]]:
    table: dict[str, tuple[Layout, ...]] = {}
    for layout in LAYOUTS:
        for name in layout.known():
            table[name] = (*table.get(name, ()), layout)
    return table


# Which layouts know a tensor's name; a block's number stands as `{}`.
BY_NAME = _by_name()
