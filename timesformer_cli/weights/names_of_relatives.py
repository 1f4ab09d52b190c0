"""The names of ViViT, VideoMAE and lucidrains' TimeSformer."""

from timesformer_cli.weights.names import Layout, Theirs


def _vit(prefix: str) -> dict[str, Theirs]:
    """A block as transformers names it in its plain video transformers."""
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
)
# Its keys have no bias, and need none: it would raise all of a query's scores alike.
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
)


def _lucidrains(name: str, inner: str) -> Layout:
    """Each part of a block lies in as many wrappers as it has steps before it."""
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
