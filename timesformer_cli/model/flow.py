"""A stem that measures how each place of a frame moves into the next one, and learns from that.

What motion is need not be learned: two streams of pictures and of measured flow have long been
better than one of pictures (Simonyan and Zisserman, arXiv 1406.2199). Here flow is nearly all that
is seen, so a model of motion cannot tell by what is in the picture.
"""

from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from timesformer_cli.config import ModelConfig
from timesformer_cli.model.optical_flow import optical_flow
from timesformer_cli.model.shared_motion import axes, shared_motion, trust


def measured_motion(clip: Tensor, cell: int) -> Tensor:
    """What the flow of a normalised clip `(b t c h w)` says, `(b t s y x)`.

    Of each frame to the next, and from the one before: how far the place moves right and down,
    outwards and clockwise (as a zoom and a roll have it), what of that is its own, and what most
    places share, each on a linear scale and on one that shows small ones; how well it fits what is
    shared; the logarithms of the difference that is left, of the contrast, and of how much the
    colour changes; how alike the whole frames are, and how well all places fit. Zeros stand for a
    frame that is not there. Then how far the shared motions have come by this frame, seen from
    their middle, and the mean colour of the place: a cut shows in it.
    """
    clip = clip.float()
    grey = clip.mean(dim=2)
    shift, left, contrast, alike = optical_flow(
        grey[:, :-1].flatten(0, 1), grey[:, 1:].flatten(0, 1), cell
    )
    trusted = trust(left, contrast)
    shared, apart, fits = shared_motion(shift, trusted)
    fit = (fits * trusted).mean((1, 2)) / (trusted.mean((1, 2)) + 1e-6)
    right, down = shift.unbind(1)
    size = right.shape[1:]
    y, x = axes(size, shift.device)
    colour = F.avg_pool2d(clip.flatten(0, 1), cell).view(*clip.shape[:3], *size)
    change = (colour[:, 1:] - colour[:, :-1]).square().mean(dim=2).flatten(0, 1)
    turns = torch.stack([x * right + y * down, x * down - y * right], dim=1)
    moves = torch.cat([shift, turns, apart, _everywhere(shared, size)], dim=1)
    sizes = torch.stack([left, contrast, change], dim=1).add(1e-5).log() / 3
    frames = _everywhere(torch.stack([alike, fit], dim=1), size)
    said = torch.cat([moves / 8, moves.asinh(), sizes, fits.unsqueeze(1), frames], dim=1)
    said = said.view(clip.shape[0], -1, *said.shape[1:])
    path = F.pad(shared.view(clip.shape[0], -1, 4), (0, 0, 1, 0)).cumsum(dim=1)
    path = path - path.mean(dim=1, keepdim=True)
    path = _everywhere(torch.cat([path / 32, path.asinh()], dim=2), size)
    others = (0,) * 6  # on no axis but time
    return torch.cat(
        [F.pad(said, (*others, 0, 1)), F.pad(said, (*others, 1, 0)), path, colour], dim=2
    )


class FlowStem(nn.Module):
    """Flow at twice the patch grid's size, and convolutions from it down to the patch grid."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.cell = config.patch // 2
        measured, one, two = config.flow_widths
        self.moves = nn.Sequential(_stage(measured, one, 1), _stage(one, two, 3))
        self.join = _stage(two, config.dim, 3, stride=2)
        self.proj = nn.Conv2d(config.dim, config.dim, 1)

    def forward(self, clip: Tensor) -> Tensor:
        with torch.autocast(clip.device.type, enabled=False):  # to a fraction of a pixel
            motion = measured_motion(clip, self.cell).flatten(0, 1)
        joined = self.join(self.moves(motion.to(self.proj.weight.dtype)))
        return cast(
            Tensor, rearrange(self.proj(joined), "(b t) d h w -> b t h w d", b=clip.shape[0])
        )


def _stage(before: int, after: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """A convolution, its batch norm and a ReLU."""
    return nn.Sequential(
        nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(after),
        nn.ReLU(inplace=True),
    )


def _everywhere(each: Tensor, size: torch.Size) -> Tensor:
    """Values `(... s)` at all places, `(... s y x)`."""
    return each[..., None, None].expand(*each.shape, *size)
