"""Our tensors under the names of another code base, and which code base a folder is written for."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from timesformer_cli.config import ModelConfig
from timesformer_cli.weights.layout import Layout, as_parts, translate
from timesformer_cli.weights.layout_tables import (
    MMACTION2,
    MMACTION2_DIVIDED,
    OFFICIAL,
    TRANSFORMERS,
    VIDEOMAE,
    VIDEOMAE_FIRST,
    VIDEOMAE_FIRST_OFFICIAL,
    VIDEOMAE_OFFICIAL,
    VIVIT,
)

if TYPE_CHECKING:
    from torch import Tensor

PATCH_WEIGHT = "patches.proj.weight"
# Layouts that are written for each code base, and of transformers the `model_type`.
FAMILY_OF = {
    TRANSFORMERS: "timesformer",
    VIVIT: "vivit",
    VIDEOMAE: "videomae",
    VIDEOMAE_FIRST: "videomae",
}
WRITTEN: Mapping[str, tuple[Layout, ...]] = {
    "transformers": tuple(FAMILY_OF),
    "official": (OFFICIAL, VIDEOMAE_OFFICIAL, VIDEOMAE_FIRST_OFFICIAL),
    "mmaction2": (MMACTION2_DIVIDED, MMACTION2),
}


def layout_for(config: ModelConfig, code_base: str = "transformers") -> Layout | None:
    """The layout in which that code base has such a model; None where it has none."""
    plain = config.positions == config.scheme.positions and not config.token_shift
    if not plain or config.channels != 3 or config.pooler_blocks or not config.classes:
        return None
    square = config.height == config.width
    return next(
        (
            layout
            for layout in WRITTEN[code_base]
            # Its TimeSformer computes with one side of the picture (transformers 5.24).
            if layout.has(config) and (square or layout is not TRANSFORMERS)
        ),
        None,
    )


def their_tensors(
    state: "Mapping[str, Tensor]", layout: Layout | None, config: ModelConfig
) -> "dict[str, Tensor]":
    """The tensors as the code base stores them; None is our own layout.

    A part that it lacks is left out: it changes no score.
    """
    tensors = {}
    for ours, theirs in translate(state, layout, config).items():
        tensor, parts = state[ours], as_parts(theirs)
        if ours == PATCH_WEIGHT and layout is not None:
            # Their patches are a convolution, over time as well where they have tubelets.
            over_time = [config.tubelet] if layout.any_tubelet else []
            shape = (config.dim, config.channels, *over_time, config.patch, config.patch)
            tensor = tensor.view(shape)
        # A counter of a norm has no axis to be divided along.
        split = tensor.chunk(len(parts)) if len(parts) > 1 else (tensor,)
        for name, part in zip(parts, split, strict=True):
            if name is not None:
                tensors[name] = part.contiguous()
    return tensors
