"""Multiply-adds and parameters of the convolutional stems."""

from itertools import pairwise
from typing import NamedTuple

from timesformer_cli.config import ModelConfig


class Convolution(NamedTuple):
    """One convolution of a stem, with the norm after it."""

    weights: int
    others: int  # parameters that are added: biases, and the scales and shifts of a norm
    positions: int  # at which it is evaluated in a clip


def stem_macs(config: ModelConfig) -> int:
    """Multiply-adds of a stem in one view: of its convolutions; measuring flow is hardly any."""
    return sum(each.weights * each.positions for each in STEMS[config.embedding](config))


def stem_parameters(config: ModelConfig) -> int:
    """Parameters of a stem."""
    return sum(each.weights + each.others for each in STEMS[config.embedding](config))


def _conv_stem(config: ModelConfig) -> list[Convolution]:
    height, width, positions = config.height, config.width, 0
    rows = []
    for before, after in pairwise((config.channels, *config.stem_widths)):
        height, width = height // 2, width // 2
        positions = config.frames * height * width
        rows.append(Convolution(27 * before * after, 2 * after, positions))  # 3 x 3 x 3
    return [*rows, Convolution(config.stem_widths[-1] * config.dim, config.dim, positions)]


def _flow_stem(config: ModelConfig) -> list[Convolution]:
    t, h, w = config.grid
    measured, one, two = config.flow_widths
    dim = config.dim
    return [
        Convolution(measured * one, 2 * one, 4 * t * h * w),
        Convolution(9 * one * two, 2 * two, 4 * t * h * w),
        Convolution(9 * two * dim, 2 * dim, t * h * w),
        Convolution(dim * dim, dim, t * h * w),
    ]


STEMS = {"conv-stem": _conv_stem, "flow-stem": _flow_stem}
