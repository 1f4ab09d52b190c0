"""Exported files opened by their suffix, whichever runtime runs them."""

from pathlib import Path
from types import ModuleType

from timesformer_cli.errors import DeviceError, UsageError, WeightsError
from timesformer_cli.inference.exported.manifest import Manifest
from timesformer_cli.inference.exported.model import Artefact


def read_manifest(path: Path) -> Manifest:
    """What the exported model in that file says of itself; raises WeightsError, UsageError."""
    manifest: Manifest = _reader(path).check(path)
    return manifest


def open_artefact(path: Path, device: str = "auto", dtype: str = "auto") -> Artefact:
    """The exported model in that file, checked before any runtime sees it.

    Raises WeightsError for what `tsf export` did not write, UsageError where its runtime is not
    installed or it is of another dtype, DeviceError for another device than the CPU.
    """
    if device not in ("auto", "cpu"):
        raise DeviceError(f"{path}: exported models run on the CPU only; leave out --device")
    artefact: Artefact = _reader(path).read(path)
    if dtype not in ("auto", artefact.manifest.dtype):
        raise UsageError(
            f"{path}: exported in {artefact.manifest.dtype}; leave out --dtype {dtype}, or export "
            f"another"
        )
    return artefact


def _reader(path: Path) -> ModuleType:
    from timesformer_cli.inference.exported import onnx_file, pt2_file

    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    return onnx_file if path.suffix == ".onnx" else pt2_file


TORCH = {"pt2": "torch.export", "aoti": "AOTInductor"}


def runtime_name(kind: str) -> str:
    """What runs a file of that kind, or a checkpoint, and its version."""
    import torch

    if kind == "onnx":
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}"
    return f"{TORCH.get(kind, 'torch')} {torch.__version__}"
