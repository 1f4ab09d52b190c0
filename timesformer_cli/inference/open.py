"""Whatever `--model` names, ready to run: a checkpoint or an exported file."""

from pathlib import Path

from timesformer_cli.errors import UsageError
from timesformer_cli.inference.device import find_device, find_dtype
from timesformer_cli.inference.exported.model import Artefact
from timesformer_cli.inference.exported.open import open_artefact, read_manifest
from timesformer_cli.inference.fast.model import InferenceForm
from timesformer_cli.inference.predictor import make_ready
from timesformer_cli.weights.description import Description
from timesformer_cli.weights.hub.locate import is_artefact
from timesformer_cli.weights.load import load, read

Form = InferenceForm | Artefact


def ready(
    name: str, device: str = "auto", dtype: str = "auto", *, compile: bool = False
) -> tuple[Form, tuple[str, ...]]:
    """The model on that device in that dtype, and notes on what had to be assumed.

    Raises WeightsError, DeviceError, and UsageError for an export of another dtype.
    """
    if is_artefact(name):
        if compile:
            raise UsageError(f"{name}: an exported model cannot be compiled; leave out --compile")
        return open_artefact(Path(name).expanduser(), device, dtype), ()
    place = find_device(device)
    model, notes = load(name)
    return make_ready(model, place, find_dtype(dtype, place), consume=True, compile=compile), notes


def describe(name: str) -> Description:
    """What the model says of itself, its tensors still on disk; raises WeightsError, UsageError."""
    if is_artefact(name):
        return read_manifest(Path(name).expanduser()).description
    return read(name).description
