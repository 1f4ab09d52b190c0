"""Round the weights of an ONNX graph to 8 bits."""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import onnx_ir

LARGEST = 127  # rounded weights reach from minus this to this


def quantise(graph: "onnx_ir.Graph") -> None:
    """Round the weights of linear maps and convolutions to int8, with one scale per output.

    Linear maps multiply integers: added operators round their inputs in every run. They are those
    of onnxruntime's dynamic quantiser, which onnxruntime knows and joins; the quantiser itself
    would hold a model several times over. onnxruntime has no such kernel for 3-D convolutions, so
    their weights are stored in int8 and multiplied in float32. What is rounded is made when it is
    written.
    """
    for node in list(graph):
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        if weight is None or not weight.is_initializer() or weight.const_value is None:
            continue
        if node.op_type in ("Gemm", "MatMul"):
            _multiply_integers(graph, node, weight)
        elif node.op_type == "Conv":
            stored, scales = _rounded(graph, weight, outputs=0, turned=False)
            (restored,) = _insert(graph, node, "DequantizeLinear", [stored, scales], axis=0)
            node.replace_input_with(1, restored)
        else:
            continue
        if not weight.uses():
            del graph.initializers[str(weight.name)]


def _multiply_integers(
    graph: "onnx_ir.Graph", node: "onnx_ir.Node", weight: "onnx_ir.Value"
) -> None:
    """Put a product of integers, and what belongs around it, in the place of a linear map."""
    import onnx_ir

    turned = "transB" in node.attributes and node.attributes["transB"].as_int() == 1
    stored, scales = _rounded(graph, weight, outputs=0 if turned else -1, turned=turned)
    tokens, scale, zero = _insert(graph, node, "DynamicQuantizeLinear", [node.inputs[0]], outputs=3)
    (both,) = _insert(graph, node, "Mul", [scale, scales])
    (sums,) = _insert(graph, node, "MatMulInteger", [tokens, stored, zero])
    (floats,) = _insert(graph, node, "Cast", [sums], to=onnx_ir.DataType.FLOAT.value)
    (mapped,) = _insert(graph, node, "Mul", [floats, both])
    if len(node.inputs) > 2:
        (mapped,) = _insert(graph, node, "Add", [mapped, node.inputs[2]])
    (old,) = node.outputs
    if old.is_graph_output():
        mapped.name, mapped.shape, mapped.type = old.name, old.shape, old.type
        graph.outputs[list(graph.outputs).index(old)] = mapped
    for use in old.uses():
        use.node.replace_input_with(use.idx, mapped)
    graph.remove(node, safe=True)


def _insert(
    graph: "onnx_ir.Graph",
    before: "onnx_ir.Node",
    operator: str,
    inputs: "list[onnx_ir.Value | None]",
    *,
    outputs: int = 1,
    **attributes: int,
) -> "tuple[onnx_ir.Value, ...]":
    import onnx_ir

    given = [onnx_ir.AttrInt64(name, value) for name, value in attributes.items()]
    node = onnx_ir.Node("", operator, inputs, given, num_outputs=outputs)
    graph.insert_before(before, node)
    return tuple(node.outputs)


def _rounded(
    graph: "onnx_ir.Graph", weight: "onnx_ir.Value", *, outputs: int, turned: bool
) -> "tuple[onnx_ir.Value, onnx_ir.Value]":
    """A weight whose axis `outputs` is that of outputs: rounded, and the scale of each output."""
    import onnx_ir

    tensor, made = weight.const_value, []
    assert tensor is not None
    shape = [int(size) for size in tensor.shape.numpy()]
    kinds = {
        "int8": (onnx_ir.DataType.INT8, shape[::-1] if turned else shape),
        "scale": (onnx_ir.DataType.FLOAT, [shape[outputs]]),
    }
    for ending, (dtype, size) in kinds.items():
        name = f"{weight.name}_{ending}"
        if name not in graph.initializers:
            make = partial(_part, tensor, outputs, turned, ending)
            lazy = onnx_ir.LazyTensor(make, dtype=dtype, shape=onnx_ir.Shape(size), name=name)
            graph.register_initializer(onnx_ir.Value(name=name, const_value=lazy))
        made.append(graph.initializers[name])
    return made[0], made[1]


def _part(
    tensor: "onnx_ir.TensorProtocol", outputs: int, turned: bool, ending: str
) -> "onnx_ir.TensorProtocol":
    import onnx_ir

    values: npt.NDArray[np.float32] = tensor.numpy()
    rest = tuple(axis for axis in range(values.ndim) if axis != outputs % values.ndim)
    scale = np.abs(values).max(axis=rest, initial=1e-12, keepdims=True) / np.float32(LARGEST)
    if ending == "scale":
        return onnx_ir.tensor(scale.reshape(-1))
    digits = np.rint(values / scale).astype(np.int8)
    return onnx_ir.tensor(np.ascontiguousarray(digits.T) if turned else digits)
