"""A hub-style folder's JSON files, read and written: what the model is, without its tensors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.weights.layouts import ATTENTION_TYPES, expressible

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
MODEL_TYPE = "tsf"
LARGEST_JSON = 16 * 2**20
BILINEAR = 2

# transformers' configuration keys for ours; sizes and the scheme's name need more than a new name.
_KEYS = {
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """What using a model takes; empty or None where the files are silent."""

    config: ModelConfig
    labels: tuple[str, ...] = ()
    sampling: Sampling | None = None
    preprocessing: Preprocessing | None = None


def read_description(folder: Path) -> Description:
    """Read `config.json` and, where there is one, `preprocessor_config.json`.

    Raises WeightsError naming the file and the field.
    """
    path = folder / "config.json"
    values = _read_json(path)
    try:
        labels = _labels(values)
        config = _config(values, len(labels))
        rate = values.get("frame_sample_rate", 0)
        if rate is not None and (not isinstance(rate, int) or rate < 0):
            raise ValueError(f"frame_sample_rate is {rate!r}")
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise WeightsError(f"{path}: {reason}") from error
    sampling = None if rate == 0 else Sampling(frames=config.frames, stride=rate)
    preprocessing = None
    if (path := folder / "preprocessor_config.json").exists():
        try:
            preprocessing = _preprocessing(_read_json(path))
            config.grid_of(config.frames, *preprocessing.crop)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise WeightsError(f"{path}: {reason}") from error
    return Description(config=config, labels=labels, sampling=sampling, preprocessing=preprocessing)


def describe(description: Description) -> dict[str, dict[str, Any]]:
    """The folder's JSON files by name; transformers reads them too where it knows the model."""
    config = description.config
    sampling, preprocessing = description.sampling, description.preprocessing
    assert sampling is not None
    assert preprocessing is not None
    values: dict[str, Any]
    if expressible(config):
        values = {
            "architectures": ["TimesformerForVideoClassification"],
            "model_type": "timesformer",
            "attention_type": ATTENTION_TYPES[config.attention],
            "hidden_act": "gelu",
            "image_size": config.height
            if config.height == config.width
            else [config.height, config.width],
            **{_KEYS[name]: value for name, value in config.to_dict().items() if name in _KEYS},
            # A rate of training, not of the weights; transformers' type for it admits 0 only.
            _KEYS["drop_path"]: 0,
        }
    else:
        values = {"model_type": MODEL_TYPE, MODEL_TYPE: config.to_dict()}
    values["frame_sample_rate"] = sampling.stride
    values["id2label"] = {str(index): label for index, label in enumerate(description.labels)}
    values["label2id"] = {label: index for index, label in enumerate(description.labels)}
    height, width = preprocessing.crop
    return {
        "config.json": values,
        "preprocessor_config.json": {
            "image_processor_type": "VideoMAEImageProcessor",
            "do_resize": True,
            "size": {"shortest_edge": preprocessing.short_side},
            "resample": BILINEAR,
            "do_center_crop": True,
            "crop_size": {"height": height, "width": width},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(preprocessing.mean),
            "image_std": list(preprocessing.std),
        },
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise WeightsError(f"{path}: {path.stat().st_size:,} bytes are too many for it")
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(
            f"{path.parent}: no {path.name} in it, so it is not a model folder"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{path}: not a JSON object")
    return values


def _config(values: Mapping[str, Any], classes: int) -> ModelConfig:
    kind = values.get("model_type")
    if kind == MODEL_TYPE:
        return ModelConfig.from_dict(values[MODEL_TYPE])
    if kind != "timesformer":
        raise UsageError(f"model_type is {kind!r}; only 'timesformer' models load")
    if values.get("hidden_act", "gelu") != "gelu":
        raise UsageError(f"hidden_act is {values['hidden_act']!r}; published models use 'gelu'")
    schemes = {theirs: ours for ours, theirs in ATTENTION_TYPES.items()}
    given = {ours: values[theirs] for ours, theirs in _KEYS.items() if theirs in values}
    if "attention_type" in values:
        scheme = values["attention_type"]
        if scheme not in schemes:
            raise UsageError(f"attention_type is {scheme!r}; there are {', '.join(schemes)}")
        given["attention"] = schemes[scheme]
    if "image_size" in values:
        image = values["image_size"]
        given["height"], given["width"] = image if isinstance(image, list) else (image, image)
    return ModelConfig.from_dict({**given, "classes": classes})


def _labels(values: Mapping[str, Any]) -> tuple[str, ...]:
    """`id2label` in index order; transformers leaves it out for its default of two classes."""
    table = values.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    if not isinstance(table, Mapping) or set(table) != {str(index) for index in range(len(table))}:
        raise UsageError("id2label does not count from 0")
    return tuple(str(table[str(index)]) for index in range(len(table)))


def _preprocessing(values: Mapping[str, Any]) -> Preprocessing:
    size, crop = values["size"], values.get("crop_size")
    short = size if isinstance(size, int) else size.get("shortest_edge", size.get("height"))
    if crop is None or not values.get("do_center_crop", True):
        crop = short
    height, width = (crop, crop) if isinstance(crop, int) else (crop["height"], crop["width"])
    for number in (short, height, width):
        if not isinstance(number, int) or not 1 <= number <= 8192:
            raise ValueError(f"a picture size is {number!r}")
    if values.get("resample", BILINEAR) != BILINEAR:
        raise ValueError(f"resample is {values['resample']!r}; only 2 (bilinear) is supported")
    if abs(values.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-3:
        raise ValueError(f"rescale_factor is {values['rescale_factor']!r}; only 1/255 is supported")
    if not all(values.get(step, True) for step in ("do_resize", "do_rescale", "do_normalize")):
        raise ValueError("resizing, rescaling and normalising cannot be switched off")
    mean, std = _channels(values, "image_mean"), _channels(values, "image_std")
    if not all(value > 0 for value in std):
        raise ValueError(f"image_std is {values['image_std']!r}; it must be above 0")
    return Preprocessing(short_side=short, crop=(height, width), mean=mean, std=std)


def _channels(values: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    value = values[key]
    channels = value if isinstance(value, list) else [value] * 3
    if len(channels) != 3 or not all(isinstance(channel, int | float) for channel in channels):
        raise ValueError(f"{key} is {value!r}; it must be three numbers")
    red, green, blue = channels
    return float(red), float(green), float(blue)
