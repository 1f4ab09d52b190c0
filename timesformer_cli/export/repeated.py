"""Trace three of a model's like blocks, and repeat the third one in the graph for all others.

Tracing takes most of an export's time and memory, and a transformer's blocks differ by their
weights alone. That their graphs are the same is not taken for granted: the second must have come
out as the third did, but for the names of its weights. The first one also holds what the others
share, such as shapes that depend on the number of clips.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from torch import Tensor, nn

from timesformer_cli.inference.fast.blocks import FastBlock, LayerFactory
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.block import Block

if TYPE_CHECKING:
    import onnx_ir

TRACED = 3  # of the blocks that are alike
SCOPES = "pkg.torch.onnx.name_scopes"  # where the exporter notes the modules that a node is of


@dataclass(frozen=True, slots=True)
class Run:
    """Blocks that follow one another and are alike, of which the first TRACED are traced."""

    names: str  # what the names of blocks begin with in the fast form: "encoders.0.blocks."
    place: int  # of the last traced one among all traced blocks
    untraced: Sequence[Block]


def thinned(model: TimeSformer, make: LayerFactory) -> tuple[TimeSformer, list[Run]]:
    """The model without the blocks that need no tracing, and the runs that they were taken from.

    It shares all else with the model. A model of two paths, which run block by block, stays whole.
    """
    if model.fast is not None:
        return model, []
    thin, runs = _shallow(model), list[Run]()
    encoders: list[tuple[nn.Module, nn.Module]] = [(model, thin)]
    for name in ("over_frames", "over_time"):
        if (encoder := getattr(model, name)) is not None:
            setattr(thin, name, _shallow(encoder))
            encoders.append((encoder, getattr(thin, name)))
    for number, (source, target) in enumerate(encoders):
        blocks = list(cast(Sequence[Block], source.blocks))
        kept: list[Block] = []
        for alike in _alike(blocks[:-1], make):
            kept += alike[:TRACED]
            if untraced := alike[TRACED:]:
                runs.append(Run(f"encoders.{number}.blocks.", len(kept) - 1, untraced))
        target.blocks = nn.ModuleList([*kept, blocks[-1]])  # the last is read, as no other is
    return thin, runs


def _shallow(module: nn.Module) -> Any:
    """The same module, but others can take the place of its children."""
    other = copy(module)
    other._modules = dict(module._modules)
    return other


def _alike(blocks: Sequence[Block], make: LayerFactory) -> Iterator[list[Block]]:
    """Neighbours that compute the same with weights of the same shapes."""

    def kind(block: Block) -> object:
        return _described(FastBlock(block, make, last=False, consume=False))

    for _, group in groupby(blocks, key=kind):
        yield list(group)


def _described(value: object) -> object:
    """All but the numbers in tensors: equal for two modules that compute alike."""
    match value:
        case Tensor():
            return value.shape, value.dtype
        case Mapping():
            return {key: _described(each) for key, each in value.items()}
        case list() | tuple():
            return [_described(each) for each in value]
        case partial():
            return value.func, _described(value.args), _described(value.keywords)
        case FunctionType():
            return value.__code__, [_described(c.cell_contents) for c in value.__closure__ or ()]
        case _ if type(value).__eq__ is object.__eq__ and hasattr(value, "__dict__"):
            return type(value), _described(vars(value))
        case _:
            return value


def repeat_blocks(graph: "onnx_ir.Graph", runs: Sequence[Run], make: LayerFactory) -> bool:
    """Put the untraced blocks back into the graph of the thinned model, with their own weights.

    These are made when they are written. Returns False, with the graph spoilt, where two blocks
    that should be alike were not traced alike.
    """
    maker = _Maker(make)
    # From the last run on: behind each run all blocks get other numbers.
    return all(_repeat(graph, run, maker) for run in reversed(runs))


class _Maker:
    """Makes a block's weights in the fast form; of one block at a time, to hold no second set."""

    def __init__(self, make: LayerFactory) -> None:
        self.make = make
        self.block: Block | None = None
        self.weights: Mapping[str, Tensor] = {}

    def tensor(self, block: Block, name: str) -> "onnx_ir.TensorProtocol":
        import onnx_ir

        if block is not self.block:
            made = FastBlock(block, self.make, last=False, consume=False)
            self.block, self.weights = block, made.state_dict()
        return onnx_ir.tensor(self.weights[name].numpy())


def _repeat(graph: "onnx_ir.Graph", run: Run, maker: _Maker) -> bool:
    import onnx_ir

    first, second = (f"{run.names}{place}." for place in (run.place - 1, run.place))
    nodes = list(graph)
    ends = [
        max(
            at
            for at, node in enumerate(nodes, start=1)
            if f"'{name[:-1]}'" in node.metadata_props.get(SCOPES, "")
        )
        for name in (first, second)
    ]
    before, block = nodes[2 * ends[0] - ends[1] : ends[0]], nodes[ends[0] : ends[1]]
    joint = _joint(before, block, first, second)
    if joint is None:
        return False
    given, result = joint
    behind = [use for use in result.uses() if use.node not in block]
    _renumber(graph, run)
    taken = dict.fromkeys(value for node in block for value in node.inputs if value is not None)
    weights = [value for value in taken if str(value.name).startswith(second)]
    last, tokens = block[-1], result
    for number, source in enumerate(run.untraced, start=run.place + 1):
        values = {given: tokens}
        for value in weights:
            part = str(value.name).removeprefix(second)
            name = f"{run.names}{number}.{part}"
            tensor = _lazy(value, name, partial(maker.tensor, source, part))
            values[value] = onnx_ir.Value(name=name, const_value=tensor)
            graph.register_initializer(values[value])
        copies = [_copied(node, values) for node in block]
        graph.insert_after(last, copies)
        last, tokens = copies[-1], values[result]
    for use in behind:
        use.node.replace_input_with(use.idx, tokens)
    return True


def _joint(
    before: Sequence["onnx_ir.Node"], block: Sequence["onnx_ir.Node"], first: str, second: str
) -> tuple["onnx_ir.Value", "onnx_ir.Value"] | None:
    """The one value that a block takes from the block before it, and its own of that kind.

    None where the two blocks differ in more than the names of weights, or more passes between them.
    """
    like: dict[onnx_ir.Value, onnx_ir.Value] = {}  # the block's values: those of the other
    taken: set[tuple[onnx_ir.Value, onnx_ir.Value]] = set()
    for other, node in zip(before, block, strict=True):
        if _operation(node) != _operation(other):
            return None
        for theirs, own in zip(other.inputs, node.inputs, strict=True):
            if own is None or theirs is None:
                if own is not theirs:
                    return None
            elif own.is_initializer():
                if not _same_role(theirs, own, first, second):
                    return None
            elif own in like:
                if like[own] is not theirs:
                    return None
            elif own is not theirs:
                taken.add((theirs, own))
        like.update(zip(node.outputs, other.outputs, strict=True))
    if len(taken) != 1:
        return None
    ((_, given),) = taken
    inside = set(block)
    leaving = [own for own in like if any(use.node not in inside for use in own.uses())]
    if len(leaving) != 1 or like[leaving[0]] is not given:
        return None
    return given, leaving[0]


def _same_role(theirs: "onnx_ir.Value", own: "onnx_ir.Value", first: str, second: str) -> bool:
    """Whether two tensors are the same weight of two blocks, or hold the same numbers."""
    names = str(theirs.name), str(own.name)
    if any(name.startswith((first, second)) for name in names):
        rest = names[1].removeprefix(second)
        return names == (first + rest, second + rest)
    if theirs.const_value is None or own.const_value is None:
        return False
    return np.array_equal(theirs.const_value.numpy(), own.const_value.numpy())


def _operation(node: "onnx_ir.Node") -> tuple[object, ...]:
    attributes = {name: (each.type, each.value) for name, each in node.attributes.items()}
    return node.domain, node.op_type, node.version, len(node.outputs), attributes


def _copied(node: "onnx_ir.Node", values: "dict[Any, Any]") -> "onnx_ir.Node":
    """The same operation on other values; its outputs are added to them."""
    import onnx_ir

    made = onnx_ir.Node(
        node.domain,
        node.op_type,
        [values.get(value, value) for value in node.inputs],
        node.attributes.values(),
        num_outputs=len(node.outputs),
        version=node.version,
    )
    values.update(zip(node.outputs, made.outputs, strict=True))
    return made


def _lazy(value: "onnx_ir.Value", name: str, make: Callable[[], "onnx_ir.TensorProtocol"]) -> Any:
    """A tensor of the kind of that value, which is made when it is asked for."""
    import onnx_ir

    like = value.const_value
    assert like is not None
    return onnx_ir.LazyTensor(
        make, dtype=like.dtype, shape=onnx_ir.Shape(like.shape.numpy()), name=name
    )


def _renumber(graph: "onnx_ir.Graph", run: Run) -> None:
    """Make room among the names of weights for the blocks that are put back."""
    numbered = [
        (int(place), name, rest)
        for name in graph.initializers
        if name.startswith(run.names)
        for place, _, rest in [name.removeprefix(run.names).partition(".")]
        if int(place) > run.place
    ]
    for place, name, rest in sorted(numbered, reverse=True):
        graph.initializers[name].name = f"{run.names}{place + len(run.untraced)}.{rest}"
