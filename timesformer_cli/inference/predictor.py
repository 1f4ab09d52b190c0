"""A model made ready: on its device, in its dtype, from uint8 frames to scores."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from timesformer_cli.errors import DeviceError, UsageError
from timesformer_cli.inference.allocator import keep_freed_memory
from timesformer_cli.inference.form import InferenceForm, Make
from timesformer_cli.inference.kernels import find_mix, in_dtype
from timesformer_cli.inference.linear import find_linear
from timesformer_cli.model import TimeSformer

if TYPE_CHECKING:
    from timesformer_cli.inference.artefact import Artefact

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,
}


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` is CUDA, then MPS, then the CPU. Raises DeviceError."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"no device '{name}'; give auto, cpu, cuda, cuda:<number> or mps"
        ) from error
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise DeviceError(f"no device '{name}': this machine has {count} CUDA devices; try cpu")
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("no device 'mps' on this machine; try cpu")
    elif device.type not in ("cpu", "mps"):
        raise UsageError(f"'{name}' is not supported; give auto, cpu, cuda, cuda:<number> or mps")
    return device


def find_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of that name; `auto` is bfloat16 where the hardware multiplies in it."""
    if name != "auto":
        return DTYPES[name]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and _cpu_has_bfloat16()
    return torch.bfloat16 if native else torch.float32


def make_ready(
    model: TimeSformer, device: torch.device, dtype: torch.dtype, *, consume: bool = False
) -> InferenceForm:
    """The model's inference form, on its device, as fast as is known there.

    `dtype` int8 rounds the blocks' linear maps; the rest is then float32, on the CPU the attention
    bfloat16 where it computes in it. Raises DeviceError where that cannot be, or memory is short.
    """
    with _memory_explained(device):
        if dtype != torch.int8:
            make = Make(dtype, find_linear(device, dtype), find_mix(device, dtype))
        else:
            inner = find_dtype("auto", device)
            mix = in_dtype(inner, find_mix(device, inner))
            make = Make(linear=find_linear(device, dtype), mix=mix, precision=dtype)
        if device.type == "cpu":
            keep_freed_memory()
        return InferenceForm(model, make, consume=consume).to(device)


class Predictor:
    """Scores clips: uint8 frames in, softmax scores out."""

    def __init__(self, form: "InferenceForm | Artefact") -> None:
        self.form = form

    @torch.inference_mode()
    def scores(self, frames: npt.NDArray[np.uint8]) -> Tensor:
        """Scores `(b classes)`, float32 on the CPU, of RGB frames `(b t h w c)`.

        Raises DeviceError when the device runs out of memory.
        """
        device = self.form.device
        with _memory_explained(device):
            clip = torch.from_numpy(frames)
            if device.type == "cuda":
                clip = clip.pin_memory()
            logits: Tensor = self.form(clip.to(device, non_blocking=True))
            return logits.softmax(dim=-1).cpu()


@contextmanager
def _memory_explained(device: torch.device) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"{device} has no memory left; try a smaller --batch-size, --dtype bfloat16, or cpu"
        ) from error


def _cpu_has_bfloat16() -> bool:
    # torch offers no public question for this; absent in some version, it only costs speed.
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
