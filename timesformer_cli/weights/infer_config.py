"""Infer the configuration of a checkpoint without a config file from its tensors' shapes."""

import re
from collections.abc import Mapping
from math import isqrt

from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import WeightsError
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.weights.layout import Layout
from timesformer_cli.weights.layout_tables import (
    LUCIDRAINS,
    LUCIDRAINS_SHIFT,
    VIDEOMAE,
    VIDEOMAE_FIRST,
    VIVIT,
)

Shape = tuple[int, ...]
HEAD_WIDTH = 64  # of every published model; shapes do not show the number of heads
FRAMES, SIDE = 8, 224  # assumed where no table of positions shows them


class Shapes:
    """The shapes of a checkpoint's tensors, looked up by our names."""

    def __init__(self, shapes: Mapping[str, Shape], layout: Layout) -> None:
        self.shapes, self.layout = shapes, layout

    def of(self, ours: str, leaf: str = "") -> Shape:
        """The shape of one tensor; raises WeightsError where it is missing.

        Only for tensors of ours that are a single one in the layout too.
        """
        (name,) = self.layout.tensors(ours, leaf)
        if name not in self.shapes:
            layout = self.layout.name
            raise WeightsError(f"it has no tensor '{name}', which the {layout} layout needs")
        return self.shapes[name]

    def has(self, ours: str, leaf: str = "") -> bool:
        """Whether the tensor is there; False too where the layout has no name for it."""
        named = ours in self.layout.stem or ours in self.layout.block
        return named and all(name in self.shapes for name in self.layout.tensors(ours, leaf))

    def depth(self) -> int:
        """The number of blocks."""
        name = re.escape(str(self.layout.block["norm"])).replace(r"\{\}", r"(\d+)") + r"\.weight"
        matches = (re.fullmatch(name, theirs) for theirs in self.shapes)
        return 1 + max((int(match[1]) for match in matches if match), default=-1)


def infer_config(shapes: Mapping[str, Shape], layout: Layout) -> ModelConfig:
    """Return the configuration to which tensors of these names and shapes belong.

    Assumes heads 64 wide and square pictures. Raises WeightsError where that cannot be.
    """
    if layout in (VIVIT, VIDEOMAE, VIDEOMAE_FIRST):
        raise WeightsError("its tensors do not say how clips are cut; give the folder it came from")
    lookup = Shapes(shapes, layout)
    kernel = lookup.of("patches.proj", "weight")
    infer = _lucidrains if layout in (LUCIDRAINS, LUCIDRAINS_SHIFT) else _timesformer
    try:
        config = infer(lookup)
        if config.dim != HEAD_WIDTH * config.heads:
            raise ValueError
    except (IndexError, ValueError) as error:
        tables = [
            lookup.of(name) for name in ("positions.space", "positions.table") if lookup.has(name)
        ]
        raise WeightsError(
            f"no TimeSformer of heads 64 wide and square pictures has tensors of these shapes "
            f"(patch kernel {kernel}, positions {(*tables,)}, {lookup.depth()} blocks); "
            f"give a folder with its config.json instead"
        ) from error
    return config


def _timesformer(lookup: Shapes) -> ModelConfig:
    """A model of the official code or a port of it.

    With attention over time it is divided; with only a table of times, joint; else space.
    """
    if lookup.has("time.attention.qkv", "weight"):
        attention = "divided"
    else:
        attention = "joint" if lookup.has("positions.time") else "space"
    dim, channels, patch, _ = lookup.of("patches.proj", "weight")
    side = _root(lookup.of("positions.space")[1] - 1)
    return ModelConfig(
        attention=attention,
        dim=dim,
        depth=lookup.depth(),
        heads=dim // HEAD_WIDTH,
        mlp_dim=lookup.of("mlp.fc1", "weight")[0],
        frames=lookup.of("positions.time")[1] if SCHEMES[attention].sees_time else FRAMES,
        height=side * patch,
        width=side * patch,
        patch=patch,
        channels=channels,
        classes=lookup.of("head", "weight")[0],
        qkv_bias=lookup.has("space.attention.qkv", "bias"),
    )


def _lucidrains(lookup: Shapes) -> ModelConfig:
    """A model of lucidrains' TimeSformer-pytorch, assumed to take RGB at 224 px.

    A table of positions has one row per patch of all frames, which gives the number of frames.
    """
    dim, pixels = lookup.of("patches.proj", "weight")
    patch = _root(pixels // 3)
    tabled = lookup.has("positions.table")
    frames, left = FRAMES, 0
    if tabled:
        frames, left = divmod(lookup.of("positions.table")[0] - 1, (SIDE // patch) ** 2)
    if left:
        raise ValueError
    return ModelConfig(
        attention="lucidrains",
        positions="table" if tabled else "rotary",
        token_shift=lookup.layout is LUCIDRAINS_SHIFT,
        dim=dim,
        depth=lookup.depth(),
        heads=dim // HEAD_WIDTH,
        mlp_dim=lookup.of("mlp.fc2", "weight")[1],
        frames=frames,
        height=SIDE,
        width=SIDE,
        patch=patch,
        classes=lookup.of("head", "weight")[0],
        qkv_bias=False,
        norm_eps=1e-5,
    )


def _root(square: int) -> int:
    """The square root of a square number; raises ValueError for any other."""
    root = isqrt(square)
    if root**2 != square:
        raise ValueError
    return root
