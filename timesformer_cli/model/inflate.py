"""Start a model from another's weights: an image model becomes a video model."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product

import torch
from einops import rearrange
from torch import Tensor, nn

from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import WeightsError
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.positions import PositionTable, SeparateTables, SmoothTable, resize_table

# Fields of the configuration in which source and target must agree.
SAME = (
    "embedding",
    "dim",
    "depth",
    "heads",
    "mlp_dim",
    "patch",
    "channels",
    "qkv_bias",
    "norm_eps",
)


def inflate(source: TimeSformer, target: ModelConfig) -> TimeSformer:
    """Build a model of the configuration `target` that starts from the source's weights.

    As published (arXiv 2102.05095 and its code; tubelets: arXiv 2103.15691, section 3.4):

    - An attention pass that the source lacks starts as a copy of the source's last pass (the
      spatial one), and its extra map starts at zero. The last pass of a scheme has no such map: one
      that moves there, or away from there, starts as the same function as before, and a new one
      after the source's last pass starts at zero.
    - Position tables are resized, and repeated over time where one table holds all places.
    - A tubelet sees its central frame only.

    The head is copied where the class count is the same; otherwise it is new. Raises WeightsError
    where widths, depth, patches or MLPs differ.
    """
    if different := [
        name for name in SAME if getattr(source.config, name) != getattr(target, name)
    ]:
        raise WeightsError(f"cannot be inflated: {', '.join(different)} would have to change")
    if source.config.tubelet not in (1, target.tubelet):
        raise WeightsError(f"cannot be inflated: its tubelets have {source.config.tubelet} frames")
    height, width = target.height, target.width
    enlarged = min(height, width) / min(source.preprocessing.crop)
    model = TimeSformer(
        target,
        labels=source.labels if source.config.classes == target.classes else (),
        sampling=replace(source.sampling, frames=target.frames),
        preprocessing=replace(
            source.preprocessing,
            resize=source.preprocessing.resized_by(enlarged),
            crop=(height, width),
        ),
    )
    own = model.state_dict()
    with torch.no_grad():
        for name, start in _starts(source, model):
            own[name].copy_(start)
    return model.eval()


def _starts(source: TimeSformer, model: TimeSformer) -> Iterator[tuple[str, Tensor]]:
    """Yield the name of each tensor that starts from the source, with its first value."""
    tensors = source.state_dict()
    origin = _origins(source.config, model.config)
    tables = dict(_position_tables(source.positions, model.config))
    for part in ("over_frames", "over_time", "fast"):
        have, wanted = getattr(source, part), getattr(model.config, part)
        if have is not None and wanted is not None:
            more = _position_tables(have.positions, wanted)
            tables |= {f"{part}.{name}": table for name, table in more}
    reordered = dict(_reordered(source, model.config))
    for name, own in model.state_dict().items():
        theirs = origin(name)
        if name in reordered:
            yield name, reordered[name]
        elif "positions." in name:
            if name in tables:
                yield name, tables[name]
        elif name == "patches.proj.weight" and model.config.tubelet != source.config.tubelet:
            yield name, _central_frame(tensors[name], model.config)
        elif name.startswith("head.") and tensors[name].shape != own.shape:
            continue
        elif theirs in tensors and tensors[theirs].shape != own.shape:
            raise WeightsError(f"cannot be inflated: {theirs} would have to change its shape")
        elif theirs in tensors:
            yield name, tensors[theirs]


def _origins(source: ModelConfig, target: ModelConfig) -> Callable[[str], str | None]:
    """Map a tensor of the target to the name of the source tensor that it starts from.

    A pass that both schemes have starts from its equal, any other from the source's last pass.
    "" means that the tensor starts as a new model has it.
    """
    passes = {str(number): row for number, row in enumerate(_equals(source, target))}

    def origin(name: str) -> str:
        parts = name.split(".")
        if parts[0] != "blocks" or parts[2] != "passes":
            return name
        from_pass, same = passes[parts[3]]
        # A new pass adds nothing at first: its extra map, or else its projection, stays zero.
        last = ["fc"] if target.scheme.bridged else ["attention", "proj"]
        if not same and len(passes) > 1 and parts[4 : 4 + len(last)] == last:
            return ""
        return ".".join([*parts[:3], str(from_pass), *parts[4:]])

    return origin


def _equals(source: ModelConfig, target: ModelConfig) -> list[tuple[int, bool]]:
    """For each pass of the target that of the source to start from, and whether it is its equal."""
    have, rows = source.scheme.passes, []
    for number, grouping in enumerate(target.scheme.passes):
        alike = [at for at, other in enumerate(have) if other.sentence == grouping.sentence]
        # Of several with one sentence: with the same facts, or else in the same place.
        nearest = max(
            alike,
            key=lambda at: (have[at] == grouping, at == number, -at),
            default=len(have) - 1,
        )
        rows.append((nearest, bool(alike)))
    return rows


def _reordered(source: TimeSformer, target: ModelConfig) -> Iterator[tuple[str, Tensor]]:
    """Yield names and first values of passes whose place is last in one scheme and not in both."""
    tensors = source.state_dict()
    rows, last = _equals(source.config, target), len(source.config.scheme.passes) - 1
    mapped = len(rows) - 1 if target.scheme.bridged else 0  # passes with an extra map: the first
    for block, (number, (from_pass, same)) in product(range(target.depth), enumerate(rows)):
        ours, theirs = (f"blocks.{block}.passes.{each}" for each in (number, from_pass))
        proj, bias = (tensors[f"{theirs}.attention.proj.{leaf}"] for leaf in ("weight", "bias"))
        fc, fc_bias = (tensors.get(f"{theirs}.fc.{leaf}") for leaf in ("weight", "bias"))
        if not same:
            if number >= mapped and (last, True) in rows[:number]:
                yield f"{ours}.attention.proj.weight", torch.zeros_like(proj)
                yield f"{ours}.attention.proj.bias", torch.zeros_like(bias)
        elif number < mapped and fc is None:
            yield f"{ours}.fc.weight", torch.eye(len(proj)).to(proj)
            yield f"{ours}.fc.bias", torch.zeros_like(bias)
        elif number >= mapped and fc is not None and fc_bias is not None:
            yield f"{ours}.attention.proj.weight", fc @ proj
            yield f"{ours}.attention.proj.bias", fc @ bias + fc_bias


def _position_tables(positions: nn.Module, target: ModelConfig) -> Iterator[tuple[str, Tensor]]:
    """Yield names and first values of the target's tables, as far as the source has any."""
    t, h, w = target.grid
    if isinstance(positions, PositionTable):
        cls, table = positions.table[0].tensor_split([positions.classes])
        table = resize_table(table.view(*positions.grid, -1), (t, h, w), "trilinear")
        yield "positions.table", _whole_table(cls, table, target)
    elif isinstance(positions, SmoothTable):
        table = positions.resized(t, h, w)
        if positions.kind == target.positions:
            yield "positions.table", table.flatten(0, -2)[None]
        elif positions.kind == "frame":
            cls = table.new_zeros(0, table.shape[-1])
            yield "positions.space", _behind_classes(cls, table, target)
            yield "positions.table", _whole_table(cls, table.expand(t, -1, -1, -1), target)
    elif isinstance(positions, SeparateTables):
        cls, table = positions.space[0].tensor_split([positions.classes])
        table = rearrange(table, "(h w) d -> h w d", h=positions.rows)
        table = resize_table(table, (h, w), "bicubic")
        yield "positions.space", _behind_classes(cls, table, target)
        table = table.expand(t, -1, -1, -1)
        if positions.time is not None:
            time = resize_table(positions.time[0], (t,), "nearest")
            yield "positions.time", time[None]
            table = table + rearrange(time, "t d -> t 1 1 d")
        yield "positions.table", _whole_table(cls, table, target)


def _whole_table(cls: Tensor, table: Tensor, target: ModelConfig) -> Tensor:
    """A table `(t h w d)` as the target has it: of all frames, or their mean where it has one."""
    table = table.mean(dim=0) if target.positions == "frame" else table
    return _behind_classes(cls, table, target)


def _behind_classes(cls: Tensor, table: Tensor, target: ModelConfig) -> Tensor:
    """A table `(*grid d)` as `(1 n d)`, after the class token's row where the target has one."""
    rows = [cls if len(cls) else table.new_zeros(1, table.shape[-1])]
    rows = rows if target.scheme.has_cls else []
    return torch.cat([*rows, table.flatten(0, -2)])[None]


def _central_frame(kernel: Tensor, target: ModelConfig) -> Tensor:
    """The kernel of a tubelet that reads its central frame as the given one reads a frame."""
    volume = kernel.new_zeros(target.dim, target.channels, target.tubelet, target.patch**2)
    volume[:, :, target.tubelet // 2] = rearrange(kernel, "d (c p) -> d c p", c=target.channels)
    return volume.flatten(1)
