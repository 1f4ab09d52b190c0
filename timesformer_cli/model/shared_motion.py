"""Which motion most places of a frame have in common: a shift, a zoom and a roll."""

from collections.abc import Sequence

import torch
from torch import Tensor

# How far from the motion of most places one may be, in pixels, and count a quarter: time by time.
NEAR = (16.0, 8.0, 4.0, 2.0, 1.0, 0.7, 0.5)
PLAIN = 5e-4  # squared contrast at which a place that is found again counts a quarter


def trust(left: Tensor, contrast: Tensor) -> Tensor:
    """How much places count that leave and show so much, 0 to 1: those that are found again."""
    return (contrast / (contrast + left + PLAIN)).square()


def shared_motion(shift: Tensor, trusted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The shift, zoom and roll that most places have in common: the camera's, as a rule.

    A similarity by least squares, several times over: what it does not fit counts less the next
    time, by the weights of Geman and McClure, and their scale shrinks (Black and Anandan 1996,
    section 3). `shift` is `(n 2 y x)`; `trusted` `(n y x)` says how much a place counts at first.

    Returns how far the frame's middle moves right and down, and a point half a short side away from
    it outwards and clockwise, in pixels `(n 4)`; what is left of each shift `(n 2 y x)`; and how
    well each place fits `(n y x)`, 1 at best.
    """
    y, x = axes(shift.shape[-2:], shift.device)
    counts = trusted
    for near in NEAR:
        share = counts / _sum(counts).clamp(min=1e-6)
        right, down, middle_x, middle_y = (_sum(share * each) for each in (*shift.unbind(1), x, y))
        off_x, off_y = x - middle_x, y - middle_y
        off_right, off_down = shift[:, 0] - right, shift[:, 1] - down
        spread = _sum(share * (off_x.square() + off_y.square())) + 1e-3
        outwards = _sum(share * (off_x * off_right + off_y * off_down)) / spread
        clockwise = _sum(share * (off_x * off_down - off_y * off_right)) / spread
        apart = torch.stack(
            [
                off_right - outwards * off_x + clockwise * off_y,
                off_down - outwards * off_y - clockwise * off_x,
            ],
            dim=1,
        )
        fits = (1 + apart.square().sum(1) / near**2).pow(-2)
        counts = trusted * fits
    right = right - outwards * middle_x + clockwise * middle_y
    down = down - outwards * middle_y - clockwise * middle_x
    return torch.cat([right, down, outwards, clockwise], dim=1).squeeze(2), apart, fits


def turned_by(turn: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """How far points `(...)` go, right and down `(n 2 ...)`, in a turn about the origin.

    A turn `(n 2)` is how far a point at a distance of 1 goes outwards and clockwise.
    """
    outwards, clockwise = (each.view(-1, *(1,) * x.dim()) for each in turn.unbind(1))
    return torch.stack([outwards * x - clockwise * y, outwards * y + clockwise * x], dim=1)


def axes(size: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """Where places lie below and to the right of the middle, in halves of a short side."""
    short = min(size)
    y, x = (
        (torch.arange(count, device=device) + (0.5 - count / 2)) * (2 / short) for count in size
    )
    return y.unsqueeze(1), x


def _sum(each: Tensor) -> Tensor:
    """Over all places `(n y x)`, as one that stands for them."""
    return each.sum((1, 2), keepdim=True)
