"""Load models that were located, and save models as folders.

Every model takes this way: `locate` finds its files, `read_located` maps their tensors and says
what they are, `build_model` puts them into the network. Training and export use this network;
`inference` makes its fast form from it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from timesformer_cli.errors import WeightsError
from timesformer_cli.files import replacing
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.inflate import inflate
from timesformer_cli.model.network import make_head
from timesformer_cli.weights.catalogue import ENCODER, Weights
from timesformer_cli.weights.description import TOKENIZER, Description
from timesformer_cli.weights.hub.intact import require_intact
from timesformer_cli.weights.hub.locate import Located, as_located
from timesformer_cli.weights.image_models import read_vit
from timesformer_cli.weights.model_folder import (
    Checkpoint,
    read_checkpoint,
)
from timesformer_cli.weights.read_model import ReadFile
from timesformer_cli.weights.tensors import read_file
from timesformer_cli.weights.write_folder import write_folder

Notes = tuple[str, ...]


def load_model(
    model: str | Located,
    *,
    classes: int | None = None,
    encoder: bool = False,
    pooled: bool = True,
    as_stored: bool = False,
) -> tuple[TimeSformer, Notes]:
    """Load a model, with notes on what had to be assumed; it is on the CPU, float32, in eval mode.

    `model` is what `--model` takes, or the result of `locate`. `classes` and `encoder` are for
    training: where the model has another number of classes, it gets a new head and a note says so;
    an encoder gets a new pooler and head (without `pooled` a head alone, which reads the mean of
    its tokens), and is refused without `encoder`. With `as_stored`, tensors of 16 bits stay so, and
    on disk until they are used. Raises WeightsError.
    """
    located = as_located(model)
    checkpoint = read_located(located)
    with _in_users_words(located):
        loaded, notes = build_model(checkpoint, encoder=encoder, pooled=pooled, as_stored=as_stored)
    if classes is not None and classes != loaded.config.classes:
        dropped = loaded.config.classes
        notes += (f"{located.name}: new head for {classes} classes, {dropped} dropped",)
        loaded = inflate(loaded, replace(loaded.config, classes=classes, thresholds=()))
    return loaded, notes


def read_located(located: Located, *, read: ReadFile = read_file) -> Checkpoint:
    """Read the checkpoint, its tensors mapped from disk unless `read` does less.

    Raises WeightsError.
    """
    if located.exported:
        raise WeightsError(
            f"{located.name}: an exported model runs, and cannot be changed; give the one it was "
            "made from"
        )
    require_intact(located)
    with _in_users_words(located):
        if located.image_model is not None:
            return read_vit(located.image_model, located.path)
        called = located.name if located.in_cache else ""
        checkpoint = read_checkpoint(located.path, located.row, called, read=read)
    return checkpoint.as_it_is() if located.bare else checkpoint


def build_model(
    checkpoint: Checkpoint,
    *,
    encoder: bool = False,
    pooled: bool = True,
    as_stored: bool = False,
) -> tuple[TimeSformer, Notes]:
    """Build the network as published, in eval mode, with the checkpoint's notes.

    An encoder gets a new readout, where `encoder` allows it, or none where it is taken as it is;
    `pooled` and `as_stored` are those of `load_model`. Raises WeightsError for tensors that do not
    fit.
    """
    unread = checkpoint.encoder and checkpoint.description.config.classes > 0
    if unread and not encoder:
        raise WeightsError(f"{checkpoint.file}: {ENCODER}")
    if unread and not pooled:
        checkpoint = checkpoint.without_pooler()
    described = checkpoint.description
    with torch.device("meta"):  # no memory is spent before every shape is known to be right
        model = TimeSformer(
            described.config,
            labels=described.labels,
            preprocessing=described.preprocessing,
            sampling=described.sampling,
        )
    if model.text is not None:
        model.tokenizer = checkpoint.file.with_name(TOKENIZER)
    state = checkpoint.state(model.state_dict(), as_stored=as_stored)
    model.load_state_dict(state, strict=checkpoint.whole, assign=True)
    if model.text is not None:
        model.text.float()  # words are always read in float32
    if not unread:
        if not checkpoint.whole:
            model.head = make_head(model.config)  # without classes
        return model.eval(), checkpoint.notes
    model.renew_readout()
    reads = "what reads it out, and its head, are new"
    if not pooled:
        reads = "its head is new, and reads the mean of its tokens"
    new = f"{checkpoint.called}: an encoder; {reads}"
    return model.eval(), (*checkpoint.notes, new)


def load_path(path: Path, row: Weights | None = None) -> tuple[TimeSformer, Notes]:
    """Load a folder or checkpoint file; `row` fills in what its files leave out."""
    return build_model(read_checkpoint(path, row))


@contextmanager
def _in_users_words(located: Located) -> Iterator[None]:
    """Errors name the model as the user did, not by a folder of the hub's cache: that is a hash."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(located.in_words(str(error))) from error


def save_model(model: TimeSformer, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a model as a folder that `load_path` reads, and transformers where it has the model."""
    if model.tokenizer is not None and model.tokenizer.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / TOKENIZER) as part:
            part.write_bytes(model.tokenizer.read_bytes())
    write_folder(folder, model.state_dict(), Description.of(model), dtype)
