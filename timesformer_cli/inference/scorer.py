"""From a command's options to a model that is ready to score clips."""

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

from timesformer_cli.callbacks import NoteCallback
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import UsageError
from timesformer_cli.video.sample import span

if TYPE_CHECKING:
    from timesformer_cli.dataset.own_labels import OwnLabel
    from timesformer_cli.inference.batching import Scorer
    from timesformer_cli.inference.label_choice import LabelChoice
    from timesformer_cli.inference.runnable import RunnableModel
    from timesformer_cli.model import TimeSformer
    from timesformer_cli.weights.description import Description
    from timesformer_cli.weights.hub.locate import Located

    AnyModel = str | Located | TimeSformer | RunnableModel


class ScorerOptions(Protocol):
    """What the commands that score clips have in common."""

    @property
    def model(self) -> "AnyModel":
        """A name, a located model, or a model."""
        ...

    @property
    def frames(self) -> int | None:
        """Frames per clip; None means as the model was trained."""
        ...

    @property
    def stride(self) -> int | None:
        """In frames of a 30-fps video; None means as the model was trained."""
        ...

    @property
    def device(self) -> str:
        """Several devices, separated by commas, get one process each."""
        ...

    @property
    def dtype(self) -> str:
        """`auto` or a dtype's name."""
        ...

    @property
    def compile(self) -> bool:
        """Whether torch.compile compiles the model."""
        ...

    @property
    def labels(self) -> "tuple[OwnLabel, ...]":
        """What the answer may be; empty means all classes."""
        ...

    @property
    def templates(self) -> tuple[str, ...]:
        """That say a label of one's own words; empty means the model's."""
        ...

    @property
    def none_below(self) -> float | None:
        """A label that is less similar is none."""
        ...

    @property
    def debug(self) -> bool:
        """Whether the messages of child processes reach stderr."""
        ...


def model_name(model: "AnyModel") -> str:
    """What a model is called in results; a model object goes by the name of its class."""
    from timesformer_cli.weights.hub.locate import Located

    if isinstance(model, Located):
        return model.name
    return model if isinstance(model, str) else type(model).__name__


def model_revision(model: "AnyModel") -> str:
    """Which weights a located model has; empty for others, whose weights have no name."""
    from timesformer_cli.weights.hub.locate import Located
    from timesformer_cli.weights.revision import revision_of

    return revision_of(model) if isinstance(model, Located) else ""


def open_scorer(
    options: ScorerOptions,
    note: NoteCallback,
    stack: ExitStack,
    *,
    answers: bool = True,
    multi_label: bool = False,
) -> "Scorer":
    """Load the model and put it on its device; closing the stack ends its processes.

    Without `answers` a model that takes words needs none: it gives features only. With `multi_label`
    each class is scored by itself, whatever the model says. Raises UsageError, WeightsError and
    DeviceError.
    """
    from timesformer_cli.inference.exported.open import open_located
    from timesformer_cli.inference.exported.scorer import ExportedScorer
    from timesformer_cli.inference.label_choice import choose_own
    from timesformer_cli.weights.description import Description
    from timesformer_cli.weights.hub.locate import Located, as_located

    model, devices, compiled = options.model, options.device.split(","), options.compile
    name = model_name(model)
    scorer: Scorer
    notes: tuple[str, ...] = ()
    if isinstance(model, str | Located):
        model = as_located(model)
        if model.exported and len(devices) == 1:  # by its own runtime: torch may be missing
            exported, notes = open_located(model, options.device, options.dtype, compile=compiled)
            for text in notes:
                note(text)
            choice = choose_own(Description.of(exported), options, name)
            return ExportedScorer(exported, name, choice, multi_label=multi_label)
    from timesformer_cli.inference.device_pool import DevicePool
    from timesformer_cli.inference.fast.model import make_fast
    from timesformer_cli.inference.open import open_model
    from timesformer_cli.inference.words import choose_labels, require_labels
    from timesformer_cli.model import TimeSformer

    if isinstance(model, Located) and options.labels:
        require_labels(model, options.labels)  # what is wrong is said before the weights are read
    choose = partial(choose_labels, options, name, note, answers=answers, multi_label=multi_label)
    if isinstance(model, Located) and len(devices) > 1:
        choice = choose(model, model)
        several = DevicePool(
            model,
            devices,
            options.dtype,
            choice,
            compile=compiled,
            multi_label=multi_label,
            debug=options.debug,
        )
        stack.callback(several.close)
        scorer, notes = several, several.notes
    elif isinstance(model, Located):
        opened, notes = open_model(model, options.device, options.dtype, compile=compiled)
        scorer = scorer_of(opened, name, choose(opened, model), multi_label=multi_label)
    elif (options.device, options.dtype) != ("auto", "auto"):
        raise UsageError("a loaded model has its device and its dtype; leave out device and dtype")
    elif isinstance(model, TimeSformer):  # the caller's model keeps its device and its dtype
        weight = model.norm.weight
        fast = make_fast(model, weight.device, weight.dtype, compile=compiled)
        scorer = scorer_of(fast, name, choose(model), multi_label=multi_label)
    elif compiled:
        raise UsageError("a model made ready is compiled by its own .compile()")
    else:
        scorer = scorer_of(model, name, choose(model), multi_label=multi_label)
    for text in notes:
        note(text)
    if compiled:
        note("compiling with the first batch, which takes up to a minute")
    return scorer


def scorer_of(
    model: "RunnableModel",
    name: str = "the model",
    choice: "LabelChoice | None" = None,
    *,
    multi_label: bool = False,
) -> "Scorer":
    """What scores clips with an opened model."""
    from timesformer_cli.inference.exported.model import ExportedModel

    if isinstance(model, ExportedModel):
        from timesformer_cli.inference.exported.scorer import ExportedScorer

        return ExportedScorer(model, name, choice, multi_label=multi_label)
    from timesformer_cli.inference.fast.model import FastModel
    from timesformer_cli.inference.predictor import Predictor

    assert isinstance(model, FastModel)
    return Predictor(model, name, choice, multi_label=multi_label)


def clips_for(description: "Description", options: ScorerOptions) -> tuple[Sampling, Preprocessing]:
    """How clips are sampled and cropped; raises UsageError where the model does not take them."""
    from timesformer_cli.inference.exported.model import ExportedModel
    from timesformer_cli.weights.hub.locate import EXPORTED

    name = model_name(options.model)
    sampling, preprocessing = description.sampling, description.preprocessing
    frames = options.frames or sampling.frames
    exported = isinstance(options.model, ExportedModel) or name.endswith(EXPORTED)
    if frames != sampling.frames and exported:  # its graph takes clips of one shape only
        raise UsageError(
            f"{name}: exported for clips of {sampling.frames} frames; leave out --frames, or "
            f"export another with --frames {frames}"
        )
    config = description.config
    config.scheme.require_divisible(config.grid_of(frames, *preprocessing.crop))
    return replace(sampling, frames=frames, stride=options.stride or sampling.stride), preprocessing


def early_clips(options: ScorerOptions) -> tuple[Sampling, Preprocessing] | None:
    """As `clips_for` will say once the model is open; None where its files do not tell it fast."""
    from timesformer_cli.inference.exported.open import foretold_export
    from timesformer_cli.weights.assumed import foretold
    from timesformer_cli.weights.hub.locate import Located

    model = options.model
    if not isinstance(model, Located):
        return None
    try:
        description = foretold_export(model) if model.exported else foretold(model)
        return None if description is None else clips_for(description, options)
    except UsageError:  # said once it is open
        return None


def windows_for(
    description: "Description", options: ScorerOptions
) -> tuple[Sampling, Preprocessing, float]:
    """As `clips_for`, with the seconds that a window spans; raises UsageError also for no stride."""
    sampling, preprocessing = clips_for(description, options)
    length = span(sampling)
    if length is None:
        raise UsageError(
            f"{model_name(options.model)} spreads its frames over a whole video, so its windows "
            "have no length; give one with --stride"
        )
    return sampling, preprocessing, length
