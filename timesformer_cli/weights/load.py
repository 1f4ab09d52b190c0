"""Models from whatever was located, and folders of models.

The way of every model: `locate` says where its files are, `read_located` maps their tensors and
says what they are, `build_model` puts them into the network. What runs fast is made of that, in
`inference`; what is trained or exported is that.
"""

from dataclasses import replace
from pathlib import Path

import torch

from timesformer_cli.errors import WeightsError
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.inflate import inflate
from timesformer_cli.weights.catalogue import Weights
from timesformer_cli.weights.description import WEIGHT_FILES, Description
from timesformer_cli.weights.digest import SHA256
from timesformer_cli.weights.hub.locate import Located, as_located
from timesformer_cli.weights.image_models import read_vit
from timesformer_cli.weights.model_folder import Checkpoint, read_checkpoint, write_folder

SNAPSHOTS = "snapshots"  # of a repository, one a commit, in the hub's cache
Notes = tuple[str, ...]


def load_model(model: str | Located, *, classes: int | None = None) -> tuple[TimeSformer, Notes]:
    """A model in evaluation mode on the CPU in float32, and notes on what had to be assumed.

    `model` is what `--model` takes, or that located. With `classes`, for training, a head of
    another class count is replaced by a new one, and a note says so. Raises WeightsError.
    """
    located = as_located(model)
    loaded, notes = build_model(read_located(located))
    if classes is not None and classes != loaded.config.classes:
        dropped = loaded.config.classes
        notes += (f"{located.name}: new head for {classes} classes, {dropped} dropped",)
        loaded = inflate(loaded, replace(loaded.config, classes=classes))
    return loaded, notes


def read_located(located: Located) -> Checkpoint:
    """The checkpoint that lies there, its tensors mapped from disk; raises WeightsError."""
    if located.exported:
        raise WeightsError(
            f"{located.name}: an exported model runs, and cannot be changed; give the one it was "
            "made from"
        )
    if located.image_model is not None:
        return read_vit(located.image_model, located.path)
    return read_checkpoint(located.path, located.row)


def build_model(checkpoint: Checkpoint) -> tuple[TimeSformer, Notes]:
    """The published form of a model, in evaluation mode, and notes on what had to be assumed."""
    described = checkpoint.description
    with torch.device("meta"):  # no memory is spent before every shape is known to be right
        model = TimeSformer(
            described.config,
            labels=described.labels,
            preprocessing=described.preprocessing,
            sampling=described.sampling,
        )
    model.load_state_dict(checkpoint.state(model.state_dict()), strict=True, assign=True)
    return model.eval(), checkpoint.notes


def load_path(path: Path, row: Weights | None = None) -> tuple[TimeSformer, Notes]:
    """The model of a folder or checkpoint file; `row` fills in what its files leave out."""
    return build_model(read_checkpoint(path, row))


def revision_of(located: Located) -> str:
    """Which weights these are: the hub's commit, or else their file's SHA-256."""
    path = located.path
    if path.parent.name == SNAPSHOTS:
        return path.name
    if path.is_dir():
        path = next(path / file for file in WEIGHT_FILES if (path / file).exists())
    return f"sha256:{SHA256.of_file(path)}"


def save_model(model: TimeSformer, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a model as a hub-style folder that `load_path`, and mostly transformers too, reads."""
    write_folder(folder, model.state_dict(), Description.of(model), dtype)
