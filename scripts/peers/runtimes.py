"""Other runtimes on exported files, as contenders; their input is normalised beforehand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scripts.peers.onnx_files import file_of
from timesformer_cli.errors import DeviceError

Clip = npt.NDArray[np.float32]  # normalised, (b t c h w)
PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}  # as OpenVINO calls them


def onnxruntime_on(
    folder: Path, source: str, dtype: str, device: torch.device, clip: Clip
) -> Callable[[], Tensor]:
    """onnxruntime on one of the exports, with as many threads as torch takes."""
    import onnxruntime

    path = _required(file_of(folder, source, dtype), device)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(
        str(path), options, providers=onnxruntime.get_available_providers()[-1:]
    )
    (taken,) = session.get_inputs()
    parts = _parts(clip, taken.shape[0])
    return lambda: _scores([session.run(None, {taken.name: part})[0] for part in parts])


def openvino_on(
    folder: Path, source: str, dtype: str, device: torch.device, clip: Clip
) -> Callable[[], Tensor]:
    """OpenVINO on one of the float32 exports, computing in `dtype`."""
    import openvino

    path = _required(file_of(folder, source, "float32"), device)
    core = openvino.Core()
    wanted = {
        "INFERENCE_PRECISION_HINT": PRECISIONS[dtype],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = core.compile_model(str(path), "CPU", wanted)
    batch = compiled.input(0).get_partial_shape()[0]
    parts = _parts(clip, None if batch.is_dynamic else batch.get_length())
    return lambda: _scores([np.array(compiled([part])[0]) for part in parts])


def _required(path: Path, device: torch.device) -> Path:
    if device.type != "cpu":
        raise DeviceError("compared on the CPU only")
    if not path.is_file():
        raise DeviceError(f"there is no {path.name}")
    return path


def _parts(clip: Clip, batch: object) -> list[Clip]:
    """The whole batch, or pieces of the size that the file was exported for."""
    return [clip] if not isinstance(batch, int) else np.split(clip, len(clip) // batch)


def _scores(logits: list[npt.NDArray[np.float32]]) -> Tensor:
    return torch.from_numpy(np.concatenate(logits)).softmax(dim=-1)
