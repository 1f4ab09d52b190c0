"""What a training was asked for, and what was decided: enough to go on with it anywhere."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.dataset.labelled import GROUP, class_names
from timesformer_cli.errors import UsageError
from timesformer_cli.training.imbalance import NONE, SHUFFLE
from timesformer_cli.training.recipe import PRESETS, PROBE, Recipe
from timesformer_cli.training.shortcuts import Shortcut
from timesformer_cli.weights.catalogue import DEFAULT

SCRATCH = "scratch"
CHECKPOINT = "last.pt"  # the file of a training's folder that it goes on from
PICTURE, RECIPE = "batch.png", "recipe.json"  # the first batch; what was asked for
FOLDS = "folds.json"  # the file of a folder that says what is cross-validated there
# Options that only mean something where there are steps, each with the value that says nothing.
OF_STEPS = {
    "epochs": None,
    "learning_rate": None,
    "patience": None,
    "accumulate": 1,
    "checkpoint_gradients": False,
    "preset": "modern",
    "sampler": SHUFFLE,
}
# Options that only mean something where the network learns, too.
OF_NETWORK = ("preset", "checkpoint_gradients")
ATTENTIVE = "attentive"  # the only kind of probe


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainOptions:
    """The options of `tsf train`. None keeps the value of the initial model or the preset."""

    data: str  # a folder or a table of labelled clips
    out: str  # folder for everything that training writes
    init: str = DEFAULT  # model to start from; `scratch` is random weights
    attention: str | None = None
    size: str = "tiny"  # only for `scratch`
    frames: int | None = None
    stride: int | None = None  # None with `scratch` spreads the frames over the whole video
    image_size: int | None = None
    preset: str = "modern"
    epochs: int | None = None
    batch_size: int = 8  # clips at once, per process
    accumulate: int = 1  # batches per step
    learning_rate: float | None = None  # for a step of 8 clips
    multi_label: bool = False  # whether a clip may have several classes, or none
    class_weights: str = NONE  # balanced, none, or a file of label,weight
    sampler: str = SHUFFLE  # balanced takes each class equally often in an epoch
    flip: bool = True  # False never mirrors a clip, whatever the preset says
    patience: int | None = None  # epochs without a better one before it ends; None trains them all
    freeze_backbone: bool = False  # whether the head alone is fitted, in closed form
    probe: str | None = None  # ATTENTIVE: a pooler and a head learn from tokens of a frozen network
    probe_blocks: int = 1  # of that pooler; the last one is the query's
    checkpoint_gradients: bool = False  # less memory, more computing
    val_fraction: float = 0.2  # held out of each class where the data has no split of its own
    group_by: str = GROUP  # clips of one group stay in one split
    labels_from: str | None = None  # where in a folder its labels are; None means the top folders
    fps: float | None = None  # of folders of pictures, and of times that are counted in frames
    seed: int = 0
    device: str = "auto"
    dtype: str = "auto"
    workers: int | None = None  # decoder processes; None means one per processor
    timeout: float = 60.0  # seconds to decode one video
    decoder: str = "auto"
    cache: str | None = None  # a folder that keeps decoded frames
    cache_size: int = 20_000_000_000  # bytes that it may take
    log: str | None = None  # the tracker that is told of it: one of `trackers.OPENERS`
    debug: bool = False  # whether the messages of child processes reach stderr

    @property
    def frozen(self) -> bool:
        """Whether the network stays as it is, and only what reads it out is new."""
        return self.freeze_backbone or self.probe is not None

    @property
    def recipe(self) -> Recipe:
        """The preset, changed by what was asked for. Raises UsageError for an unknown preset."""
        if self.preset not in PRESETS:
            raise UsageError(f"unknown preset '{self.preset}'; there are {', '.join(PRESETS)}")
        recipe = PRESETS[self.preset] if self.probe is None else PROBE
        if self.init == SCRATCH:  # no layer has learned anything yet that should change slowly
            recipe = replace(recipe, layer_decay=1.0)
        return replace(
            recipe,
            epochs=self.epochs or recipe.epochs,
            learning_rate=self.learning_rate or recipe.learning_rate,
            flip=recipe.flip if self.flip else 0.0,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingPlan:
    """Everything that was decided before the first step; a checkpoint holds it as plain values."""

    options: TrainOptions
    config: ModelConfig
    labels: tuple[str, ...]
    sampling: Sampling
    preprocessing: Preprocessing
    items: tuple[LabelledClip, ...]  # the clips that can be read
    draws: int | None  # choices of moments per clip whose frames are held; None holds none
    class_weights: tuple[float, ...] = ()  # in the loss; none means that all classes count alike
    shortcuts: tuple[Shortcut, ...] = ()  # what those get on the held-out clips who see no motion

    def of_split(self, split: str) -> list[LabelledClip]:
        """The clips of train, val or test."""
        return [clip for clip in self.items if clip.split == split]

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
            items=tuple(map(LabelledClip.from_dict, values["items"])),
            draws=values["draws"],
            class_weights=tuple(values.get("class_weights", ())),
            shortcuts=tuple(Shortcut(**one) for one in values.get("shortcuts", ())),
        )


def labels_of(clips: list[LabelledClip]) -> tuple[str, ...]:
    """The classes to learn.

    Raises UsageError for too few classes, and for a class that no training clip has. Where a clip
    may have none, one class is enough.
    """
    labels = class_names([clip for clip in clips if clip.split == "train"])
    if len(labels) < (least := 2 if any(clip.labels is None for clip in clips) else 1):
        more = "two or more" if least == 2 else "one or more"
        raise UsageError(f"{len(labels)} class in the training clips; there must be {more}")
    for clip in clips:
        for label in clip.classes:
            if label not in labels:
                raise UsageError(
                    f"{clip.path}: class '{label}' is in {clip.split} and not in training"
                )
    return labels
