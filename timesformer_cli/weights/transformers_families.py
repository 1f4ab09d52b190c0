"""Each `model_type` of transformers that loads: what its fields mean, and which values they must have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import UsageError
from timesformer_cli.weights.layout import ATTENTION_TYPES

# Our fields to theirs, where the value is the same: in most families.
KEYS = {
    "dim": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "mlp_dim": "intermediate_size",
    "frames": "num_frames",
    "patch": "patch_size",
    "channels": "num_channels",
    "qkv_bias": "qkv_bias",
    "norm_eps": "layer_norm_eps",
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "drop_path": "drop_path_rate",
}
VJEPA2_KEYS = {
    "dim": "hidden_size",
    "depth": "num_hidden_layers",
    "heads": "num_attention_heads",
    "frames": "frames_per_clip",
    "patch": "patch_size",
    "tubelet": "tubelet_size",
    "channels": "in_chans",
    "qkv_bias": "qkv_bias",
    "norm_eps": "layer_norm_eps",
    "attention_dropout": "attention_probs_dropout_prob",
    "drop_path": "drop_path_rate",
}


Translation = Callable[[Any, Mapping[str, Any]], Mapping[str, Any]]


def _sides(image: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    height, width = image if isinstance(image, list) else (image, image)
    return {"height": height, "width": width}


def _tubelet(size: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """VideoMAE's files give the frames of a tubelet; ViViT's give frames, height and width."""
    if not isinstance(size, list):
        return {"tubelet": size}
    frames, height, width = size
    if height != width:
        raise UsageError(f"tubelet_size is {size!r}; only square patches load")
    return {"tubelet": frames, "patch": height}


def _scheme(attention_type: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    schemes = {theirs: ours for ours, theirs in ATTENTION_TYPES.items()}
    if attention_type not in schemes:
        raise UsageError(f"attention_type is {attention_type!r}; there are {', '.join(schemes)}")
    return {"attention": schemes[attention_type]}


def _qkv_bias(qv_bias: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    return {} if "qkv_bias" in given else {"qkv_bias": qv_bias}


def _readout(mean: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    return {"readout": "mean" if mean is True else "first"}


def _mlp_dim(ratio: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    width = given.get("hidden_size", VJEPA2_WIDTH)
    for name, value in (("mlp_ratio", ratio), ("hidden_size", width)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e6:
            raise UsageError(f"{name} is {value!r:.80}; it must be a number above 0")
    return {"mlp_dim": int(width * ratio)}


def _square(side: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    return {"height": side, "width": side}


def _pooler(name: str) -> "Translation":
    """The field of that name counts the layers before the query's."""

    def translate(layers: Any, given: Mapping[str, Any]) -> dict[str, Any]:
        if type(layers) is not int or layers < 0:
            raise UsageError(f"{name} is {layers!r:.80}; it must be 0 or more")
        return {"pooler_blocks": layers + 1}

    return translate


def _videoprism_patch(size: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(size, list) or len(size) != 3 or size[0] != 1 or size[1] != size[2]:
        raise UsageError(f"tubelet_size is {size!r:.80}; only square patches of one frame load")
    return {"patch": size[1]}


VIT_FIELDS: Mapping[str, Translation] = {
    "image_size": _sides,
    "tubelet_size": _tubelet,
    "attention_type": _scheme,
    "qv_bias": _qkv_bias,
    "use_mean_pooling": _readout,
}
VJEPA2_WIDTH = 1024  # where the file does not say


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """How one `model_type` of transformers maps to our configuration."""

    architecture: str  # its class with a classifier
    encoder: str = ""  # its class without one, where such a model can be trained further
    keys: Mapping[str, str] = field(default_factory=lambda: KEYS)  # our fields to theirs
    # Fields that need more than another name: what they and all others given mean in ours.
    translated: Mapping[str, "Translation"] = field(default_factory=lambda: VIT_FIELDS)
    # Our fields where the family's default is not ours.
    defaults: Mapping[str, Any] = field(default_factory=dict)
    # Their fields that mean something where a file leaves them out, too: the value they then have.
    assumed: Mapping[str, Any] = field(default_factory=dict)
    # Their fields that must have this value, because any other means another network.
    required: Mapping[str, Any] = field(default_factory=dict)
    # Their fields that belong to parts which a classifier does not have.
    unused: frozenset[str] = frozenset()
    # Of a model whose classes are words: the entries that describe its towers, and what they mean.
    # The first is the video's, the second the text's.
    towers: "Mapping[str, Family]" = field(default_factory=dict)


_VIDEOPRISM = Family(
    architecture="VideoPrismForVideoClassification",
    encoder="VideoPrismVisionModel",
    keys={
        "dim": "hidden_size",
        "depth": "num_spatial_layers",
        "time_blocks": "num_temporal_layers",
        "heads": "num_attention_heads",
        "mlp_dim": "intermediate_size",
        "frames": "num_frames",
        "channels": "num_channels",
        "norm_eps": "layer_norm_eps",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
    },
    translated={"image_size": _sides, "tubelet_size": _videoprism_patch},
    defaults={
        "attention": "videoprism",
        "frames": 16,
        "height": 288,
        "width": 288,
        "patch": 18,
    },
    required={
        "hidden_act": "gelu_python",
        "num_channels": 3,
        "qkv_bias": True,
        "attn_logit_softcapping": 50,
    },
    unused=frozenset({"num_auxiliary_layers", "apply_l2norm"}),
)
_VIDEOPRISM_VIDEO = replace(
    _VIDEOPRISM,
    architecture="",
    translated={**_VIDEOPRISM.translated, "num_auxiliary_layers": _pooler("num_auxiliary_layers")},
    assumed={"num_auxiliary_layers": 2},
    required={**_VIDEOPRISM.required, "apply_l2norm": True},
    unused=frozenset(),
)
_VIDEOPRISM_TEXT = Family(
    architecture="",
    keys={
        "dim": "hidden_size",
        "depth": "num_hidden_layers",
        "heads": "num_attention_heads",
        "mlp_dim": "intermediate_size",
        "vocabulary": "vocab_size",
        "length": "max_position_embeddings",
        "norm_eps": "layer_norm_eps",
    },
    translated={},
    defaults={
        "dim": 768,
        "depth": 12,
        "heads": 12,
        "mlp_dim": 3072,
        "vocabulary": 32000,
        "length": 64,
    },
    required={
        "hidden_act": "relu",
        "qkv_bias": True,
        "attn_logit_softcapping": 50,
        "apply_l2norm": True,
    },
    unused=frozenset({"hidden_dropout_prob", "attention_probs_dropout_prob"}),
)

FAMILIES = {
    "timesformer": Family(
        architecture="TimesformerForVideoClassification",
        required={"hidden_act": "gelu", "pruned_heads": {}, "num_channels": 3},
    ),
    "vivit": Family(
        architecture="VivitForVideoClassification",
        defaults={"attention": "vivit-1", "frames": 32},
        required={"hidden_act": "gelu_fast", "pruned_heads": {}, "num_channels": 3},
        unused=frozenset({"pooler_output_size", "pooler_act"}),
    ),
    "videomae": Family(
        architecture="VideoMAEForVideoClassification",
        defaults={"attention": "videomae", "frames": 16, "norm_eps": 1e-12},
        required={"hidden_act": "gelu", "pruned_heads": {}, "num_channels": 3},
        unused=frozenset(
            "decoder_num_attention_heads decoder_hidden_size decoder_num_hidden_layers"
            " decoder_intermediate_size norm_pix_loss".split()
        ),
    ),
    "vjepa2": Family(
        architecture="VJEPA2ForVideoClassification",
        encoder="VJEPA2Model",
        keys=VJEPA2_KEYS,
        translated={
            "crop_size": _square,
            "mlp_ratio": _mlp_dim,
            "num_pooler_layers": _pooler("num_pooler_layers"),
        },
        defaults={
            "attention": "vjepa2",
            "dim": VJEPA2_WIDTH,
            "depth": 24,
            "heads": 16,
            "frames": 64,
            "height": 256,
            "width": 256,
        },
        assumed={"mlp_ratio": 4.0},
        required={"hidden_act": "gelu", "in_chans": 3},
        # The predictor's, the dropout of the pooler in training, and those of the published files
        # that transformers does not read.
        unused=frozenset(
            "image_size hidden_dropout_prob use_SiLU wide_SiLU pred_hidden_size pred_num_attention_heads"
            " pred_num_hidden_layers pred_num_mask_tokens pred_zero_init_mask_tokens pred_mlp_ratio"
            " attention_dropout".split()
        ),
    ),
    "videoprism_vision_model": _VIDEOPRISM,
    "videoprism": Family(
        architecture="VideoPrismClipModel",
        keys={},
        translated={},
        towers={"vision_config": _VIDEOPRISM_VIDEO, "text_config": _VIDEOPRISM_TEXT},
    ),
}


def _timesformer_fields(config: ModelConfig) -> dict[str, Any]:
    return {"attention_type": ATTENTION_TYPES[config.attention]}


def _vivit_fields(config: ModelConfig) -> dict[str, Any]:
    return {"tubelet_size": [config.tubelet, config.patch, config.patch]}


def _videomae_fields(config: ModelConfig) -> dict[str, Any]:
    return {
        "tubelet_size": config.tubelet,
        "qv_bias": config.qkv_bias,
        "use_mean_pooling": config.readout == "mean",
    }


# What a folder that we write says in its family's own fields.
OWN_FIELDS: Mapping[str, Callable[[ModelConfig], dict[str, Any]]] = {
    "timesformer": _timesformer_fields,
    "vivit": _vivit_fields,
    "videomae": _videomae_fields,
}
