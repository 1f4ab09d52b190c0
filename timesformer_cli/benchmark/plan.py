"""The configurations that a benchmark runs, checked before anything is measured."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import UsageError
from timesformer_cli.schemes import PAPER, RELATIVES, SCHEMES
from timesformer_cli.typed.schemes import is_definition, scheme_label

# Names for several schemes at once.
GROUPS: dict[str, Iterable[str]] = {"paper": PAPER, "all": SCHEMES}


@dataclass(frozen=True, slots=True)
class UnfitConfig:
    """A clip shape that a scheme does not take. It gets a row of its own, which is not measured."""

    attention: str  # as in a configuration
    frames: int
    pixels: int  # height and width
    reason: str


def plan_rows(
    attention: Sequence[str], frames: Iterable[int], image_sizes: Iterable[int], size: str
) -> list[ModelConfig | UnfitConfig]:
    """All rows: the paper's schemes and typed ones, then relatives, by picture size and frames.

    Raises UsageError where a scheme that was named or typed does not take a shape. A scheme of a
    group, such as `all`, becomes an `UnfitConfig` then; only a shape that no scheme takes is an
    error.
    """
    for name in attention:
        if name not in GROUPS and name not in SCHEMES and not is_definition(name):
            known, groups = ", ".join(SCHEMES), " and ".join(GROUPS)
            raise UsageError(f"unknown attention scheme '{name}'; there are {known}; {groups}")
    given = [GROUPS.get(name, (name,)) for name in attention]
    names = dict.fromkeys(name for group in given for name in group)
    _check_labels(names)
    shapes = list(product(image_sizes, frames))
    for pixels, count in shapes:
        _check_shape(size, pixels, count)
    rows: list[ModelConfig | UnfitConfig] = []
    for relatives, (pixels, count) in product((False, True), shapes):
        section = [name for name in names if (name in RELATIVES) == relatives]
        of_shape = [_row(size, name, count, pixels) for name in section]
        for row in of_shape:
            if isinstance(row, UnfitConfig) and row.attention in attention:
                where = f"{scheme_label(row.attention)} at {count} frames of {pixels} px"
                near = _neighbour(size, row.attention, count, pixels)
                raise UsageError(f"{where}: {row.reason}{near}")
        if of_shape and all(isinstance(row, UnfitConfig) for row in of_shape):
            raise UsageError(f"no scheme takes {count} frames of {pixels} px")
        rows += of_shape
    return rows


def _row(size: str, name: str, frames: int, pixels: int) -> ModelConfig | UnfitConfig:
    try:
        return ModelConfig.of_size(size, attention=name, frames=frames, height=pixels, width=pixels)
    except UsageError as error:
        return UnfitConfig(name, frames, pixels, str(error))


def _check_labels(names: Iterable[str]) -> None:
    """Raise UsageError where two schemes would go by one name in tables and pictures."""
    labels: dict[str, str] = {}
    for name in names:
        label = scheme_label(name)
        if label in labels:
            raise UsageError(f"two schemes are called '{label}'; give each a name with name=")
        labels[label] = name


def _check_shape(size: str, pixels: int, frames: int) -> None:
    """Raise UsageError for a clip that cannot be cut into patches, whatever the scheme."""
    patch = ModelConfig.of_size(size).patch
    if frames < 1:
        raise UsageError(f"{frames} frames are no clip; give 1 or more")
    if pixels < patch or pixels % patch:
        below = max(patch, pixels - pixels % patch)
        nearest = f"{below} and {below + patch}" if pixels > patch else f"{patch}"
        raise UsageError(
            f"image size {pixels} is not a multiple of the patch, {patch} px; nearest: {nearest}"
        )


def _neighbour(size: str, name: str, frames: int, pixels: int) -> str:
    """In words, a similar clip shape that the scheme takes; empty where there is none."""
    patch = ModelConfig.of_size(size).patch
    for wider, longer in product((0, -patch, patch), (0, 1, -1)):
        near = _row(size, name, frames + longer, pixels + wider)
        if isinstance(near, ModelConfig):
            return f"; {near.frames} frames of {near.width} px would fit"
    return ""
