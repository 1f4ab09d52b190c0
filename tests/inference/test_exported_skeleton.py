"""What is checked of an ONNX file is the file, but for the bytes of its tensors."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from timesformer_cli.inference.exported.skeleton import without_tensor_bytes


def made():
    """A small model with each way of holding numbers, and metadata behind its graph."""
    many = numpy_helper.from_array(np.arange(3000, dtype=np.float32), "many")
    listed = helper.make_tensor("listed", TensorProto.FLOAT, [300], [0.5] * 300)
    outside = TensorProto(name="outside", data_type=1, dims=[4], data_location=1)
    outside.external_data.add(key="location", value="model.onnx.data")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3000])
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(200)))
    graph = helper.make_graph([node], "graph", [value], [value], [many, listed, outside])
    model = helper.make_model(graph)
    model.metadata_props.add(key="tsf.version", value="1" * 300)
    return model


def test_only_the_raw_bytes_of_initializers_are_left_out():
    model = made()
    content = model.SerializeToString()
    kept = without_tensor_bytes(content)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")
    assert onnx.load_model_from_string(kept) == model
    assert len(kept) < len(content) - 12_000


def test_parts_of_a_message_that_come_twice_are_merged_as_protobuf_does():
    first, second = made(), made()
    second.graph.initializer[0].name = "another"
    content = first.SerializeToString() + second.SerializeToString()
    expected = onnx.load_model_from_string(content)
    for tensor in expected.graph.initializer:
        tensor.ClearField("raw_data")
    assert onnx.load_model_from_string(without_tensor_bytes(content)) == expected


def test_a_file_that_ends_early_is_none():
    content = made().SerializeToString()
    whole = [end for end in range(0, len(content) - 400, 7) if _is_message(content[:end])]
    assert all(end < 40 for end in whole)  # before its graph, which is most of it


def _is_message(content):
    try:
        without_tensor_bytes(content)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "content", [b"\x0b", b"\x00\x00", b"\xff" * 20, b"\x3a\xff\xff\xff\xff\x0f"]
)
def test_what_is_no_message_is_refused(content):
    with pytest.raises(ValueError, match=r"field|number"):
        without_tensor_bytes(content)


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_refused_or_kept(content):
    try:
        kept = without_tensor_bytes(content)
    except ValueError:
        return
    assert len(kept) <= len(content)
