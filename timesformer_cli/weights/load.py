"""Checkpoints become models and models become folders."""

from dataclasses import replace
from pathlib import Path

import torch

from timesformer_cli.errors import WeightsError
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.inflate import inflate
from timesformer_cli.weights.catalogue import Weights
from timesformer_cli.weights.description import WEIGHT_FILES, Description
from timesformer_cli.weights.digest import SHA256
from timesformer_cli.weights.hub.locate import TIMM, is_artefact, resolve
from timesformer_cli.weights.image_models import read_vit
from timesformer_cli.weights.model_folder import Checkpoint, read_checkpoint, write_folder

SNAPSHOTS = "snapshots"  # of a repository, one a commit, in the hub's cache


def load(name: str, *, classes: int | None = None) -> tuple[TimeSformer, tuple[str, ...]]:
    """A model in evaluation mode on the CPU in float32, and notes on what had to be assumed.

    `name` is what `--model` takes: a catalogue name, a folder, a checkpoint file, a hub id, or
    `timm:` and the name of an image model. With `classes`, for training, a head of another class
    count is replaced by a new one, and a note says so. Raises WeightsError.
    """
    model, notes = _build(read(name))
    if classes is not None and classes != model.config.classes:
        notes += (f"{name}: new head for {classes} classes, {model.config.classes} dropped",)
        model = inflate(model, replace(model.config, classes=classes))
    return model, notes


def read(name: str) -> Checkpoint:
    """The checkpoint that `load` builds, its tensors mapped from disk; raises WeightsError."""
    path, row = resolve(name)
    if is_artefact(path.name):
        raise WeightsError(
            f"{name}: an exported model runs, and cannot be changed; give the one it was made from"
        )
    if name.startswith(TIMM):
        return read_vit(name.removeprefix(TIMM), path)
    return read_checkpoint(path, row)


def revision(name: str) -> str:
    """Which weights the name stands for: the hub's commit, or else their file's SHA-256."""
    path, _ = resolve(name)
    if path.parent.name == SNAPSHOTS:
        return path.name
    if path.is_dir():
        path = next(path / file for file in WEIGHT_FILES if (path / file).exists())
    return f"sha256:{SHA256.of_file(path)}"


def load_path(path: Path, row: Weights | None = None) -> tuple[TimeSformer, tuple[str, ...]]:
    """The model of a folder or checkpoint file; `row` fills in what its files leave out."""
    return _build(read_checkpoint(path, row))


def _build(checkpoint: Checkpoint) -> tuple[TimeSformer, tuple[str, ...]]:
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


def save(model: TimeSformer, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write a model as a hub-style folder that `load`, and for most models transformers, reads."""
    description = Description(
        config=model.config,
        labels=model.labels,
        sampling=model.sampling,
        preprocessing=model.preprocessing,
    )
    write_folder(folder, model.state_dict(), description, dtype)
