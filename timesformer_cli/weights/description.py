"""Read and write the JSON files of a model folder: what the model is, without its tensors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.files import regular_file
from timesformer_cli.weights.layout import ATTENTION_TYPES
from timesformer_cli.weights.layout_tables import TRANSFORMERS

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
MODEL_TYPE = "tsf"
LARGEST_JSON = 16 * 2**20  # bytes
BILINEAR = 2  # Pillow's number for it

# Our configuration keys to those of transformers. Image size, tubelet and scheme are not here,
# because their values differ too.
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
# Per model type of transformers: its defaults where they differ from ours (with our name of the
# scheme), then values that must be these, because another value means another network.
_ARCHITECTURES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "timesformer": ({}, {"hidden_act": "gelu"}),
    "vivit": ({"attention": "vivit-1", "frames": 32}, {"hidden_act": "gelu_fast"}),
    "videomae": (
        {"attention": "videomae", "frames": 16, "norm_eps": 1e-12},
        {"hidden_act": "gelu", "use_mean_pooling": True},
    ),
}


class Described(Protocol):
    """All that can describe itself: a published model, its fast form, an exported file."""

    config: ModelConfig
    labels: tuple[str, ...]
    sampling: Sampling
    preprocessing: Preprocessing


@dataclass(frozen=True, kw_only=True, slots=True)
class Description:
    """All that is needed to use a model, apart from its tensors."""

    config: ModelConfig
    labels: tuple[str, ...]  # one per class
    sampling: Sampling
    preprocessing: Preprocessing

    @classmethod
    def of(cls, model: Described) -> "Description":
        """Take the description from a model."""
        return cls(
            config=model.config,
            labels=model.labels,
            sampling=model.sampling,
            preprocessing=model.preprocessing,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialDescription:
    """What the files of a model say about it; empty or None where they say nothing."""

    config: ModelConfig
    labels: tuple[str, ...] = ()
    sampling: Sampling | None = None
    preprocessing: Preprocessing | None = None


def read_description(folder: Path) -> PartialDescription:
    """Read `config.json` and, where there is one, `preprocessor_config.json`.

    Raises WeightsError naming the file and the field.
    """
    files = {CONFIG: _read_json(folder / CONFIG)}
    if (folder / PREPROCESSOR).exists():
        files[PREPROCESSOR] = _read_json(folder / PREPROCESSOR)
    return parse_description(files, folder)


def parse_description(files: Mapping[str, dict[str, Any]], where: Path) -> PartialDescription:
    """The inverse of `description_files`; `where` is the folder that error messages name.

    Raises WeightsError naming the file and the field.
    """
    values = files[CONFIG]
    try:
        labels = _labels(values)
        config = _config(values, len(labels))
        if labels and len(labels) != config.classes:
            raise ValueError(
                f"id2label names {len(labels)} classes, the model has {config.classes}"
            )
        rate = values.get("frame_sample_rate", 0)
        if rate is not None and (not isinstance(rate, int) or rate < 0):
            raise ValueError(f"frame_sample_rate is {rate!r}")
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise WeightsError(f"{where / CONFIG}: {reason}") from error
    # 0 (or no key) says nothing; null is ours for frames spread over the whole video.
    sampling = None if rate == 0 else Sampling(frames=config.frames, stride=rate)
    preprocessing = None
    if PREPROCESSOR in files:
        try:
            preprocessing = _preprocessing(files[PREPROCESSOR])
            config.grid_of(config.frames, *preprocessing.crop)
        except (KeyError, TypeError, ValueError) as error:
            reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise WeightsError(f"{where / PREPROCESSOR}: {reason}") from error
    return PartialDescription(
        config=config, labels=labels, sampling=sampling, preprocessing=preprocessing
    )


def description_files(description: Description) -> dict[str, dict[str, Any]]:
    """The folder's JSON files by name. Where transformers has the model, it can read them too."""
    config = description.config
    sampling, preprocessing = description.sampling, description.preprocessing
    values: dict[str, Any]
    if TRANSFORMERS.has(config):
        values = {
            "architectures": ["TimesformerForVideoClassification"],
            "model_type": "timesformer",
            "attention_type": ATTENTION_TYPES[config.attention],
            "hidden_act": "gelu",
            "image_size": config.height
            if config.height == config.width
            else [config.height, config.width],
            **{_KEYS[name]: value for name, value in config.to_dict().items() if name in _KEYS},
            # It matters in training only. An integer, since transformers' type for it admits only 0.
            _KEYS["drop_path"]: 0,
        }
    else:
        values = {"model_type": MODEL_TYPE, MODEL_TYPE: config.to_dict()}
    values["frame_sample_rate"] = sampling.stride
    values["id2label"] = {str(index): label for index, label in enumerate(description.labels)}
    values["label2id"] = {label: index for index, label in enumerate(description.labels)}
    height, width = preprocessing.crop
    return {
        CONFIG: values,
        PREPROCESSOR: {
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
        with regular_file(path) as (file, _):
            content = file.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            raise WeightsError(f"{path}: more than {LARGEST_JSON:,} bytes are too many for it")
        values = json.loads(content.decode("utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(
            f"{path.parent}: no {path.name} in it, so it is not a model folder"
        ) from error
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(values, dict):
        raise WeightsError(f"{path}: not a JSON object")
    return values


def _config(values: Mapping[str, Any], classes: int) -> ModelConfig:
    kind = values.get("model_type")
    if kind == MODEL_TYPE:
        return ModelConfig.from_dict(values[MODEL_TYPE])
    if kind not in _ARCHITECTURES:
        known = ", ".join(_ARCHITECTURES)
        raise UsageError(f"model_type is {kind!r}; only models of these types load: {known}")
    fixed, expected = _ARCHITECTURES[kind]
    for key, only in expected.items():
        if (value := values.get(key, only)) != only:
            raise UsageError(f"{key} is {value!r}; published models use {only!r}")
    schemes = {theirs: ours for ours, theirs in ATTENTION_TYPES.items()}
    given = fixed | {ours: values[theirs] for ours, theirs in _KEYS.items() if theirs in values}
    if "qv_bias" in values:
        given["qkv_bias"] = values["qv_bias"]
    if "tubelet_size" in values:
        given |= _tubelet(values["tubelet_size"])
    if "attention_type" in values:
        scheme = values["attention_type"]
        if scheme not in schemes:
            raise UsageError(f"attention_type is {scheme!r}; there are {', '.join(schemes)}")
        given["attention"] = schemes[scheme]
    if "image_size" in values:
        image = values["image_size"]
        given["height"], given["width"] = image if isinstance(image, list) else (image, image)
    return ModelConfig.from_dict({**given, "classes": classes})


def _tubelet(size: Any) -> dict[str, Any]:
    """VideoMAE's files give the frames of a tubelet; ViViT's give frames, height and width."""
    if not isinstance(size, list):
        return {"tubelet": size}
    frames, height, width = size
    if height != width:
        raise UsageError(f"tubelet_size is {size!r}; only square patches load")
    return {"tubelet": frames, "patch": height}


def _labels(values: Mapping[str, Any]) -> tuple[str, ...]:
    """`id2label` in the order of the classes.

    transformers does not write it when a model has two classes, its default. Our own models say
    themselves how many classes they have; their labels may be missing.
    """
    table = values.get("id2label")
    if not table:
        table = {} if values.get("model_type") == MODEL_TYPE else {"0": "LABEL_0", "1": "LABEL_1"}
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
    if not all(values.get(step, True) for step in ("do_resize", "do_rescale")):
        raise ValueError("resizing and rescaling cannot be switched off")
    scale, offset = _scale(values)
    mean, std = (0.0,) * 3, (1.0,) * 3
    if values.get("do_normalize", True):
        mean, std = _channels(values, "image_mean"), _channels(values, "image_std")
    if not all(value > 0 for value in std):
        raise ValueError(f"image_std is {values['image_std']!r}; it must be above 0")
    r, g, b = ((value + offset) / scale for value in mean)
    r_std, g_std, b_std = (value / scale for value in std)
    return Preprocessing(
        short_side=short, crop=(height, width), mean=(r, g, b), std=(r_std, g_std, b_std)
    )


def _scale(values: Mapping[str, Any]) -> tuple[int, int]:
    """The factor on values of 0..1 and the offset that is then subtracted.

    ViViT's processor maps pixels to -1..1 (factor 2, offset 1) before it subtracts the mean. The
    caller folds both into mean and std.
    """
    kinds = f"{values.get('image_processor_type')} {values.get('video_processor_type')}"
    scale, offset = (2, 1) if values.get("offset", "Vivit" in kinds) else (1, 0)
    factor = values.get("rescale_factor", scale / 255)
    if abs(factor * 255 - scale) > 1e-3:
        raise ValueError(f"rescale_factor is {factor!r}; only {scale}/255 is supported")
    return scale, offset


def _channels(values: Mapping[str, Any], key: str) -> tuple[float, float, float]:
    value = values[key]
    channels = value if isinstance(value, list) else [value] * 3
    if len(channels) != 3 or not all(isinstance(channel, int | float) for channel in channels):
        raise ValueError(f"{key} is {value!r}; it must be three numbers")
    red, green, blue = channels
    return float(red), float(green), float(blue)
