"""What a checkpoint file holds, without the numbers: each tensor's name, type and shape."""

from pathlib import Path

import torch
from torch import Tensor

from timesformer_cli.errors import WeightsError
from timesformer_cli.files import regular_file
from timesformer_cli.weights.tensors import STORED, read_tensors


def read_headers(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors on the meta device, where they take no memory, and the file's metadata.

    Of a safetensors file only the header is read; a pickle is mapped, never executed. Raises
    WeightsError as `read_tensors` does, but not for numbers that are not finite.
    """
    if path.suffix != ".safetensors":
        tensors, metadata = read_tensors(path)
        return {name: tensor.to("meta") for name, tensor in tensors.items()}, metadata
    from safetensors import SafetensorError, safe_open

    try:
        # It checks that the header and the file's length fit.
        with regular_file(path) as (_, name), safe_open(name, framework="pt") as whole:
            parts = {key: whole.get_slice(key) for key in whole.keys()}  # noqa: SIM118
            shapes = {key: (part.get_dtype(), part.get_shape()) for key, part in parts.items()}
            metadata = whole.metadata() or {}
    except SafetensorError as error:
        raise WeightsError(
            f"{path}: not a whole safetensors file ({error}); fetch it again"
        ) from error
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror or error}") from error
    for key, (dtype, _) in shapes.items():
        if dtype not in STORED:
            raise WeightsError(f"{path}: '{key}' in it is of type {dtype}, not supported")
    return {
        key: torch.empty(shape, dtype=STORED[dtype], device="meta")
        for key, (dtype, shape) in shapes.items()
    }, metadata
