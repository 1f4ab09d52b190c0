"""Blocks that are traced once and repeated: the graph is that of all blocks."""

import onnx_ir
import pytest
import torch

from tests.export.test_export import VARIANTS, assert_same, exported, manifest_of, small
from timesformer_cli.export import repeated, run, write
from timesformer_cli.inference.exported.open import open_exported
from timesformer_cli.inference.fast.blocks import LayerFactory
from timesformer_cli.inference.fast.model import FastModel

SLOW = pytest.mark.slow  # torch's ONNX exporter takes seconds a model
DEEP = [{**changes, "depth": 5} for changes in VARIANTS]
DIVIDED = {"attention": "divided", "depth": 5}
MAKE = LayerFactory(mix=write.portable_attention)


def operations(graph):
    """The operators in order, each with what it takes: the number of a node, or a name and bytes."""
    numbers, told = {}, []
    for number, node in enumerate(graph):
        taken = [numbers.get(value) or described(value) for value in node.inputs]
        told.append((repeated._operation(node)[:2], taken))
        numbers.update((value, f"{number}.{place}") for place, value in enumerate(node.outputs))
    return told


def described(value):
    if value is None or value.const_value is None:
        return value and value.name
    array = value.const_value.numpy()
    # What is no weight of a block is called by the order in which it was met.
    return value.name if ".blocks." in value.name else "", array.tobytes()


@pytest.mark.parametrize("changes", DEEP, ids=str)
def test_all_blocks_but_the_last_are_alike(changes):
    model = small(**changes)
    thin, runs = repeated.thinned(model, MAKE)
    whole, kept = (
        [len(m.blocks) for m in (each, each.over_frames, each.over_time) if m is not None]
        for each in (model, thin)
    )
    # Where blocks alternate none is like the one before it; two paths run block by block.
    all_of_them = model.config.scheme.alternate or model.fast is not None
    assert kept == [blocks if all_of_them else min(blocks, 4) for blocks in whole]
    assert sum(len(each.untraced) for each in runs) == sum(whole) - sum(kept)


def test_blocks_of_other_shapes_are_traced_each():
    model = small(depth=8)
    model.blocks[4].mlp.fc1 = torch.nn.Linear(64, 32)
    model.blocks[4].mlp.fc2 = torch.nn.Linear(32, 64)
    thin, runs = repeated.thinned(model, MAKE)
    assert [each.place for each in runs] == [2]
    assert list(thin.blocks) == [model.blocks[place] for place in (0, 1, 2, 4, 5, 6, 7)]


def traced(model):
    """The graph of the thinned model, and what it lacks."""
    thin, runs = repeated.thinned(model, MAKE)
    return write._traced(FastModel(thin, MAKE), manifest_of(model), run.OPSET).graph, runs


@pytest.mark.parametrize(
    "changes", [c if c == DIVIDED else pytest.param(c, marks=SLOW) for c in DEEP], ids=str
)
def test_the_graph_is_that_of_tracing_every_block(changes):
    model = small(**changes)
    graph, runs = traced(model)
    assert repeated.repeat_blocks(graph, runs, MAKE)
    whole = write._traced(FastModel(model, MAKE), manifest_of(model), run.OPSET).graph
    assert operations(graph) == operations(whole)
    weights, all_weights = (
        {name for name in each.initializers if ".blocks." in name} for each in (graph, whole)
    )
    assert weights == all_weights


def test_blocks_that_were_not_traced_alike_are_not_repeated():
    graph, runs = traced(small(**DIVIDED))
    *_, norm = (node for node in graph if "blocks.2.norm.norm.weight" in str(node.inputs))
    as_it_was = norm.attributes["epsilon"]
    norm.attributes["epsilon"] = onnx_ir.AttrFloat32("epsilon", 0.5)
    assert not repeated.repeat_blocks(graph, runs, MAKE)
    norm.attributes["epsilon"] = as_it_was
    norm.replace_input_with(1, graph.initializers["encoders.0.blocks.1.norm.norm.weight"])
    assert not repeated.repeat_blocks(graph, runs, MAKE)
    norm.replace_input_with(1, graph.initializers["encoders.0.blocks.2.norm.norm.weight"])
    assert repeated.repeat_blocks(graph, runs, MAKE)


@pytest.mark.slow
def test_repeated_weights_may_lie_beside_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "LARGEST_INSIDE", 1000)
    model = small(**DIVIDED)
    path = exported(tmp_path, model, "onnx")
    assert path.with_name("model.onnx.data").exists()
    assert_same(open_exported(path), model, 3)
