"""Open an exported file; its suffix chooses the runtime."""

from collections.abc import Callable
from pathlib import Path

from timesformer_cli.errors import DeviceError, UsageError, WeightsError
from timesformer_cli.files import NOT_REGULAR
from timesformer_cli.inference.exported.manifest import Manifest
from timesformer_cli.inference.exported.model import ExportedModel
from timesformer_cli.weights.file_kinds import require_no_stand_in


def read_manifest(path: Path) -> Manifest:
    """What the exported model in that file says of itself; raises WeightsError, UsageError."""
    validate, _ = _functions(path)
    return validate(path)


def open_exported(path: Path, device: str = "auto", dtype: str = "auto") -> ExportedModel:
    """The exported model in that file, which is checked before any runtime sees it.

    Raises WeightsError for a file that `tsf export` did not write, UsageError where its runtime is
    not installed or its dtype is another, DeviceError for a device other than the CPU.
    """
    if device not in ("auto", "cpu"):
        raise DeviceError(f"{path}: exported models run on the CPU only; leave out --device")
    _, opened = _functions(path)
    model = opened(path)
    if dtype not in ("auto", model.manifest.dtype):
        raise UsageError(
            f"{path}: exported in {model.manifest.dtype}; leave out --dtype {dtype}, or export "
            f"another"
        )
    return model


def _functions(path: Path) -> tuple[Callable[[Path], Manifest], Callable[[Path], ExportedModel]]:
    """The functions that check and that open a file with that suffix."""
    from timesformer_cli.inference.exported.onnx_file import open_onnx, validate_onnx
    from timesformer_cli.inference.exported.pt2_file import open_pt2, validate_pt2

    if not path.is_file():
        raise WeightsError(f"{path}: {NOT_REGULAR if path.exists() else 'no such file'}")
    require_no_stand_in(path)
    return (validate_onnx, open_onnx) if path.suffix == ".onnx" else (validate_pt2, open_pt2)


TORCH = {"pt2": "torch.export", "aoti": "AOTInductor"}


def runtime_name(kind: str) -> str:
    """Name and version of what runs a file of that kind, or a checkpoint."""
    import torch

    if kind == "onnx":
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}"
    return f"{TORCH.get(kind, 'torch')} {torch.__version__}"
