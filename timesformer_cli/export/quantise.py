"""An ONNX file rounded to 8 bits."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto


def quantise(path: Path) -> None:
    """Round the weights of a float32 file to int8, one scale an output.

    Linear maps multiply in integers: what they are given is rounded, as it comes, by onnxruntime's
    dynamic quantiser. It has no such kernel for 3-D convolutions: their weights are stored in int8
    and multiply as float32.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    given = onnx.load(path, load_external_data=False)
    quantize_dynamic(
        path, path, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8
    )
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)
    model = onnx.load(path)
    graph = model.graph
    for node in list(graph.node):
        if node.op_type == "Conv":
            _store_int8(graph, node)
        elif node.op_type == "MatMulInteger":
            zeros = node.input.pop()  # no weight is rounded to anything but a symmetric range
            graph.initializer.remove(_tensor(graph, zeros))
    for ours, theirs in (
        (graph.value_info, given.graph.value_info),
        (model.opset_import, given.opset_import),
        (model.metadata_props, given.metadata_props),
    ):
        del ours[:]
        ours.extend(theirs)
    onnx.save(model, path)


def _store_int8(graph: "GraphProto", conv: "NodeProto") -> None:
    """The convolution's weight in int8, and an operator before it that makes it float32 again."""
    import numpy as np
    from onnx import helper, numpy_helper

    name = conv.input[1]
    weight = _tensor(graph, name)
    values = numpy_helper.to_array(weight)
    scale = np.abs(values).max(axis=tuple(range(1, values.ndim)), initial=1e-12) / 127
    rounded = np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype(np.int8)
    graph.initializer.remove(weight)
    stored, scales = f"{name}_int8", f"{name}_scale"
    graph.initializer.extend(
        [numpy_helper.from_array(rounded, stored), numpy_helper.from_array(scale, scales)]
    )
    graph.node.insert(0, helper.make_node("DequantizeLinear", [stored, scales], [name], axis=0))


def _tensor(graph: "GraphProto", name: str) -> "TensorProto":
    found: TensorProto = next(tensor for tensor in graph.initializer if tensor.name == name)
    return found
