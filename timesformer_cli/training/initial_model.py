"""The model that a training starts from."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from timesformer_cli.callbacks import NoteCallback
from timesformer_cli.config import ModelConfig, Preprocessing, Sampling
from timesformer_cli.errors import UsageError
from timesformer_cli.training.imbalance import NONE, require_balance
from timesformer_cli.training.options import OF_NETWORK, OF_STEPS, SCRATCH, TrainOptions

if TYPE_CHECKING:
    from timesformer_cli.model import TimeSformer
    from timesformer_cli.weights.hub.locate import Located

SCRATCH_SIZE = 112  # px; two CPU cores train a small model of this size in minutes


def initial_model(
    options: TrainOptions,
    labels: tuple[str, ...],
    note: NoteCallback,
    located: "Located | None" = None,
) -> "TimeSformer":
    """A model with these labels, new or from weights; a head made for other labels is replaced.

    `located` is what `options.init` names, where that is already known. `note` hears what had to be
    assumed. Raises UsageError for options that do not fit together, WeightsError for weights that
    cannot be read.
    """
    from timesformer_cli.training.randomness import seeded

    with seeded(options.seed):  # new weights are a function of the seed, too
        if options.init == SCRATCH:
            return _new(options, labels)
        return _from_weights(options, located or options.init, labels, note)


def _new(options: TrainOptions, labels: tuple[str, ...]) -> "TimeSformer":
    from timesformer_cli.model import TimeSformer

    side = options.image_size or SCRATCH_SIZE
    config = ModelConfig.of_size(
        options.size,
        height=side,
        width=side,
        classes=len(labels),
        multi_label=options.multi_label,
        drop_path=options.recipe.drop_path,
        **_given(attention=options.attention, frames=options.frames),
    )
    return TimeSformer(
        config,
        labels=labels,
        preprocessing=Preprocessing(resize=side, crop=(side, side)),
        sampling=Sampling(frames=config.frames, stride=options.stride),
    )


def _from_weights(
    options: TrainOptions, init: "str | Located", labels: tuple[str, ...], note: NoteCallback
) -> "TimeSformer":
    from timesformer_cli.model.inflate import inflate
    from timesformer_cli.weights.load import load_model

    # With a frozen backbone a new pooler would never learn, so the head reads the mean of all tokens.
    source, notes = load_model(init, encoder=True, pooled=not options.freeze_backbone)
    for text in notes:
        note(text)
    side = options.image_size
    same = set(source.labels) == set(labels)
    start = source.config  # what is not asked for stays as the initial model has it
    if options.attention not in (None, start.attention):
        start = start.with_attention(options.attention)
    if options.probe is not None:
        start = replace(start, pooler_blocks=options.probe_blocks, worded=False)
    config = replace(
        start,
        classes=len(labels),
        multi_label=options.multi_label,
        thresholds=(),  # of the classes that it had
        text=None,  # it learns these labels only
        drop_path=options.recipe.drop_path,
        **_given(frames=options.frames, height=side, width=side),
    )
    model = inflate(source, config)
    # The same labels in any order keep the head, so they must keep the order that it has learned.
    model.labels = source.labels if same else labels
    model.sampling = replace(model.sampling, **_given(stride=options.stride))
    if options.probe is not None:
        model.labels = labels
        model.renew_readout()
        note(f"{options.init}: new pooler and head for {len(labels)} classes")
    elif not same:
        _new_head(model)
        note(f"{options.init}: new head for {len(labels)} classes")
    return model


def _new_head(model: "TimeSformer") -> None:
    import torch

    torch.nn.init.trunc_normal_(model.head.weight, std=0.02)
    torch.nn.init.zeros_(model.head.bias)


def _given(**values: Any) -> dict[str, Any]:
    """Only the values that were given: None keeps what the model or its defaults say."""
    return {name: value for name, value in values.items() if value is not None}


def validate_train_options(options: TrainOptions) -> None:
    """Raise UsageError for options that cannot be, before anything is read."""
    if not 0 <= options.val_fraction < 1:
        raise UsageError(f"--val-fraction {options.val_fraction} must lie between 0 and 1")
    if options.dtype == "float16":
        raise UsageError("training in float16 needs its losses scaled; take bfloat16 or float32")
    if options.recipe.learning_rate <= 0:
        raise UsageError(f"--learning-rate {options.learning_rate} must be above 0")
    _require_probe_fits(options)
    for name, plain in OF_STEPS.items():
        if options.freeze_backbone and getattr(options, name) != plain:
            raise UsageError(
                f"--{name.replace('_', '-')} is for a training in steps; --freeze-backbone computes "
                "the head at once"
            )
    if options.freeze_backbone and options.multi_label and options.class_weights != NONE:
        raise UsageError("--class-weights with --freeze-backbone weighs clips of one label each")
    require_balance(options.class_weights, options.sampler, multi_label=options.multi_label)


def _require_probe_fits(options: TrainOptions) -> None:
    """Raise UsageError for what does not go together with a probe, or is for one alone."""
    if options.probe is None:
        if options.probe_blocks != 1:
            raise UsageError("--probe-blocks is for --probe attentive")
        return
    if options.freeze_backbone:
        raise UsageError(
            "--freeze-backbone computes a head at once, --probe trains a pooler; take one of them"
        )
    if options.init == SCRATCH:
        raise UsageError("--probe reads a network that has learned something; scratch has not")
    for name in OF_NETWORK:
        if getattr(options, name) != OF_STEPS[name]:
            raise UsageError(
                f"--{name.replace('_', '-')} is for a network that learns; --probe keeps it as it is"
            )
