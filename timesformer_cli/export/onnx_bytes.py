"""Write an ONNX model as one file, a tensor at a time.

The usual way makes a second copy of all tensors as a message, and a third one as its bytes.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from timesformer_cli.inference.exported.skeleton import (
    GRAPH,
    INITIALIZER,
    LENGTH,
    RAW_DATA,
    varint_of,
)

if TYPE_CHECKING:
    import onnx_ir

SMALL = 4096  # bytes; a smaller tensor is written with the rest of the graph


def write_inside(model: "onnx_ir.Model", path: Path) -> None:
    """Write the file with its tensors in it; the model loses its large ones on the way."""
    import onnx_ir
    from onnx import TensorProto

    tensors = {
        name: value.const_value
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes > SMALL
    }
    for name in tensors:
        del model.graph.initializers[name]
    message = onnx_ir.to_proto(model)
    graph = message.graph.SerializeToString()
    message.ClearField("graph")
    heads = [
        TensorProto(
            name=name, dims=tensor.shape.numpy(), data_type=tensor.dtype.value
        ).SerializeToString()
        + _begun(RAW_DATA, tensor.nbytes)
        for name, tensor in tensors.items()
    ]
    sizes = [
        len(head) + tensor.nbytes for head, tensor in zip(heads, tensors.values(), strict=True)
    ]
    length = len(graph) + sum(len(_begun(INITIALIZER, size)) + size for size in sizes)
    with path.open("wb") as file:
        file.write(message.SerializeToString() + _begun(GRAPH, length) + graph)
        for head, size, tensor in zip(heads, sizes, tensors.values(), strict=True):
            content = tensor.tobytes()
            assert len(head) + len(content) == size, tensor.name
            file.write(_begun(INITIALIZER, size) + head)
            file.write(content)


def _begun(field: int, length: int) -> bytes:
    """The beginning of a field that is so many bytes long."""
    return varint_of(field << 3 | LENGTH) + varint_of(length)
