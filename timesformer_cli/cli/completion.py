"""What a shell may complete a word with: models, schemes, devices; nothing heavy is imported."""

import glob
import os

import typer

from timesformer_cli.schemes import SCHEMES
from timesformer_cli.weights.catalogue import WEIGHTS

CONFIG = "config.json"
MODEL_SUFFIXES = (".safetensors", ".bin", ".pth", ".pyth", ".pt", ".onnx", ".pt2")
DEVICES = ("auto", "cpu", "cuda", "cuda:0", "mps")


def complete_model(incomplete: str) -> list[str]:
    """Names of the catalogue, then model folders and checkpoint files whose paths begin so.

    Of names with commas between them it is the last one. Without any of them a shell completes
    paths by itself.
    """
    before, comma, incomplete = incomplete.rpartition(",")
    paths = sorted(glob.glob(glob.escape(os.path.expanduser(incomplete)) + "*"))
    found = complete_name(incomplete) + [path for path in paths if _is_model(path)]
    return [before + comma + name for name in found]


def complete_name(incomplete: str) -> list[str]:
    """Names of the catalogue."""
    return [name for name in WEIGHTS if name.startswith(incomplete)]


def complete_scheme(incomplete: str) -> list[str]:
    """The attention schemes; of names with commas between them, the last one."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in SCHEMES if name.startswith(last)]


def complete_device(incomplete: str) -> list[str]:
    """The names that a device may have."""
    return [name for name in DEVICES if name.startswith(incomplete)]


def _is_model(path: str) -> bool:
    if os.path.isdir(path):
        return os.path.isfile(os.path.join(path, CONFIG))
    return path.endswith(MODEL_SUFFIXES)


def complete_command(context: typer.Context, incomplete: str) -> list[str]:
    """The commands of `tsf`."""
    commands = context.find_root().command.commands  # type: ignore[attr-defined]
    return [name for name in commands if name.startswith(incomplete)]
