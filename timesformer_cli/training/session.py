"""The parts of a training, put together: the model, its clips and its settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.inference.device import find_device, find_dtype
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.block import checkpoint_gradients
from timesformer_cli.training.augment import augmentation, normalisation
from timesformer_cli.training.clips import Target, TrainingClip, TrainingClips
from timesformer_cli.training.imbalance import BALANCED
from timesformer_cli.training.options import TrainingPlan
from timesformer_cli.training.probe import TokenReader
from timesformer_cli.training.processes import Processes
from timesformer_cli.training.randomness import ORDER, generator
from timesformer_cli.training.recipe import Recipe
from timesformer_cli.training.samples import ClipSamples, Features, Samples
from timesformer_cli.training.state import Settings
from timesformer_cli.training.validate import ValidationScores, validate_model
from timesformer_cli.video import DecodePool
from timesformer_cli.weights.description import Description
from timesformer_cli.weights.load import load_path
from timesformer_cli.weights.write_folder import write_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from torch import Tensor, nn

    from timesformer_cli.errors import VideoError

HELD_OUT = ("val", "test")


def enlarged(preprocessing: Preprocessing, recipe: Recipe) -> Preprocessing:
    """How training clips are decoded: at the largest size that a crop is taken from."""
    height, width = (round(side * recipe.enlarged) for side in preprocessing.crop)
    if not isinstance(preprocessing.resize, int):  # it will see pictures without their aspect ratio
        return replace(preprocessing, resize=(height, width))
    return replace(preprocessing, resize=min(height, width))


class TrainingSession:
    """The parts of a training in one process; `learner` is the module that learns."""

    def __init__(
        self, plan: TrainingPlan, model: TimeSformer, pool: DecodePool, processes: Processes
    ) -> None:
        options = plan.options
        device = find_device(options.device)
        if device.type == "cuda" and processes.count > 1:  # each process has its own GPU
            device = find_device(f"cuda:{processes.local_rank}")
        self.plan, self.pool, self.processes = plan, pool, processes
        self.model = model.to(device)
        if options.checkpoint_gradients:
            checkpoint_gradients(model.blocks)
        self.learner: nn.Module = model
        if options.probe is not None:
            assert model.pooler is not None
            self.learner = TokenReader(model.pooler, model.head)
        # With fewer clips than a step takes, an epoch would have no step: batches get smaller.
        together = options.accumulate * processes.count
        batch_size = min(options.batch_size, len(plan.of_split("train")) // together)
        if batch_size == 0:
            raise UsageError(
                f"{len(plan.of_split('train'))} training clips are too few for steps of {together} "
                "batches; lower --accumulate or the number of processes"
            )
        self.settings = Settings(
            recipe=options.recipe,
            classes=len(plan.labels),
            multi_label=plan.config.multi_label,
            class_weights=plan.class_weights,
            balanced=BALANCED in (options.class_weights, options.sampler),
            batch_size=batch_size,
            accumulate=options.accumulate,
            seed=options.seed,
            patience=options.patience,
            device=device,
            dtype=find_dtype(options.dtype, device),
        )

    @classmethod
    def of_plan(
        cls,
        plan: TrainingPlan,
        backbone: "Mapping[str, Tensor]",
        pool: DecodePool,
        processes: Processes,
    ) -> "TrainingSession":
        """The parts of a training that was stopped.

        `backbone` is the frozen one of its checkpoint, or empty where the whole model learns: its
        weights then come with the state of the loop.
        """
        model = TimeSformer(
            plan.config,
            labels=plan.labels,
            preprocessing=plan.preprocessing,
            sampling=plan.sampling,
        )
        if backbone:
            model.load_state_dict(backbone)
        return cls(plan, model, pool, processes)

    @property
    def kept(self) -> dict[str, Any]:
        """What a checkpoint needs beside the state of the loop: the arguments of `of_plan`."""
        frozen = self.plan.options.frozen
        return {
            "setup": self.plan.to_dict(),
            "backbone": self.model.state_dict() if frozen else {},
        }

    def samples(self) -> tuple[Samples, Samples | None]:
        """What to train on, and what to validate on; None where nothing is held out."""
        return self.training_clips(), self.held_out_clips()

    def held_out_clips(self) -> ClipSamples | None:
        """What to validate on; None where nothing is held out."""
        held_out = self.middle_clips("val")
        return held_out if len(held_out) else None

    def frozen_samples(
        self, heed: "Callable[[], None]", lost: "Callable[[VideoError], None]"
    ) -> tuple[Features, list[int]]:
        """Features of the training clips, of each its middle, and numbers that clips of a group share.

        Where the recipe mirrors clips, each comes mirrored, too.
        """
        mirrored = self.settings.recipe.flip > 0
        seen = Features.of_clips(
            self.model,
            self.middle_clips("train"),
            self.settings.dtype,
            mirrored=mirrored,
            heed=heed,
            lost=lost,
        )
        listed = self.plan.of_split("train")
        keys = [listed[place].group or place for place in seen.places]
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        return seen, [numbers[key] for key in keys]

    def training_clips(self) -> ClipSamples:
        """The training clips, at random moments and augmented."""
        plan, recipe = self.plan, self.settings.recipe
        clips = TrainingClips(
            pool=self.pool,
            examples=self._examples("train"),
            sampling=plan.sampling,
            preprocessing=enlarged(plan.preprocessing, recipe),
            seed=self.settings.seed,
            pace=recipe.pace,
            draws=plan.draws,
            balanced=plan.options.sampler == BALANCED,
        )
        transform = augmentation(recipe, plan.preprocessing)
        return ClipSamples(clips, transform, self.settings.device, self.settings.batch_size)

    def write(self, module: "nn.Module", folder: Path, scores: ValidationScores | None) -> None:
        """Write a model folder with the weights of `module`: the learner, or its average.

        `scores` are those of these weights; of several labels, the thresholds found there are kept.
        """
        several = None if scores is None else scores.several
        thresholds = () if several is None else tuple(row.threshold for row in several.classes)
        state = self.model.state_dict() | module.state_dict()  # a probe is a part of the model
        description = Description(
            # The drop path is a recipe's, not the model's.
            config=replace(self.plan.config, drop_path=0.0, thresholds=thresholds),
            labels=self.plan.labels,
            sampling=self.plan.sampling,
            preprocessing=self.plan.preprocessing,
        )
        write_folder(folder, {name: tensor.cpu() for name, tensor in state.items()}, description)

    def scores(
        self, folder: Path, tell: "Callable[[VideoError], None]"
    ) -> dict[str, ValidationScores]:
        """The scores of the model in the folder on each split that was held out and can be read.

        `tell` hears of each clip that cannot be read.
        """
        model = load_path(folder)[0].to(self.settings.device)
        device, dtype = self.settings.device, self.settings.dtype
        how: dict[str, Any] = {}
        if model.config.multi_label:
            how = {"multi_label": True, "labels": model.labels}
            how["thresholds"] = model.config.each_threshold
        # Only the first process comes here, so it scores alone and waits for no other.
        found = {
            split: validate_model(model, clips, device, dtype, Processes(), tell=tell, **how)
            for split in HELD_OUT
            if len(clips := self.middle_clips(split))
        }
        return {split: scores for split, scores in found.items() if scores.clips}

    def drawn(self, listed: "Sequence[Any]", most: int) -> list[Any]:
        """At most so many of them, drawn by the seed, in their order."""
        places = generator(self.settings.seed, ORDER).permutation(len(listed))[:most]
        return [listed[place] for place in sorted(places)]

    def still_features(
        self, split: str, most: int
    ) -> "tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]":
        """What a head would see of the middle frame of some clips, repeated; and their classes."""
        still = self.middle_clips(split, Sampling(frames=1, stride=None))
        examples = self.drawn(still.clips.examples, most)
        frames, look = self.plan.config.frames, still.transform
        clips = replace(
            still,
            clips=replace(still.clips, examples=examples),
            transform=lambda frame: look(frame).expand(frames, -1, -1, -1),
        )
        if not examples:
            return np.empty((0, self.plan.config.features)), np.empty(0, dtype=np.int64)
        # The pooler of a probe has not learned anything yet.
        see = self.model.features if self.plan.options.probe is None else self._mean_token
        seen = Features.of_clips(self.model, clips, self.settings.dtype, see=see)
        return seen.features.cpu().double().numpy(), np.array(seen.targets)

    def _mean_token(self, clips: "Tensor") -> "Tensor":
        return self.model.tokens(clips).mean(dim=(1, 2, 3))

    def middle_clips(self, split: str, sampling: Sampling | None = None) -> ClipSamples:
        """The clips of a split as `tsf classify` takes them: the middle of each, one crop.

        With `sampling`, those frames of it in place of the model's.
        """
        plan = self.plan
        clips = TrainingClips(
            pool=self.pool,
            examples=self._examples(split),
            sampling=sampling or plan.sampling,
            preprocessing=plan.preprocessing,
            draws=None if plan.draws is None else 1,
            crops=1,
            jittered=False,
        )
        transform = normalisation(plan.preprocessing)
        return ClipSamples(clips, transform, self.settings.device, self.settings.batch_size)

    def _examples(self, split: str) -> list[TrainingClip]:
        return [TrainingClip(clip.video, self._target(clip)) for clip in self.plan.of_split(split)]

    def _target(self, clip: LabelledClip) -> Target:
        if self.settings.multi_label:
            return tuple(float(label in clip.classes) for label in self.plan.labels)
        return self.plan.labels.index(clip.label)
