"""One model's weights in another's shape: an image model becomes a video model."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from einops import rearrange
from torch import Tensor

from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import WeightsError
from timesformer_cli.model import TimeSformer
from timesformer_cli.model.positions import Positions, resize_table

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
    """A model of `target`'s scheme, clip shape and tubelets that starts from the source's weights.

    As published: an attention pass that the source lacks starts as a copy of its last (the
    spatial one), with the extra map at zero; position tables are resized; a tubelet sees its
    central frame only. The head is copied where the class count is the same, else new. Raises
    WeightsError where widths, depth or patches differ.
    """
    if different := [
        name for name in SAME if getattr(source.config, name) != getattr(target, name)
    ]:
        raise WeightsError(f"cannot be inflated: {', '.join(different)} would have to change")
    if source.config.tubelet not in (1, target.tubelet):
        raise WeightsError(f"cannot be inflated: its tubelets have {source.config.tubelet} frames")
    height, width = target.height, target.width
    grown = min(height, width) / min(source.preprocessing.crop)
    model = TimeSformer(
        target,
        labels=source.labels if source.config.classes == target.classes else (),
        sampling=replace(source.sampling, frames=target.frames),
        preprocessing=replace(
            source.preprocessing,
            short_side=round(source.preprocessing.short_side * grown),
            crop=(height, width),
        ),
    )
    own = model.state_dict()
    with torch.no_grad():
        for name, start in _starts(source, model):
            own[name].copy_(start)
    return model.eval()


def _starts(source: TimeSformer, model: TimeSformer) -> Iterator[tuple[str, Tensor]]:
    """The name of every tensor of the new model that starts from the source, and its start."""
    tensors = source.state_dict()
    origin = _origins(source.config, model.config)
    for name in model.state_dict():
        if name == "positions.space":
            yield name, _resized_space(source.positions, model.config)
        elif name == "positions.time":
            if name in tensors:
                frames = model.config.grid[0]
                yield name, resize_table(tensors[name][0], (frames,), "nearest")
        elif name == "patches.proj.weight" and model.config.tubelet != source.config.tubelet:
            yield name, _central_frame(tensors[name], model.config)
        elif name.startswith("head.") and model.config.classes != source.config.classes:
            continue
        elif theirs := origin(name):
            yield name, tensors[theirs]


def _origins(source: ModelConfig, target: ModelConfig) -> Callable[[str], str | None]:
    """Where in the source a tensor starts: passes that both schemes have, or the source's last."""
    have = [grouping.sentence for grouping in source.scheme.passes]
    passes = {}
    for number, grouping in enumerate(target.scheme.passes):
        same = grouping.sentence in have
        from_pass = have.index(grouping.sentence) if same else len(have) - 1
        fc = same and number < len(target.scheme.passes) - 1 and from_pass < len(have) - 1
        passes[str(number)] = (from_pass, fc)

    def origin(name: str) -> str | None:
        parts = name.split(".")
        if "passes" not in parts:
            return name
        from_pass, fc = passes[parts[3]]
        if parts[4] == "fc" and not fc:
            return None
        return ".".join([*parts[:3], str(from_pass), *parts[4:]])

    return origin


def _resized_space(positions: Positions, target: ModelConfig) -> Tensor:
    _, rows, columns = target.grid
    cls, table = positions.space[0, :1], positions.space[0, 1:]
    table = resize_table(
        rearrange(table, "(h w) d -> h w d", h=positions.rows), (rows, columns), "bicubic"
    )
    return torch.cat([cls, rearrange(table, "h w d -> (h w) d")])[None]


def _central_frame(kernel: Tensor, target: ModelConfig) -> Tensor:
    """A kernel of one frame as that of a tubelet which sees its central frame and no other."""
    volume = kernel.new_zeros(target.dim, target.channels, target.tubelet, target.patch**2)
    volume[:, :, target.tubelet // 2] = rearrange(kernel, "d (c p) -> d c p", c=target.channels)
    return volume.flatten(1)
