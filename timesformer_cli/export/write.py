"""Write a model's fast form as a file: ONNX, torch.export or AOTInductor."""

import logging
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from timesformer_cli.errors import DeviceError
from timesformer_cli.export.repeated import repeat_blocks, thinned
from timesformer_cli.inference.device import DTYPES
from timesformer_cli.inference.exported.manifest import INPUT, OUTPUT, Manifest
from timesformer_cli.inference.exported.model import ExportedModel
from timesformer_cli.inference.exported.onnx_file import seal_onnx
from timesformer_cli.inference.exported.pt2_file import on_arrays, seal_pt2
from timesformer_cli.inference.fast.blocks import LayerFactory
from timesformer_cli.inference.fast.model import FastModel
from timesformer_cli.model import TimeSformer

if TYPE_CHECKING:
    import onnx_ir

LARGEST_INSIDE = 2**31 - 2**26  # bytes of tensors in one ONNX file, with room for the graph
UNNOTED = "do_not_emit_stack_traces"  # a setting of newer releases of torch; older ones heed it not
# What tracing keeps of the source: paths of this machine, classes, code. None of it is written.
ORIGIN = ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn", "from_node", "custom")


def write_onnx(model: TimeSformer, manifest: Manifest, path: Path, opset: int) -> int:
    """Write one ONNX file; returns the bytes of its weights in float32.

    Above 2 GB, the limit of protobuf, the tensors lie in `<name>.data` beside it.
    """
    import onnx_ir

    from timesformer_cli.export.onnx_bytes import write_inside
    from timesformer_cli.export.quantise import quantise

    rounded = manifest.dtype == "int8"  # a float32 graph that is rounded afterwards
    dtype = torch.float32 if rounded else DTYPES[manifest.dtype]
    make = LayerFactory(dtype, mix=portable_attention)
    traced = _graph_of(model, manifest, make, opset)
    weight_bytes = sum(4 * each.size for each in _tensors(traced) if each.dtype.is_floating_point())
    if rounded:
        quantise(traced.graph)
    _shorten(traced.graph)
    _name_batch(traced.graph)
    traced.metadata_props.update(manifest.to_strings())
    if sum(each.nbytes for each in _tensors(traced)) > LARGEST_INSIDE:
        onnx_ir.save(traced, path, external_data=f"{path.name}.data")
    else:
        write_inside(traced, path)
    seal_onnx(path)
    return weight_bytes


def _graph_of(
    model: TimeSformer, manifest: Manifest, make: LayerFactory, opset: int
) -> "onnx_ir.Model":
    """The model's fast form as an ONNX graph, for which only some of its like blocks are traced."""
    from onnx_ir.passes import common

    thin, runs = thinned(model, make)
    traced = _traced(FastModel(thin, make), manifest, opset)
    if not repeat_blocks(traced.graph, runs, make):
        traced = _traced(FastModel(model, make), manifest, opset)
    common.ClearMetadataAndDocStringPass()(traced)
    traced.metadata_props.clear()
    return traced


def _tensors(traced: "onnx_ir.Model") -> "list[onnx_ir.TensorProtocol]":
    held = (value.const_value for value in traced.graph.initializers.values())
    return [tensor for tensor in held if tensor is not None]


def _traced(fast: FastModel, manifest: Manifest, opset: int) -> "onnx_ir.Model":
    with _quiet():
        exported = torch.onnx.export(
            _trace(fast, manifest),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=opset,
            dynamo=True,
            verbose=False,
        )
    assert exported is not None
    return exported.model


def write_pt2(model: TimeSformer, manifest: Manifest, path: Path) -> int:
    """Write one torch.export archive; returns the bytes of its weights in float32.

    It holds no paths or names of the source code.
    """
    fast = FastModel(model, LayerFactory(DTYPES[manifest.dtype]))
    program = _anonymous(_trace(fast, manifest))
    program._example_inputs = None  # they would be pickled into the file
    with _quiet():
        torch.export.save(program, path)
    seal_pt2(path, manifest)
    return _float32_bytes(fast)


def write_aoti(model: TimeSformer, manifest: Manifest, path: Path) -> int:
    """Write one AOTInductor package; returns the bytes of its weights in float32.

    It holds machine code for this kind of processor, and the weights. Raises DeviceError where
    there is no C++ compiler, or where it fails.
    """
    from torch._inductor import aoti_compile_and_package
    from torch._inductor.exc import CppCompileError
    from torch._inductor.utils import fresh_cache

    compiler = os.environ.get("CXX") or ("cl" if sys.platform == "win32" else "g++")
    if shutil.which(compiler) is None:
        raise DeviceError(
            f"--aoti compiles C++, and there is no compiler '{compiler}' on this machine; install "
            f"one (CXX names another), or export --pt2"
        )
    fast = FastModel(model, LayerFactory(DTYPES[manifest.dtype]))
    program = _anonymous(_trace(fast, manifest))
    strings = {"aot_inductor.metadata": manifest.to_strings()}
    try:
        with _quiet(), fresh_cache():
            aoti_compile_and_package(program, package_path=str(path), inductor_configs=strings)
    except CppCompileError as error:
        reason = str(error).strip().splitlines()[-1]
        raise DeviceError(f"--aoti: '{compiler}' failed ({reason:.200}); export --pt2") from error
    return _float32_bytes(fast)


def open_aoti(path: Path, manifest: Manifest) -> ExportedModel:
    """The package that `write_aoti` just wrote.

    It is machine code and cannot be checked, so nothing else is ever opened like this.
    """
    from torch._inductor import aoti_load_package

    with _quiet():
        return ExportedModel(manifest, on_arrays(aoti_load_package(str(path))))


def _float32_bytes(fast: FastModel) -> int:
    return sum(4 * tensor.numel() for tensor in fast.state_dict().values())


def portable_attention(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
    """Softmax attention `(n heads m k)` made of operators that every runtime has."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if seen is not None:
        scores = scores.masked_fill(~seen, -torch.inf)
    mixed: Tensor = scores.softmax(dim=-1) @ v
    return mixed


def _shorten(graph: "onnx_ir.Graph") -> None:
    """Drop what follows from the rest of the graph: shapes, and long names of inner values."""
    for number, node in enumerate(graph):
        node.name = f"n{number}"
        for place, value in enumerate(node.outputs):
            if not value.is_graph_output():
                value.name = f"n{number}.{place}"
                value.shape = value.type = None
    for value in graph.initializers.values():
        value.shape = value.type = None


def _name_batch(graph: "onnx_ir.Graph") -> None:
    """Call the free axis `batch`; tracing gave it a number."""
    import onnx_ir

    for value in (*graph.inputs, *graph.outputs):
        if value.shape is not None and not isinstance(value.shape[0], int):
            value.shape = onnx_ir.Shape(["batch", *value.shape[1:]])


@torch.no_grad()
def _trace(fast: FastModel, manifest: Manifest) -> ExportedProgram:
    """The graph of the fast model at the clip shape of the manifest."""
    # Two clips where the batch is free: tracing would take a size of one for a constant.
    shape = [size or 2 for size in manifest.shape]
    clip = torch.zeros(shape, dtype=torch.uint8 if manifest.pixels else torch.float32)
    dynamic = {0: Dim.DYNAMIC} if manifest.batch is None else {}
    with _quiet():
        return torch.export.export(fast, (clip,), dynamic_shapes=(dynamic,))


def _anonymous(program: ExportedProgram) -> ExportedProgram:
    """The program without what tracing kept of the source."""
    for node in program.graph.nodes:
        for key in ORIGIN:
            node.meta.pop(key, None)
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside the block, warnings and logs are dropped: users cannot act on what exporters say.

    Nor is it noted where each operator was called, which took a sixth of the tracing.
    """
    before, noted = logging.root.manager.disable, getattr(torch.fx.config, UNNOTED, False)
    logging.disable(logging.WARNING)
    setattr(torch.fx.config, UNNOTED, True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        setattr(torch.fx.config, UNNOTED, noted)
        logging.disable(before)
