"""Running an ONNX file of ours, and refusing any other before onnxruntime opens it."""

from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.inference.exported.manifest import INPUT, OUTPUT, Manifest
from timesformer_cli.inference.exported.model import ExportedModel

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

LARGEST = 2**31  # bytes of a protobuf file
DOMAINS = ("", "ai.onnx")  # two names of the standard operators
NUMBERS = frozenset("FLOAT INT STRING FLOATS INTS STRINGS".split())


def require_packages(*modules: str) -> None:
    """Raise UsageError, with how to install it, where one of the extra's packages is missing."""
    from importlib import import_module

    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise UsageError(
                f"an .onnx needs {module}: pip install 'timesformer-cli[onnx]'"
            ) from error


def open_onnx(path: Path) -> ExportedModel:
    """The model in that file, ready to run; raises WeightsError, UsageError."""
    manifest = validate_onnx(path)
    session = start_session(path)

    def run(clip: Tensor) -> Tensor:
        (logits,) = session.run([OUTPUT], {INPUT: clip.numpy()})
        return torch.from_numpy(logits)

    return ExportedModel(manifest, run)


def start_session(path: Path) -> Any:
    """An onnxruntime session on the CPU; raises WeightsError where it will not have the file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Threads that spin while they wait take the processors from the decoders.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base but this
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{path}: onnxruntime refuses it ({reason:.200})") from error


def validate_onnx(path: Path) -> Manifest:
    """What the file says of itself, once its graph is known to be one of ours.

    Raises WeightsError for operators from elsewhere, tensors outside the file's folder, tensors
    larger than their file, and other inputs and outputs than `tsf export` writes.
    """
    require_packages("onnx", "onnxruntime")
    import onnx
    from google.protobuf.message import DecodeError

    if path.stat().st_size > LARGEST:
        raise WeightsError(f"{path}: an ONNX file cannot have more than 2 GB; refused")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except DecodeError as error:
        raise WeightsError(
            f"{path}: not an ONNX file, or a damaged one; export it again"
        ) from error
    strings = {entry.key: entry.value for entry in model.metadata_props}
    manifest = Manifest.from_strings(strings, path)
    graph = model.graph
    reason = _foreign(model) or _misplaced(path, graph.initializer) or _unlike(manifest, graph)
    if reason:
        raise WeightsError(f"{path}: {reason}; refused")
    return manifest


def _foreign(model: "ModelProto") -> str:
    """What in it `tsf export` does not write; empty where there is nothing of the kind."""
    from onnx import AttributeProto

    if model.functions or model.training_info or model.graph.sparse_initializer:
        return "there are functions, training steps or sparse tensors in it"
    for node in model.graph.node:
        if node.domain not in DOMAINS:
            return f"its operator '{node.domain}.{node.op_type}' is no standard one"
        kinds = {AttributeProto.AttributeType.Name(one.type) for one in node.attribute}
        if kinds - NUMBERS:
            return f"its operator '{node.op_type}' holds a graph or tensor of its own"
    return ""


def _misplaced(path: Path, tensors: Iterable["TensorProto"]) -> str:
    """Which tensor lies outside the file and what is beside it, or cannot be all there."""
    from onnx import TensorProto

    inside = path.stat().st_size
    for tensor in tensors:
        room = inside
        if tensor.data_location == TensorProto.EXTERNAL:
            where = {entry.key: entry.value for entry in tensor.external_data}
            name = where.get("location", "")
            beside = path.with_name(name) if name and name == Path(name).name else None
            if beside is None or beside.is_symlink() or not beside.is_file():
                return f"tensor '{tensor.name}' lies at '{name}', no plain file beside it"
            status = beside.stat()
            if status.st_nlink > 1:
                return f"'{name}' beside it is a link to another file"
            room = status.st_size
            numbers = [
                where.get(key, default) for key, default in (("offset", "0"), ("length", ""))
            ]
            if not all(number.isdecimal() for number in numbers) or sum(map(int, numbers)) > room:
                return f"tensor '{tensor.name}' lies beyond the end of '{name}'"
        if min(tensor.dims, default=0) < 0 or prod(tensor.dims) > room:
            return f"tensor '{tensor.name}' claims more than the file holds"
    return ""


def _unlike(manifest: Manifest, graph: "GraphProto") -> str:
    """Which input or output is not what the metadata promises."""
    taken = "UINT8" if manifest.pixels else "FLOAT"
    given = (manifest.batch, manifest.description.config.classes)
    for what, values, expected in (
        ("input", graph.input, (INPUT, taken, manifest.shape)),
        ("output", graph.output, (OUTPUT, "FLOAT", given)),
    ):
        found = [_face(value) for value in values]
        if found != [expected]:
            return f"its {what} is {found[0] if found else 'missing'}, not {expected}"
    return ""


def _face(value: "ValueInfoProto") -> tuple[str, str, tuple[int | None, ...]]:
    from onnx import TensorProto

    tensor = value.type.tensor_type
    shape = (dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    return value.name, TensorProto.DataType.Name(tensor.elem_type), tuple(shape)
