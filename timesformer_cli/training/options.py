"""What a training was asked for and what it settled on: enough to go on with it anywhere."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.dataset.labelled import GROUP, LabelledClip, class_names
from timesformer_cli.errors import UsageError
from timesformer_cli.training.recipe import PRESETS, Recipe
from timesformer_cli.weights.catalogue import DEFAULT

SCRATCH = "scratch"
HEAD_RATE = 10  # a linear map alone bears a higher learning rate than a network


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOptions:
    """What `tsf train` can be told; None: as the initial model or the preset has it.

    `size` is for a model from `scratch`, whose frames spread over the whole video where no
    `stride` is given. `val_fraction` is for data that has no split of its own.
    """

    data: str
    out: str
    init: str = DEFAULT
    attention: str | None = None
    size: str = "tiny"
    frames: int | None = None
    stride: int | None = None
    image_size: int | None = None
    preset: str = "modern"
    epochs: int | None = None
    batch_size: int = 8
    accumulate: int = 1
    learning_rate: float | None = None
    flip: bool = True
    patience: int | None = None
    freeze_backbone: bool = False
    checkpoint_gradients: bool = False
    val_fraction: float = 0.2
    group_by: str = GROUP
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"
    workers: int | None = None
    timeout: float = 60.0
    decoder: str = "auto"
    debug: bool = False

    @property
    def recipe(self) -> Recipe:
        """The preset with what was asked for; a model from scratch learns evenly in all layers."""
        if self.preset not in PRESETS:
            raise UsageError(f"unknown preset '{self.preset}'; there are {', '.join(PRESETS)}")
        recipe = PRESETS[self.preset]
        if self.init == SCRATCH:
            recipe = replace(recipe, layer_decay=1.0)
        if self.freeze_backbone:
            rate = HEAD_RATE * recipe.learning_rate
            recipe = replace(recipe, learning_rate=rate, drop_path=0.0, mixed=0.0)
        return replace(
            recipe,
            epochs=self.epochs or recipe.epochs,
            learning_rate=self.learning_rate or recipe.learning_rate,
            flip=recipe.flip if self.flip else 0.0,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """A training settled: its model, its readable clips, and the `draws` of each that are held."""

    options: TrainOptions
    config: ModelConfig
    labels: tuple[str, ...]
    sampling: Sampling
    preprocessing: Preprocessing
    items: tuple[LabelledClip, ...]
    draws: int | None

    def of_split(self, split: str) -> list[LabelledClip]:
        """The clips of train, val or test."""
        return [item for item in self.items if item.split == split]

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainingPlan":
        """The inverse of `to_dict`."""
        return cls(
            options=TrainOptions(**values["options"]),
            config=ModelConfig.from_dict(values["config"]),
            labels=tuple(values["labels"]),
            sampling=Sampling(**values["sampling"]),
            preprocessing=Preprocessing(**values["preprocessing"]),
            items=tuple(LabelledClip(**item) for item in values["items"]),
            draws=values["draws"],
        )


def labels_of(items: list[LabelledClip]) -> tuple[str, ...]:
    """The classes to learn; raises UsageError where there is nothing to tell apart."""
    labels = class_names([item for item in items if item.split == "train"])
    if len(labels) < 2:
        raise UsageError(f"{len(labels)} class in the training clips; there must be two or more")
    for item in items:
        if item.label not in labels:
            raise UsageError(
                f"{item.path}: class '{item.label}' is in {item.split} and not in training"
            )
    return labels
