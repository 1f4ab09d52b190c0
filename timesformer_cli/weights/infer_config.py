"""A bare checkpoint's configuration, from the names and shapes of its tensors."""

import re
from collections.abc import Mapping
from math import isqrt

from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import WeightsError
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.weights.layout import Layout
from timesformer_cli.weights.layout_tables import LUCIDRAINS, LUCIDRAINS_SHIFT, VIDEOMAE, VIVIT

Shape = tuple[int, ...]
HEAD_WIDTH = 64
FRAMES, SIDE = 8, 224  # of clips, where a model with rotary positions takes any


class Shapes:
    """Shapes of a checkpoint's tensors under our names."""

    def __init__(self, shapes: Mapping[str, Shape], layout: Layout) -> None:
        self.shapes, self.layout = shapes, layout

    def of(self, ours: str, leaf: str = "") -> Shape:
        """The shape of a tensor that is one in both; raises WeightsError where it is missing."""
        (name,) = self.layout.tensors(ours, leaf)
        if name not in self.shapes:
            layout = self.layout.name
            raise WeightsError(f"it has no tensor '{name}', which the {layout} layout needs")
        return self.shapes[name]

    def has(self, ours: str, leaf: str = "") -> bool:
        """Whether it is there; False also for what the layout has no name for."""
        known = ours in self.layout.stem or ours in self.layout.block
        return known and all(name in self.shapes for name in self.layout.tensors(ours, leaf))

    def depth(self) -> int:
        """How many blocks there are."""
        name = re.escape(str(self.layout.block["norm"])).replace(r"\{\}", r"(\d+)") + r"\.weight"
        matches = (re.fullmatch(name, theirs) for theirs in self.shapes)
        return 1 + max((int(match[1]) for match in matches if match), default=-1)


def infer_config(shapes: Mapping[str, Shape], layout: Layout) -> ModelConfig:
    """The configuration that tensors of these names and shapes belong to.

    Heads are taken to be 64 wide and pictures to be square. Raises WeightsError where that fails.
    """
    if layout in (VIVIT, VIDEOMAE):
        raise WeightsError("its tensors do not say how clips are cut; give the folder it came from")
    known = Shapes(shapes, layout)
    kernel = known.of("patches.proj", "weight")
    infer = _lucidrains if layout in (LUCIDRAINS, LUCIDRAINS_SHIFT) else _timesformer
    try:
        config = infer(known)
        if config.dim != HEAD_WIDTH * config.heads:
            raise ValueError
    except (IndexError, ValueError) as error:
        tables = [
            known.of(name) for name in ("positions.space", "positions.table") if known.has(name)
        ]
        raise WeightsError(
            f"no TimeSformer of heads 64 wide and square pictures has tensors of these shapes "
            f"(patch kernel {kernel}, positions {(*tables,)}, {known.depth()} blocks); "
            f"give a folder with its config.json instead"
        ) from error
    return config


def _timesformer(known: Shapes) -> ModelConfig:
    """Temporal attention: divided; time positions only: joint; neither: space."""
    if known.has("time.attention.qkv", "weight"):
        attention = "divided"
    else:
        attention = "joint" if known.has("positions.time") else "space"
    dim, channels, patch, _ = known.of("patches.proj", "weight")
    side = _root(known.of("positions.space")[1] - 1)
    return ModelConfig(
        attention=attention,
        dim=dim,
        depth=known.depth(),
        heads=dim // HEAD_WIDTH,
        mlp_dim=known.of("mlp.fc1", "weight")[0],
        frames=known.of("positions.time")[1] if SCHEMES[attention].sees_time else FRAMES,
        height=side * patch,
        width=side * patch,
        patch=patch,
        channels=channels,
        classes=known.of("head", "weight")[0],
        qkv_bias=known.has("space.attention.qkv", "bias"),
    )


def _lucidrains(known: Shapes) -> ModelConfig:
    """RGB; where positions are a table, of so many frames as its rows make at 224 px."""
    dim, pixels = known.of("patches.proj", "weight")
    patch = _root(pixels // 3)
    tabled = known.has("positions.table")
    frames, left = FRAMES, 0
    if tabled:
        frames, left = divmod(known.of("positions.table")[0] - 1, (SIDE // patch) ** 2)
    if left:
        raise ValueError
    return ModelConfig(
        attention="lucidrains",
        positions="table" if tabled else "rotary",
        token_shift=known.layout is LUCIDRAINS_SHIFT,
        dim=dim,
        depth=known.depth(),
        heads=dim // HEAD_WIDTH,
        mlp_dim=known.of("mlp.fc2", "weight")[1],
        frames=frames,
        height=SIDE,
        width=SIDE,
        patch=patch,
        classes=known.of("head", "weight")[0],
        qkv_bias=False,
        norm_eps=1e-5,
    )


def _root(square: int) -> int:
    """Its square root, which is whole, or raises ValueError."""
    root = isqrt(square)
    if root**2 != square:
        raise ValueError
    return root
