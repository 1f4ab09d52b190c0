"""What `config.json` of a transformers model means: each of its fields, honoured or refused.

A field that is in none of the tables below might change the answer, so it is refused by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import UsageError
from timesformer_cli.weights.layout import ATTENTION_TYPES

NOTHING: Mapping[str, Any] = MappingProxyType({})
SINGLE, MULTIPLE = "single_label_classification", "multi_label_classification"

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
# Fields of every family whose values need more than another name.
TRANSLATED = frozenset(
    "problem_type id2label label2id num_labels frame_sample_rate model_type architectures".split()
)
# Every model has these, and none of them changes a classifier's answer: bookkeeping, training, and
# what text models and text generation need.
WITHOUT_EFFECT = frozenset(
    """
    transformers_version dtype torch_dtype name_or_path initializer_range output_attentions
    output_hidden_states return_dict torchscript use_bfloat16 use_cache gradient_checkpointing
    chunk_size_feed_forward tie_word_embeddings is_encoder_decoder is_decoder add_cross_attention
    cross_attention_hidden_size tie_encoder_decoder tf_legacy_loss finetuning_task
    task_specific_params attn_implementation
    tokenizer_class prefix bos_token_id pad_token_id eos_token_id sep_token_id
    decoder_start_token_id max_length min_length do_sample early_stopping num_beams num_beam_groups
    diversity_penalty temperature top_k top_p typical_p repetition_penalty length_penalty
    no_repeat_ngram_size encoder_no_repeat_ngram_size bad_words_ids num_return_sequences
    output_scores return_dict_in_generate forced_bos_token_id forced_eos_token_id
    remove_invalid_values exponential_decay_length_penalty suppress_tokens begin_suppress_tokens
    """.split()
)
# Why a field is refused, whatever its value.
REFUSED = {
    "auto_map": "its network is code of its own, and code from files is never run",
    "quantization_config": "quantised tensors do not load; take the original model",
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


def _pooler(layers: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """They count the layers before the query's."""
    if type(layers) is not int or layers < 0:
        raise UsageError(f"num_pooler_layers is {layers!r:.80}; it must be 0 or more")
    return {"pooler_blocks": layers + 1}


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
        translated={"crop_size": _square, "mlp_ratio": _mlp_dim, "num_pooler_layers": _pooler},
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
}


def model_config(values: Mapping[str, Any]) -> ModelConfig:
    """The configuration that `config.json` of transformers describes.

    Raises UsageError naming the field that is unknown, or whose value means another network.
    """
    kind = values.get("model_type")
    if kind not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise UsageError(f"model_type is {kind!r}; only models of these types load: {known}")
    family = FAMILIES[kind]
    # In transformers null means the default, except where it is a value of ours.
    given = {name: value for name, value in values.items() if value is not None}
    _require_known(given, family)
    own: dict[str, Any] = dict(family.defaults)
    own |= {ours: given[theirs] for ours, theirs in family.keys.items() if theirs in given}
    said = {**family.assumed, **given}
    for name, translate in family.translated.items():
        if name in said:
            own |= translate(said[name], said)
    return ModelConfig.from_dict(
        {
            **own,
            "multi_label": given.get("problem_type") == MULTIPLE,
            "classes": len(label_names(values)),
        }
    )


def label_names(values: Mapping[str, Any]) -> tuple[str, ...]:
    """`id2label` in the order of the classes; transformers leaves it out for its default of two."""
    table, back = values.get("id2label"), values.get("label2id") or {}
    if not table:
        if (number := values.get("num_labels", 2)) != 2:
            raise UsageError(f"num_labels is {number!r}, and id2label is missing, which names them")
        table = {"0": "LABEL_0", "1": "LABEL_1"}
    if not isinstance(table, Mapping) or set(table) != {str(index) for index in range(len(table))}:
        raise UsageError("id2label does not count from 0")
    if values.get("num_labels") not in (None, len(table)):
        raise UsageError(
            f"num_labels is {values['num_labels']!r}, but id2label names {len(table)} classes"
        )
    names = tuple(str(table[str(index)]) for index in range(len(table)))
    if not isinstance(back, Mapping):
        raise UsageError(f"label2id is {back!r:.80}; it maps names to class numbers")
    for name, index in back.items():
        if name in names and (index not in range(len(names)) or names[index] != name):
            raise UsageError(f"id2label and label2id disagree about class {index!r}, '{name}'")
    return names


def _require_known(given: Mapping[str, Any], family: Family) -> None:
    """Raise UsageError for a field, or a value of one, that means another network than ours."""
    for name, reason in REFUSED.items():
        if name in given:
            raise UsageError(f"{name} is set: {reason}")
    for name, only in family.required.items():
        if (value := given.get(name, only)) != only:
            raise UsageError(f"{name} is {value!r:.80}; only models with {only!r} load")
    made = given.get("architectures", family.architecture)
    if not any(one and one in made for one in (family.architecture, family.encoder)):
        named = ", ".join(map(str, made)) if isinstance(made, list) else repr(made)
        raise UsageError(
            f"architectures is {named}; only a classifier loads: {family.architecture}"
        )
    if given.get("problem_type", SINGLE) not in (SINGLE, MULTIPLE):
        raise UsageError(
            f"problem_type is {given['problem_type']!r}; only classifiers load: {SINGLE} or {MULTIPLE}"
        )
    known = {*family.keys.values(), *family.translated, *TRANSLATED, *WITHOUT_EFFECT}
    known |= {*family.required, *family.unused}
    for name in given:
        # Names with an underscore are transformers' private notes, such as _name_or_path.
        if name not in known and not name.startswith("_"):
            raise UsageError(
                f"{name} is a field that tsf does not know; it may change the answer. If it is only "
                f"a remark of yours, delete it"
            )
