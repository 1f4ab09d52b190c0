"""Open what `--model` names so that it can run: a checkpoint made fast, or an exported file."""

from timesformer_cli.inference.device import find_device, find_dtype, slow_dtype
from timesformer_cli.inference.exported.open import open_located, read_manifest
from timesformer_cli.inference.fast.model import make_fast
from timesformer_cli.inference.runnable import RunnableModel
from timesformer_cli.weights.description import Description
from timesformer_cli.weights.hub.locate import Located, as_located
from timesformer_cli.weights.load import load_model, read_located


def open_model(
    model: str | Located, device: str = "auto", dtype: str = "auto", *, compile: bool = False
) -> tuple[RunnableModel, tuple[str, ...]]:
    """The model on that device in that dtype, and notes on what had to be assumed.

    Raises WeightsError, DeviceError, and UsageError where an exported file has another dtype or is
    to be compiled.
    """
    located = as_located(model)
    if located.exported:
        return open_located(located, device, dtype, compile=compile)
    place = find_device(device)  # before the weights are read, which may take long
    # Weights of 16 bits stay on disk until each block is made fast: they are never held twice.
    loaded, notes = load_model(located, as_stored=True)
    kind = find_dtype(dtype, place)
    if slow := slow_dtype(kind, place):
        notes += (f"{slow}; leave out --dtype",)
    return make_fast(loaded, place, kind, consume=True, compile=compile), notes


def describe_model(model: str | Located) -> Description:
    """What the model says of itself; its tensors are not read. Raises WeightsError, UsageError."""
    located = as_located(model)
    if located.exported:
        return read_manifest(located.path).description
    return read_located(located).description
