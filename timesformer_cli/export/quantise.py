"""Round an ONNX file to 8 bits."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto


def quantise(path: Path) -> None:
    """Round the weights of a float32 file to int8, with one scale per output.

    Linear maps multiply integers: onnxruntime's dynamic quantiser adds operators that round their
    inputs in every run. It has no such kernel for 3-D convolutions, so their weights are stored in
    int8 and multiplied in float32.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    given = onnx.load(path, load_external_data=False)
    del given.graph.initializer[:]  # what it said is kept, its tensors are not
    quantize_dynamic(
        path, path, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8
    )
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)  # of the float32 file
    model = onnx.load(path)
    graph = model.graph
    for node in list(graph.node):
        if node.op_type == "Conv":
            _store_int8(graph, node)
        elif node.op_type == "MatMulInteger":
            # The weights' zero points: all are 0, since the ranges are symmetric.
            zeros = node.input.pop()
            graph.initializer.remove(_tensor(graph, zeros))
    # The quantiser rewrites these; the file goes on saying what it said before.
    for rounded, original in (
        (graph.value_info, given.graph.value_info),
        (model.opset_import, given.opset_import),
        (model.metadata_props, given.metadata_props),
    ):
        del rounded[:]
        rounded.extend(original)
    onnx.save(model, path)


def _store_int8(graph: "GraphProto", conv: "NodeProto") -> None:
    """Store the convolution's weight in int8, and add an operator that makes it float32 again."""
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
    named: TensorProto = next(tensor for tensor in graph.initializer if tensor.name == name)
    return named
