"""Rounding to 8 bits: what onnxruntime's own quantiser makes of the same graph."""

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from tests.export.test_export import exported, frames_of, small
from timesformer_cli.inference.exported.open import open_exported

SLOW = pytest.mark.slow  # torch's ONNX exporter takes seconds a model


def tensors(path):
    return {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}


@pytest.mark.parametrize(
    "changes",
    [
        {"attention": "joint"},
        pytest.param({"qkv_bias": False}, marks=SLOW),
        pytest.param({"pooler_blocks": 1}, marks=SLOW),
    ],
    ids=str,
)
def test_maps_are_rounded_as_onnxruntime_rounds_them(tmp_path, changes):
    model = small(depth=1, **changes)
    (tmp_path / "int8").mkdir()
    whole = exported(tmp_path, model, "onnx")
    own = exported(tmp_path / "int8", model, "onnx", dtype="int8")
    theirs = tmp_path / "theirs.onnx"
    quantize_dynamic(
        whole, theirs, op_types_to_quantize=["MatMul"], per_channel=True,
        weight_type=QuantType.QInt8,
    )  # fmt: skip
    kinds = [Counter(n.op_type for n in onnx.load(path).graph.node) for path in (own, theirs)]
    assert kinds[0] == kinds[1]
    rounded = {n: t for n, t in tensors(theirs).items() if n.endswith(("_quantized", "_scale"))}
    assert len(rounded) >= 12
    found = tensors(own)
    for name, tensor in rounded.items():
        ending = "_int8" if name.endswith("_quantized") else "_scale"
        stem = name.removesuffix("_quantized").removesuffix("_scale").removesuffix("_Transposed")
        np.testing.assert_array_equal(found[stem + ending], tensor, name)
    frames = frames_of(model, 2)
    given = open_exported(own)(frames)
    onnx.save(_as_ours(onnx.load(theirs), own), theirs)
    np.testing.assert_allclose(given, open_exported(theirs)(frames), atol=1e-6)


def _as_ours(model, path):
    """Without zero points of weights, which are 0, and saying of itself what another file says."""
    for node in model.graph.node:
        if node.op_type == "MatMulInteger":
            node.input.pop()
    del model.metadata_props[:]
    said = [each for each in onnx.load(path).metadata_props if "sha256" not in each.key]
    model.metadata_props.extend(said)
    return model
