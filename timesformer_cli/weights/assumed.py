"""What is assumed of a model whose files do not say all; no tensor is read for it, and no torch."""

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import TsfError
from timesformer_cli.weights.catalogue import DEFAULT, WEIGHTS, Weights, read_labels
from timesformer_cli.weights.description import (
    CONFIG,
    PREPROCESSOR,
    Description,
    PartialDescription,
    read_description,
)
from timesformer_cli.weights.hub.locate import Located
from timesformer_cli.weights.layout import Layout

# Frames at 30 fps that a published Kinetics clip spans (8x32 and 16x16), assumed for a model that
# does not say.
PUBLISHED_SPAN = 256
NO_LABELS = "no label names in it; classes are shown as LABEL_<index>"


def foretold(located: Located) -> Description | None:
    """What the files of a model folder say of it; None where its tensors have to be asked too.

    It is good for work that can begin before the model is open. Whether it is right, and what is
    wrong with the model, is said where that is opened.
    """
    if located.exported or located.image_model is not None or not (located.path / CONFIG).exists():
        return None
    try:
        described = read_description(located.path)
    except (OSError, TsfError):
        return None
    says_all = described.sampling is not None and described.preprocessing is not None
    if located.row is None and not says_all:  # what is assumed then depends on the tensors' names
        return None
    return complete(described, located.row, None)[0]


def complete(
    described: PartialDescription, row: Weights | None, layout: Layout | None
) -> tuple[Description, list[str]]:
    """Fill in labels, sampling and preprocessing that no file gives; notes say what was assumed."""
    notes = []
    config = described.config
    labels, sampling, preprocessing = (
        described.labels,
        described.sampling,
        described.preprocessing,
    )
    numbered = tuple(f"LABEL_{index}" for index in range(config.classes))
    known = row is not None and row.classes == config.classes and row.labels
    if known and labels in ((), numbered):
        labels = read_labels(known)
    elif not labels and numbered:
        labels = numbered
        notes.append(NO_LABELS)
    # Whoever publishes no more than a network has most often trained it as its authors did.
    like = row or WEIGHTS[layout.typical if layout else DEFAULT]
    if sampling is None:
        stride = like.stride
        if row is None and like.name == DEFAULT:  # published with many counts of frames
            stride = max(1, PUBLISHED_SPAN // config.frames)
        sampling = Sampling(frames=config.frames, stride=stride)
        if row is None:
            taken = "frames spread over the whole video are"
            taken = taken if stride is None else f"a stride of {stride} is"
            notes.append(f"no sampling rate in it; {taken} assumed (--stride)")
    if preprocessing is None:
        preprocessing = Preprocessing(
            resize=(row and row.resize) or min(config.height, config.width),
            crop=(config.height, config.width),
            mean=like.mean,
            std=like.std,
            filter=like.filter,
        )
        if row is None:
            mean, std = (
                ", ".join(f"{x:g}" for x in dict.fromkeys(channels))
                for channels in (like.mean, like.std)
            )
            notes.append(
                f"no {PREPROCESSOR}; mean {mean} and std {std} are assumed, as of {like.name}"
            )
    whole = Description(
        config=config, labels=labels, sampling=sampling, preprocessing=preprocessing
    )
    return whole, notes
