"""Read and write the JSON files of a model folder: what the model is, without its tensors."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.files import regular_file
from timesformer_cli.weights.transformers_config import (
    MULTIPLE,
    SINGLE,
    THRESHOLDS,
    label_names,
    model_config,
)
from timesformer_cli.weights.transformers_families import FAMILIES, KEYS, OWN_FIELDS
from timesformer_cli.weights.transformers_processor import preprocessing_of, processor_file
from timesformer_cli.weights.write_layout import FAMILY_OF, layout_for

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
# Files that say how pictures are prepared, and the entry of each that does so; the first one counts,
# as in transformers. An empty entry is the whole file.
PROCESSORS = (
    ("processor_config.json", "video_processor"),
    ("video_preprocessor_config.json", ""),
    (PREPROCESSOR, ""),
    ("processor_config.json", "image_processor"),
)
PROCESSOR_FILES = tuple(dict.fromkeys(name for name, _ in PROCESSORS))
TOKENIZER = "tokenizer.json"  # of a model that takes words
MODEL_TYPE = "tsf"
LARGEST_JSON = 16 * 2**20  # bytes


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

    def of_several(self, name: str) -> "Description":
        """The same model, each of whose classes is scored by itself.

        Raises UsageError, with the model's `name`, for one that takes words.
        """
        if self.config.text is not None:
            raise UsageError(f"{name}: words share one answer out; leave out --multi-label")
        return replace(self, config=replace(self.config, multi_label=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class PartialDescription:
    """What the files of a model say about it; empty or None where they say nothing."""

    config: ModelConfig
    labels: tuple[str, ...] = ()
    sampling: Sampling | None = None
    preprocessing: Preprocessing | None = None


def read_description(folder: Path) -> PartialDescription:
    """Read `config.json` and the files that say how pictures are prepared, where there are any.

    Raises WeightsError naming the file and the field.
    """
    names = [CONFIG, *(name for name in PROCESSOR_FILES if (folder / name).exists())]
    return parse_description({name: read_json(folder / name) for name in names}, folder)


def parse_description(files: Mapping[str, dict[str, Any]], where: Path) -> PartialDescription:
    """The inverse of `description_files`; `where` is the folder that error messages name.

    Raises WeightsError naming the file and the field.
    """
    values = files[CONFIG]
    own = values.get("model_type") == MODEL_TYPE
    with _named(where / CONFIG):
        if own:
            config = ModelConfig.from_dict(values[MODEL_TYPE])
            # Only here may labels be missing: our own configuration counts its classes itself.
            labels = label_names(values) if values.get("id2label") else ()
        else:
            config, labels = model_config(values), label_names(values)
        if labels and len(labels) != config.classes:
            raise ValueError(
                f"id2label names {len(labels)} classes, the model has {config.classes}"
            )
        rate = values.get("frame_sample_rate", 0)
        if rate is not None and (not isinstance(rate, int) or rate < 0):
            raise ValueError(f"frame_sample_rate is {rate!r}")
    # 0 (or no key) says nothing; null is ours for frames spread over the whole video.
    sampling = None if rate == 0 else Sampling(frames=config.frames, stride=rate)
    preprocessing = None
    for name, entry in PROCESSORS:
        if name in files and (settings := files[name].get(entry) if entry else files[name]):
            with _named(where / name):
                preprocessing = preprocessing_of(settings, values.get("model_type"))
                config.grid_of(config.frames, *preprocessing.crop)
            break
    return PartialDescription(
        config=config, labels=labels, sampling=sampling, preprocessing=preprocessing
    )


def description_files(description: Description) -> dict[str, dict[str, Any]]:
    """The folder's JSON files by name. Where transformers has the model, it can read them too."""
    config = description.config
    sampling, preprocessing = description.sampling, description.preprocessing
    layout = layout_for(config)
    values: dict[str, Any] = {"model_type": MODEL_TYPE, MODEL_TYPE: config.to_dict()}
    if layout is not None:
        family = FAMILY_OF[layout]
        values = {
            "architectures": [FAMILIES[family].architecture],
            "model_type": family,
            "hidden_act": FAMILIES[family].required["hidden_act"],
            "image_size": config.height
            if config.height == config.width
            else [config.height, config.width],
            **{KEYS[name]: value for name, value in config.to_dict().items() if name in KEYS},
            **OWN_FIELDS[family](config),
            # It matters in training only. An integer, since transformers' type for it admits only 0.
            KEYS["drop_path"]: 0,
            "problem_type": MULTIPLE if config.multi_label else SINGLE,
            **({THRESHOLDS: list(config.thresholds)} if config.thresholds else {}),
        }
    values["frame_sample_rate"] = sampling.stride
    values["id2label"] = {str(index): label for index, label in enumerate(description.labels)}
    values["label2id"] = {label: index for index, label in enumerate(description.labels)}
    return {CONFIG: values, PREPROCESSOR: processor_file(preprocessing)}


def says_several(folder: Path) -> bool:
    """Whether a model folder that is here says that a clip may have several labels."""
    try:
        return (folder / CONFIG).exists() and read_description(folder).config.multi_label
    except (OSError, ValueError, WeightsError):  # whatever is wrong with it is said where it loads
        return False


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Inside the block, whatever a field of a file can raise becomes a WeightsError with its name."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise WeightsError(f"{path}: {reason}") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of bounded size from a regular file; raises WeightsError."""
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
