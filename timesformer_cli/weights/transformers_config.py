"""What `config.json` of a transformers model means: each of its fields, honoured or refused.

A field that is in none of the tables below might change the answer, so it is refused by name.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import UsageError
from timesformer_cli.weights.transformers_families import FAMILIES, Family

NOTHING: Mapping[str, Any] = MappingProxyType({})
SINGLE, MULTIPLE = "single_label_classification", "multi_label_classification"
THRESHOLDS = "class_thresholds"  # ours: the score from which a clip has each class

# Fields of every family whose values need more than another name.
TRANSLATED = frozenset(
    """
    problem_type id2label label2id num_labels frame_sample_rate class_thresholds model_type
    architectures
    """.split()
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
    given = _without_null(values)
    _require_known(given, {*family.towers}, family)
    if not family.towers:
        own = {
            **_own_fields(given, family),
            "multi_label": given.get("problem_type") == MULTIPLE,
            "thresholds": given.get(THRESHOLDS, ()),
            "classes": len(label_names(values)),
        }
        return ModelConfig.from_dict(own)
    video, text = (_tower(given, entry, family.towers[entry]) for entry in family.towers)
    return ModelConfig.from_dict({**video, "text": text, "classes": 0})


def _tower(given: Mapping[str, Any], entry: str, family: Family) -> dict[str, Any]:
    """Our fields of a tower that an entry of the file describes."""
    values = given.get(entry, {})
    if not isinstance(values, Mapping):
        raise UsageError(f"{entry} is {values!r:.80}; it must be an object")
    try:
        _require_known(_without_null(values), set(), family)
        return _own_fields(_without_null(values), family)
    except UsageError as error:
        raise UsageError(f"{entry}: {error}") from error


def _without_null(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _own_fields(given: Mapping[str, Any], family: Family) -> dict[str, Any]:
    """Our fields that a family's file gives."""
    own: dict[str, Any] = dict(family.defaults)
    own |= {ours: given[theirs] for ours, theirs in family.keys.items() if theirs in given}
    said = {**family.assumed, **given}
    for name, translate in family.translated.items():
        if name in said:
            own |= translate(said[name], said)
    return own


def label_names(values: Mapping[str, Any]) -> tuple[str, ...]:
    """`id2label` in the order of the classes; transformers leaves it out for its default of two.

    A model whose classes are words names none.
    """
    family = FAMILIES.get(str(values.get("model_type")))
    if family is not None and family.towers:
        return ()
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


def _require_known(given: Mapping[str, Any], more: set[str], family: Family) -> None:
    """Raise UsageError for a field, or a value of one, that means another network than ours.

    `more` are fields that are read apart.
    """
    for name, reason in REFUSED.items():
        if name in given:
            raise UsageError(f"{name} is set: {reason}")
    for name, only in family.required.items():
        if (value := given.get(name, only)) != only:
            raise UsageError(f"{name} is {value!r:.80}; only models with {only!r} load")
    made = given.get("architectures", family.architecture)
    classes = (family.architecture, family.encoder)
    if family.architecture and not any(one and one in made for one in classes):
        named = ", ".join(map(str, made)) if isinstance(made, list) else repr(made)
        raise UsageError(
            f"architectures is {named}; only a classifier loads: {family.architecture}"
        )
    if given.get("problem_type", SINGLE) not in (SINGLE, MULTIPLE):
        raise UsageError(
            f"problem_type is {given['problem_type']!r}; only classifiers load: {SINGLE} or {MULTIPLE}"
        )
    known = {*family.keys.values(), *family.translated, *TRANSLATED, *WITHOUT_EFFECT}
    known |= {*family.required, *family.unused, *more}
    for name in given:
        # Names with an underscore are transformers' private notes, such as _name_or_path.
        if name not in known and not name.startswith("_"):
            raise UsageError(
                f"{name} is a field that tsf does not know; it may change the answer. If it is only "
                f"a remark of yours, delete it"
            )
