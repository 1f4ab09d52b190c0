"""Open an exported file; its suffix chooses the runtime."""

from collections.abc import Callable
from pathlib import Path

from timesformer_cli.errors import DeviceError, TsfError, UsageError, WeightsError
from timesformer_cli.files import NOT_REGULAR
from timesformer_cli.inference.exported.manifest import Manifest
from timesformer_cli.inference.exported.model import ExportedModel
from timesformer_cli.weights.description import Description
from timesformer_cli.weights.file_kinds import require_no_stand_in
from timesformer_cli.weights.hub.locate import Located

UNPROVEN = "exported before there were digests, so a damaged weight would not show; export it again"


def read_manifest(path: Path) -> Manifest:
    """What the exported model in that file says of itself; raises WeightsError, UsageError."""
    validate, _ = _functions(path)
    return validate(path)


def foretold_export(located: Located) -> Description | None:
    """What an exported file says of itself, where that is told fast; `weights.assumed` for others."""
    if located.path.suffix != ".onnx":
        return None
    from timesformer_cli.inference.exported.onnx_file import describe_unproven

    try:
        return describe_unproven(located.path)
    except TsfError:  # said where it is opened
        return None


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


def open_located(
    located: Located, device: str = "auto", dtype: str = "auto", *, compile: bool = False
) -> tuple[ExportedModel, tuple[str, ...]]:
    """The exported model at that place, and notes on it.

    Raises what `open_exported` does, and UsageError where it is to be compiled.
    """
    if compile:
        raise UsageError(
            f"{located.name}: an exported model cannot be compiled; leave out --compile"
        )
    exported = open_exported(located.path, device, dtype)
    said = [] if exported.manifest.digest else [UNPROVEN]
    if located.path.suffix == ".pt2":
        from timesformer_cli.inference.device import slow_dtype

        if slow := slow_dtype(exported.dtype, exported.device):
            said.append(f"{slow}; export it again without --dtype")
    return exported, tuple(f"{located.name}: {text}" for text in said)


def _functions(path: Path) -> tuple[Callable[[Path], Manifest], Callable[[Path], ExportedModel]]:
    """The functions that check and that open a file with that suffix."""
    if not path.is_file():
        raise WeightsError(f"{path}: {NOT_REGULAR if path.exists() else 'no such file'}")
    require_no_stand_in(path)
    if path.suffix == ".onnx":
        from timesformer_cli.inference.exported.onnx_file import open_onnx, validate_onnx

        return validate_onnx, open_onnx
    from timesformer_cli.inference.exported.pt2_file import open_pt2, validate_pt2

    return validate_pt2, open_pt2


TORCH = {"pt2": "torch.export", "aoti": "AOTInductor"}


def runtime_name(kind: str) -> str:
    """Name and version of what runs a file of that kind, or a checkpoint."""
    if kind == "onnx":
        import onnxruntime

        return f"onnxruntime {onnxruntime.__version__}"
    import torch

    return f"{TORCH.get(kind, 'torch')} {torch.__version__}"
