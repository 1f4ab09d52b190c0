"""Infer the configuration of a checkpoint without a config file from its tensors' shapes."""

import re
from collections.abc import Callable, Mapping
from math import isqrt
from typing import Any

from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import WeightsError
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.text_config import TextConfig
from timesformer_cli.weights.layout import Layout, Theirs
from timesformer_cli.weights.layout_tables import (
    LUCIDRAINS,
    LUCIDRAINS_SHIFT,
    VIDEOMAE_FIRST_OFFICIAL,
    VIDEOMAE_OFFICIAL,
    VIDEOMAES,
    VIVIT,
    VIVIT_IN_MEMORY,
    VJEPA2,
)
from timesformer_cli.weights.layout_videoprism import VIDEOPRISM, VIDEOPRISM_WORDS

Shape = tuple[int, ...]
# Shapes do not show the number of heads. Those of published models are 64 wide up to ViT-L; larger
# ones (so400m, huge, giant, gigantic) have 16.
HEAD_WIDTH = 64
HEADS = {1152: 16, 1280: 16, 1408: 16, 1664: 16}
VJEPA2_HEADS = {**HEADS, 1408: 22}
VJEPA2_SIDE = 256
FRAMES, SIDE = 8, 224  # assumed where no table of positions shows them
VIDEOMAE_FRAMES = VJEPA2_FRAMES = 16
TEXT_LENGTH = 64
REMEDY = "give the folder it came from, or put its config.json beside it"


class _UnsaidError(Exception):
    """What the shapes do not say, as the end of a sentence that begins with the model."""


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
            lack = "without a classifier" if ours == "head" else "but for one tensor"
            raise WeightsError(f"{self.layout.about}, {lack} (there is no '{name}')")
        return self.shapes[name]

    def has(self, ours: str, leaf: str = "") -> bool:
        """Whether the tensor is there; False too where the layout has no name for it."""
        named = ours in self.layout.stem or ours in self.layout.block
        return named and all(name in self.shapes for name in self.layout.tensors(ours, leaf))

    def depth(self) -> int:
        """The number of blocks."""
        return self._blocks(self.layout.block)

    def depth_of(self, part: str) -> int:
        """The number of blocks of a further transformer; of a pooler, without its query's."""
        table = self.layout.further.get(part)
        return 0 if table is None else self._blocks(table)

    def _blocks(self, block: Mapping[str, Theirs]) -> int:
        name = re.escape(str(block["norm"])).replace(r"\{\}", r"(\d+)") + r"\.weight"
        matches = (re.fullmatch(name, theirs) for theirs in self.shapes)
        return 1 + max((int(match[1]) for match in matches if match), default=-1)


def infer_config(shapes: Mapping[str, Shape], layout: Layout) -> tuple[ModelConfig, str]:
    """Return the configuration to which tensors of these names and shapes belong.

    Second comes what had to be assumed beyond square pictures and heads as published; empty where
    that is nothing. Raises WeightsError where the shapes do not say enough.
    """
    if layout.encoder:
        raise WeightsError(f"{layout.about}, without a classifier: {REMEDY}")
    lookup = Shapes(shapes, layout)
    infer, assumed = _INFER.get(layout, (_timesformer, ""))
    try:
        if not layout.lacks:
            lookup.of("head", "weight")
        config = infer(lookup)
    except _UnsaidError as error:
        raise WeightsError(f"{layout.about}, {error}: {REMEDY}") from error
    except (IndexError, ValueError) as error:
        kernel = lookup.of("patches.proj", "weight")
        raise WeightsError(
            f"{layout.about}, whose shapes are those of no model of that kind (patch kernel "
            f"{kernel}): {REMEDY}"
        ) from error
    return config, assumed


def _heads(dim: int, known: Mapping[int, int] = HEADS) -> int:
    """The heads of published models of that width; raises _UnsaidError where there is none."""
    if dim % HEAD_WIDTH and dim not in known:
        raise _UnsaidError(f"width {dim}, for which the number of heads cannot be read off")
    return known.get(dim, dim // HEAD_WIDTH)


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
        mlp_dim=lookup.of("mlp.fc1", "weight")[0],
        frames=lookup.of("positions.time")[1] if SCHEMES[attention].sees_time else FRAMES,
        height=side * patch,
        width=side * patch,
        patch=patch,
        channels=channels,
        qkv_bias=lookup.has("space.attention.qkv", "bias"),
        **_common(lookup, dim),
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
        rows = lookup.of("positions.table")[0]
        raise _UnsaidError(f"whose {rows} positions do not share out on frames of {SIDE} px")
    return ModelConfig(
        attention="lucidrains",
        positions="table" if tabled else "rotary",
        token_shift=lookup.layout is LUCIDRAINS_SHIFT,
        mlp_dim=lookup.of("mlp.fc2", "weight")[1],
        frames=frames,
        height=SIDE,
        width=SIDE,
        patch=patch,
        qkv_bias=False,
        norm_eps=1e-5,
        **_common(lookup, dim),
    )


def _videomae(lookup: Shapes) -> ModelConfig:
    """A VideoMAE, whose positions are computed: they show neither frames nor size."""
    return ModelConfig(
        attention="videomae",
        frames=VIDEOMAE_FRAMES,
        qkv_bias=lookup.has("space.attention.qkv.bias"),
        readout=lookup.layout.readout,
        norm_eps=1e-6 if lookup.layout in (VIDEOMAE_OFFICIAL, VIDEOMAE_FIRST_OFFICIAL) else 1e-12,
        **_tubelets(lookup),
    )


def _vivit(lookup: Shapes) -> ModelConfig:
    """A ViViT: its table has a row per patch, which gives the frames once the size is assumed."""
    tubelet, patch = lookup.of("patches.proj", "weight")[2:4]
    patches = lookup.of("positions.table")[1] - 1
    tubelets, left = divmod(patches, (SIDE // patch) ** 2)
    if left or not tubelets:
        raise _UnsaidError(f"whose {patches} patches do not share out on frames of {SIDE} px")
    return ModelConfig(
        attention="vivit-1",
        frames=tubelets * tubelet,
        qkv_bias=lookup.has("space.attention.qkv", "bias"),
        **_tubelets(lookup),
    )


def _vjepa2(lookup: Shapes) -> ModelConfig:
    """A V-JEPA 2, which has no table of positions: it shows neither frames nor size."""
    shown = _tubelets(lookup)
    shown |= {"height": VJEPA2_SIDE, "width": VJEPA2_SIDE}
    return ModelConfig(
        attention="vjepa2",
        frames=VJEPA2_FRAMES,
        qkv_bias=lookup.has("space.attention.qkv", "bias"),
        pooler_blocks=lookup.depth_of("pooler") + 1,
        **{**shown, "heads": _heads(shown["dim"], VJEPA2_HEADS)},
    )


def _videoprism(lookup: Shapes) -> ModelConfig:
    """A VideoPrism, whose tables have a row per frame, and per patch of a square picture."""
    shown = _tubelets(lookup)
    side = _root(lookup.of("positions.table")[1]) * shown["patch"]
    text = None
    if lookup.layout is VIDEOPRISM_WORDS:
        vocabulary, width = lookup.of("text.tokens", "weight")
        name = str(lookup.layout.further["text"]["fc1"]).format(0)
        text = TextConfig(
            dim=width,
            depth=lookup.depth_of("text"),
            heads=_heads(width),
            mlp_dim=lookup.shapes[f"{name}.weight"][0],
            vocabulary=vocabulary,
            length=TEXT_LENGTH,
        )
    return ModelConfig(
        attention="videoprism",
        frames=lookup.of("over_time.positions.table")[1],
        time_blocks=lookup.depth_of("over_time"),
        pooler_blocks=lookup.depth_of("pooler") + 1,
        text=text,
        **{**shown, "height": side, "width": side},
    )


def _common(lookup: Shapes, dim: int) -> dict[str, Any]:
    """What every model of that width shows alike."""
    return {
        "dim": dim,
        "depth": lookup.depth(),
        "heads": _heads(dim),
        "classes": 0 if lookup.layout.lacks else lookup.of("head", "weight")[0],
    }


def _tubelets(lookup: Shapes) -> dict[str, Any]:
    """What the kernel of a model with tubelets shows; its pictures are assumed to be SIDE wide."""
    dim, channels, tubelet, patch, _ = lookup.of("patches.proj", "weight")
    return {
        "mlp_dim": lookup.of("mlp.fc1", "weight")[0],
        "height": SIDE,
        "width": SIDE,
        "patch": patch,
        "tubelet": tubelet,
        "channels": channels,
        **_common(lookup, dim),
    }


def _root(square: int) -> int:
    """The square root of a square number; raises _UnsaidError for any other."""
    root = isqrt(square)
    if root**2 != square:
        raise _UnsaidError(f"whose {square} places or pixels are no square")
    return root


_SIZE = f"{SIDE} px are assumed"
_INFER: dict[Layout, tuple[Callable[[Shapes], ModelConfig], str]] = {
    LUCIDRAINS: (_lucidrains, ""),
    LUCIDRAINS_SHIFT: (_lucidrains, ""),
    **dict.fromkeys(VIDEOMAES, (_videomae, f"{VIDEOMAE_FRAMES} frames of {_SIZE}")),
    VJEPA2: (_vjepa2, f"{VJEPA2_FRAMES} frames of {VJEPA2_SIDE} px are assumed"),
    VIDEOPRISM: (_videoprism, ""),
    VIDEOPRISM_WORDS: (_videoprism, ""),
    VIVIT: (_vivit, f"pictures of {_SIZE}"),
    VIVIT_IN_MEMORY: (_vivit, f"pictures of {_SIZE}"),
}
