"""Weights: finding them, reading them safely, other code bases' layouts."""

from timesformer_cli.weights.description import Description
from timesformer_cli.weights.folder import Checkpoint, read_checkpoint, write_folder
from timesformer_cli.weights.hub import resolve

__all__ = ["Checkpoint", "Description", "read_checkpoint", "resolve", "write_folder"]
