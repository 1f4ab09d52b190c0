"""The tensor names of transformers' VideoPrism: with a classifier, as an encoder, with a text tower."""

from dataclasses import replace

from timesformer_cli.weights.layout import HEAD, READOUT, Layout, Theirs


def _block(layer: str, passed: str = "passes.0.", mlp: str = "mlp.") -> dict[str, Theirs]:
    """The names of a block; `passed` and `mlp` are what ours have before the two halves."""
    attention = passed + "attention." if passed else ""
    return {
        f"{passed}norm": f"{layer}.layernorm_before",
        f"{attention}qkv": tuple(f"{layer}.attention.{part}_proj" for part in "qkv"),
        f"{attention}proj": f"{layer}.attention.o_proj",
        "norm" if passed else "mlp_norm": f"{layer}.layernorm_after",
        f"{mlp}fc1": f"{layer}.mlp.fc1",
        f"{mlp}fc2": f"{layer}.mlp.fc2",
    }


def _vision(prefix: str) -> dict[str, str]:
    """Outside the blocks of the encoder."""
    return {
        "patches.proj": f"{prefix}spatial_embeddings.patch_embeddings.projection",
        "positions.table": f"{prefix}spatial_embeddings.position_embeddings",
        "over_time.norm": f"{prefix}layernorm1",
        "over_time.positions.table": f"{prefix}temporal_embeddings.position_embeddings",
        "norm": f"{prefix}layernorm2",
    }


def _readout(prefix: str) -> dict[str, str]:
    """The pooler's query, and the norm behind it."""
    return {
        "pooler.query": f"{prefix}head.pooling_attention_query",
        "pooler.scale": f"{prefix}head.per_dim_scale",
        "pooler.q": f"{prefix}head.q_proj",
        "pooler.k": f"{prefix}head.k_proj",
        "pooler.v": f"{prefix}head.v_proj",
        "pooler.proj": f"{prefix}head.o_proj",
        "pooler.norm": f"{prefix}head_layernorm",
    }


VIDEOPRISM_ENCODER = Layout(
    "videoprism encoder",
    about="a VideoPrism encoder as transformers names it",
    stem=_vision(""),
    block=_block("spatial_layers.{}", "space."),
    further={"over_time": _block("temporal_layers.{}")},
    schemes=frozenset({"videoprism"}),
    typical="videoprism-base",
    lacks=READOUT,
    norms_from_zero=True,
)
VIDEOPRISM = replace(
    VIDEOPRISM_ENCODER,
    name="videoprism",
    about="a VideoPrism as transformers names it",
    stem={**_vision("vision_model."), **_readout(""), "head": "classifier"},
    block=_block("vision_model.spatial_layers.{}", "space."),
    further={"over_time": _block("vision_model.temporal_layers.{}")},
    lacks=(),
)
VIDEOPRISM_WORDS = replace(
    VIDEOPRISM_ENCODER,
    name="videoprism with words",
    about="a VideoPrism with a text tower as transformers names it",
    stem={
        **_vision("video_model.vision_model."),
        **_readout("video_model."),
        "text.tokens": "text_model.embeddings.token_embedding",
        "text.end": "text_model.embeddings.cls_emb",
        "text.norm": "text_model.layernorm",
    },
    block=_block("video_model.vision_model.spatial_layers.{}", "space."),
    further={
        "over_time": _block("video_model.vision_model.temporal_layers.{}"),
        "pooler": _block("video_model.auxiliary_layers.{}"),
        "text": _block("text_model.layers.{}", "", ""),
    },
    # The places of its words are computed.
    dropped=frozenset(
        {"text_model.embeddings.position_embedding", "text_model.embeddings.position_ids"}
    ),
    typical="videoprism-lvt-base",
    lacks=HEAD,
)
VIDEOPRISMS = (VIDEOPRISM, VIDEOPRISM_ENCODER, VIDEOPRISM_WORDS)
