"""Run an ONNX file that tsf wrote, and refuse any other before onnxruntime opens it."""

import os
from collections.abc import Iterable, Mapping
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy.typing as npt

from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.files import regular_file
from timesformer_cli.inference.exported.manifest import (
    DIGEST,
    INPUT,
    OUTPUT,
    Manifest,
    changed_since_export,
)
from timesformer_cli.inference.exported.model import ExportedModel
from timesformer_cli.inference.exported.skeleton import without_tensor_bytes
from timesformer_cli.inference.outputs import Floats
from timesformer_cli.installing import how_to_install
from timesformer_cli.weights.description import Description
from timesformer_cli.weights.digest import BLOCK, SHA256

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

LARGEST = 2**31  # bytes; the limit of protobuf
DOMAINS = ("", "ai.onnx")  # both name the standard operators
DATA_DIGEST = f"{DIGEST}.data"  # the SHA-256 of the file of tensors beside it, where there is one
# Attribute types that cannot hold a graph or a tensor.
NUMBERS = frozenset("FLOAT INT STRING FLOATS INTS STRINGS".split())


def require_packages(*modules: str) -> None:
    """Raise UsageError, which says how to install it, where one of these packages is missing."""
    from importlib import import_module

    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise UsageError(f"an .onnx needs {module}: {how_to_install('onnx')}") from error


def open_onnx(path: Path) -> ExportedModel:
    """The model in that file, ready to run; raises WeightsError, UsageError."""
    manifest = validate_onnx(path)
    session = start_session(path)

    def run(clip: npt.NDArray[Any]) -> Floats:
        logits: Floats = session.run([OUTPUT], {INPUT: clip})[0]
        return logits

    return ExportedModel(manifest, run)


def start_session(path: Path) -> Any:
    """An onnxruntime session on the CPU; raises WeightsError where onnxruntime refuses the file."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads := os.environ.get("OMP_NUM_THREADS"):  # its own threads heed no such variable
        options.intra_op_num_threads = int(threads)
    # Threads that spin while they wait take processor time from the decoders.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no other common base
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{path}: onnxruntime refuses it ({reason:.200})") from error


def seal_onnx(path: Path) -> None:
    """Append the digest of all that was written before it, and first that of the tensors beside it.

    Fields of a protobuf message may be appended to it: nothing that is there is written again.
    """
    data = path.with_name(f"{path.name}.data")
    if data.exists():
        _append(path, DATA_DIGEST, SHA256.of_file(data))
    _append(path, DIGEST, SHA256.of_file(path))


def _append(path: Path, key: str, value: str) -> None:
    with path.open("ab") as file:
        file.write(_entry(key, value))


def _entry(key: str, value: str) -> bytes:
    """The bytes of one more entry of an ONNX file's metadata."""
    from onnx import ModelProto, StringStringEntryProto

    entry = StringStringEntryProto(key=key, value=value)
    content: bytes = ModelProto(metadata_props=[entry]).SerializeToString()
    return content


def validate_onnx(path: Path) -> Manifest:
    """What the file says of itself, once its graph is known to be one that tsf writes.

    Raises WeightsError for a file that changed since its export, operators that are no standard
    ones, tensors outside the file's folder, tensors larger than their file, and inputs or outputs
    that `tsf export` does not write.
    """
    model, strings, whole = _read(path)
    if not whole:
        raise changed_since_export(path)
    manifest = Manifest.from_strings(strings, path)
    graph = model.graph
    reason = _foreign(model) or _misplaced(path, graph.initializer) or _unlike(manifest, graph)
    if reason:
        raise WeightsError(f"{path}: {reason}; refused")
    # Only now, since only now it is known that what lies beside it is a plain file.
    if DIGEST in strings and not _is_whole_beside(path, graph.initializer, strings):
        raise changed_since_export(path)
    return manifest


def describe_unproven(path: Path) -> Description:
    """What the file says of itself, before anything else of it is looked at.

    Good for work that can begin before it is validated. Raises WeightsError, UsageError.
    """
    return Manifest.from_strings(_read(path, hashed=False)[1], path).description


def _read(path: Path, *, hashed: bool = True) -> tuple["ModelProto", dict[str, str], bool]:
    """The model without its tensors' bytes, its metadata, and whether its digest is right."""
    require_packages("onnx", "onnxruntime")
    import onnx
    from google.protobuf.message import DecodeError

    try:
        if path.stat().st_size > LARGEST:
            raise WeightsError(f"{path}: an ONNX file cannot have more than 2 GB; refused")
        with regular_file(path) as (file, _):
            with mmap(file.fileno(), 0, access=ACCESS_READ) as content:
                kept = without_tensor_bytes(content)
            # From bytes, because onnx.load would also open the files that the tensors name.
            model = onnx.load_model_from_string(kept)
            strings = {entry.key: entry.value for entry in model.metadata_props}
            whole = not hashed or DIGEST not in strings or _is_whole(file, strings[DIGEST])
    except OSError as error:
        raise WeightsError(f"{path}: {error.strerror}") from error
    except (DecodeError, ValueError) as error:  # ValueError also of a file without a byte
        raise WeightsError(
            f"{path}: not an ONNX file, or a damaged one; export it again"
        ) from error
    return model, strings, whole


def _is_whole(file: BinaryIO, digest: str) -> bool:
    """Whether the digest, the file's last entry, is that of all that comes before it."""
    left = os.fstat(file.fileno()).st_size - len(_entry(DIGEST, digest))
    hasher = SHA256.start(left)
    file.seek(0)
    while left > 0 and (block := file.read(min(left, BLOCK))):
        hasher.update(block)
        left -= len(block)
    return hasher.hexdigest() == digest


def _is_whole_beside(
    path: Path, tensors: Iterable["TensorProto"], strings: Mapping[str, str]
) -> bool:
    """Whether the tensors beside the file are those whose digest it has."""
    from onnx import TensorProto

    outside = [tensor for tensor in tensors if tensor.data_location == TensorProto.EXTERNAL]
    names = {
        entry.value for one in outside for entry in one.external_data if entry.key == "location"
    }
    return all(SHA256.of_file(path.with_name(name)) == strings.get(DATA_DIGEST) for name in names)


def _foreign(model: "ModelProto") -> str:
    """What in the model `tsf export` does not write, in words; empty where there is nothing."""
    from onnx import AttributeProto

    if model.functions or model.training_info or model.graph.sparse_initializer:
        return "there are functions, training steps or sparse tensors in it"
    for node in model.graph.node:
        if node.domain not in DOMAINS:
            return f"its operator '{node.domain}.{node.op_type}' is no standard one"
        kinds = {AttributeProto.AttributeType.Name(given.type) for given in node.attribute}
        if kinds - NUMBERS:
            return f"its operator '{node.op_type}' holds a graph or tensor of its own"
    return ""


def _misplaced(path: Path, tensors: Iterable["TensorProto"]) -> str:
    """Which tensor lies elsewhere, or is larger than its file, in words; empty where none is.

    onnx.checker lets offsets beyond the end of a file through, and onnxruntime opens hard links.
    """
    from onnx import TensorProto

    own_size = path.stat().st_size
    for tensor in tensors:
        room = own_size
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
        # An element takes a byte or more, so this holds for every dtype.
        if min(tensor.dims, default=0) < 0 or prod(tensor.dims) > room:
            return f"tensor '{tensor.name}' claims more than the file holds"
    return ""


def _unlike(manifest: Manifest, graph: "GraphProto") -> str:
    """Which input or output is not what the metadata promises, in words; empty where all are."""
    taken = "UINT8" if manifest.pixels else "FLOAT"
    classes = manifest.description.config.classes
    given = (manifest.batch, classes)
    for what, values, expected in (
        ("input", graph.input, (INPUT, taken, manifest.shape)),
        ("output", graph.output, (OUTPUT, "FLOAT", given)),
    ):
        signatures = [_signature(value) for value in values]
        if what == "output" and signatures and signatures[0][:2] == expected[:2]:
            scores = signatures[0][2][-1:]
            if scores != (classes,):
                return (
                    f"it gives {scores[0] if scores else 'no'} scores and names {classes} classes"
                )
        if signatures != [expected]:
            return f"its {what} is {signatures[0] if signatures else 'missing'}, not {expected}"
    return ""


def _signature(value: "ValueInfoProto") -> tuple[str, str, tuple[int | None, ...]]:
    """Name, element type and shape; None stands for a size that is free."""
    from onnx import TensorProto

    tensor = value.type.tensor_type
    shape = (dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim)
    return value.name, TensorProto.DataType.Name(tensor.elem_type), tuple(shape)
