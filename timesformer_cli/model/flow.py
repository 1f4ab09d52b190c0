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

LEVELS = (8, 4, 2)  # pixels of the frame in one of a level, from the coarsest on
REACH = 5  # pixels of the coarsest level: how far whole frames are looked for
RATHER = 0.1  # added to the correlation of frames that stay where they are
STEPS = 4  # of Gauss and Newton in a level
WINDOW = 6  # pixels along each side, of every level
SURE = 1e-4  # added to squares of gradients and contrasts: where there are none, nothing moves
FARTHEST = 2.0  # that one step may go, and
ASTRAY = 3.0  # what all steps of a level may go, or they count as lost; in its pixels
# At rest a place must leave less than this share of what its start leaves, to begin there.
CLEARLY = 0.9
# How far from the motion of most places one may be, in pixels, and count a quarter: time by time.
NEAR = (16.0, 8.0, 4.0, 2.0, 1.0, 1.0)
PLAIN = 0.02  # squared contrast at which a place that is found again counts half


def optical_flow(before: Tensor, after: Tensor, cell: int) -> tuple[Tensor, ...]:
    """How far each place moves from one grey frame `(n h w)` to another, by Lucas and Kanade.

    Places are the middles of cells of so many pixels. They begin with the shift by which the frames
    as a whole are most alike, and at each level some begin anew, at rest. From the coarsest level
    to the finest, a window about each looks for itself with the gradients of the first frame only
    (Baker and Matthews 2004, section 3.2; over cells as Kroeger et al., arXiv 1603.03590), its mean
    brightness taken out, and the median of three by three places is handed on.

    Returns the shift in pixels, right and down `(n 2 y x)`; the mean squares of what is left of the
    window's difference and of its contrast, `(n y x)`; and the whole frames' correlation `(n)`.
    """
    rows, columns = before.shape[-2] // cell, before.shape[-1] // cell
    levels = [torch.stack([before, after], dim=1)]
    while 2 ** (len(levels) - 1) < LEVELS[0]:
        levels.append(F.avg_pool2d(levels[-1], 2))
    common, alike = _common_shift(*levels[-1].unbind(1))
    shift = (common * LEVELS[0]).view(-1, 2, 1, 1).expand(-1, -1, rows, columns)
    for size in LEVELS:
        pair = levels[size.bit_length() - 1]
        first, second = pair[:, :1], pair[:, 1:]
        windows, start = _windows(rows, columns, cell, first, size), shift / size
        sloped = torch.cat([first, *_gradients(first)], dim=1)
        still = _centred(_seen(sloped, windows, start * 0))
        template, slopes = still[:, :1], still[:, 1:]
        start = _or_at_rest(template, second, windows, start)
        found = _matched(template, slopes, second, windows, start)
        astray = (found - start).abs().amax(dim=1, keepdim=True) > ASTRAY
        shift = _median(torch.where(astray, start, found)) * size
    difference = _centred(_seen(second, windows, found)) - template
    left, contrast = (
        each.square().mean(-1).view(-1, rows, columns) for each in (difference, template)
    )
    return shift, left, contrast, alike


def _common_shift(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """By which shift `(n 2)` two frames `(n h w)` are most alike, and their correlation then.

    Of what both show under it; a shift that leaves little to be compared counts less.
    """
    h, w = first.shape[-2:]
    off = torch.arange(-REACH, REACH + 1, device=first.device)
    down = torch.arange(h, device=first.device).view(1, 1, h, 1) + off.view(-1, 1, 1, 1)
    right = torch.arange(w, device=first.device).view(1, 1, 1, w) + off.view(1, -1, 1, 1)
    inside = ((down >= 0) & (down < h) & (right >= 0) & (right < w)).flatten(2).flatten(0, 1)
    places = (down.clamp(0, h - 1) * w + right.clamp(0, w - 1)).flatten()
    shown = inside.to(first.dtype)
    count = shown.sum(-1).clamp(min=1)
    one, other = (frame.flatten(1) - frame.mean((1, 2)).unsqueeze(1) for frame in (first, second))
    here = one.unsqueeze(1) * shown
    there = other.index_select(1, places).view(-1, *inside.shape) * shown
    mean, mean_there = here.sum(-1) / count, there.sum(-1) / count
    both = (here * there).sum(-1) - mean * mean_there * count
    own, others = (
        (x.square().sum(-1) - m.square() * count).clamp(min=0)
        for x, m in ((here, mean), (there, mean_there))
    )
    correlation = both / ((own * others).sqrt() + 1e-3)
    steps = range(-REACH, REACH + 1)
    shifts = first.new_tensor([(across, along) for along in steps for across in steps])
    rather = (shifts == 0).all(dim=1) * RATHER
    best = (correlation * (count / (h * w)) ** 0.3 + rather).argmax(dim=1)
    chosen = correlation.gather(1, best.unsqueeze(1)).squeeze(1)
    return shifts.index_select(0, best), chosen


def _or_at_rest(template: Tensor, second: Tensor, windows: Tensor, start: Tensor) -> Tensor:
    """Where each window begins: at `start`, or where it was, if it is clearly more alike there.

    What most of the picture does is the start of all, and a plain ground before which people walk
    has too few gradients to come back from it. At rest it must show more than it leaves, or a cut
    would seem to rest. Where nothing shows, rounding must not decide.
    """
    at_rest, there = (
        (_centred(_seen(second, windows, shift)) - template).square().mean(-1)
        for shift in (start * 0, start)
    )
    shows = template.square().mean(-1)
    rests = (at_rest + SURE < CLEARLY * there) & (at_rest + SURE < shows)
    return torch.where(rests.view(-1, 1, *start.shape[2:]), start * 0, start)


def _matched(
    template: Tensor, slopes: Tensor, second: Tensor, windows: Tensor, start: Tensor
) -> Tensor:
    """How far each window moves into the second frame of a level, from where `start` has it."""
    right, down = slopes.unbind(1)
    xx = right.square().mean(-1) + SURE
    yy = down.square().mean(-1) + SURE
    xy = (right * down).mean(-1)
    determinant = xx * yy - xy.square()
    still = (slopes * template).mean(-1)
    moved = start
    for _ in range(STEPS):
        # Slopes have a mean of zero, so the pixels' own does not count.
        along, across = ((slopes * _seen(second, windows, moved)).mean(-1) - still).unbind(1)
        newton = torch.stack([yy * along - xy * across, xx * across - xy * along], dim=1)
        step = (newton / determinant.unsqueeze(1)).view(-1, *start.shape[1:])
        moved = moved - step.clamp(-FARTHEST, FARTHEST)
    return moved


def shared_motion(shift: Tensor, trust: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The shift, zoom and roll that most places have in common: the camera's, as a rule.

    A similarity by least squares, several times over: what it does not fit counts less the next
    time, by the weights of Geman and McClure, and their scale shrinks (Black and Anandan 1996,
    section 3). `shift` is `(n 2 y x)`; `trust` `(n y x)` says how much a place counts at first.

    Returns how far the frame's middle moves right and down, and a point half a short side away from
    it outwards and clockwise, in pixels `(n 4)`; what is left of each shift `(n 2 y x)`; and how
    well each place fits `(n y x)`, 1 at best.
    """
    y, x = _axes(shift)
    counts = trust
    for near in NEAR:
        share = counts / _sum(counts).clamp(min=1e-6)
        right, down, middle_x, middle_y = (_sum(share * each) for each in (*shift.unbind(1), x, y))
        off_x, off_y = x - middle_x, y - middle_y
        off_right, off_down = shift[:, 0] - right, shift[:, 1] - down
        spread = _sum(share * (off_x.square() + off_y.square())) + 1e-2
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
        counts = trust * fits
    right = right - outwards * middle_x + clockwise * middle_y
    down = down - outwards * middle_y - clockwise * middle_x
    return torch.cat([right, down, outwards, clockwise], dim=1).squeeze(2), apart, fits


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
    trust = contrast / (contrast + left + PLAIN)
    shared, apart, fits = shared_motion(shift, trust)
    fit = (fits * trust).mean((1, 2)) / (trust.mean((1, 2)) + 1e-6)
    right, down = shift.unbind(1)
    y, x = _axes(shift)
    size = right.shape[1:]
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


def _axes(shift: Tensor) -> tuple[Tensor, Tensor]:
    """Where places `(n 2 y x)` lie below and to the right of the middle, in halves of a short side."""
    rows, columns = shift.shape[-2:]
    short = min(rows, columns)
    y, x = (
        (torch.arange(count, device=shift.device) + (0.5 - count / 2)) * (2 / short)
        for count in (rows, columns)
    )
    return y.unsqueeze(1), x


def _sum(each: Tensor) -> Tensor:
    """Over all places `(n y x)`, as one that stands for them."""
    return each.sum((1, 2), keepdim=True)


def _everywhere(each: Tensor, size: torch.Size) -> Tensor:
    """Values `(... s)` at all places, `(... s y x)`."""
    return each[..., None, None].expand(*each.shape, *size)


def _gradients(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes to the right and down of frames `(n 1 h w)`."""
    wide = F.pad(frame, (1, 1, 0, 0), mode="replicate")
    high = F.pad(frame, (0, 0, 1, 1), mode="replicate")
    return (wide[..., 2:] - wide[..., :-2]) / 2, (high[..., 2:, :] - high[..., :-2, :]) / 2


def _windows(rows: int, columns: int, cell: int, frame: Tensor, size: int) -> Tensor:
    """Where the pixels of the windows about all places lie in a level, `(y x pixel 2)`.

    As `grid_sample` has it: across and down, from -1 to 1.
    """
    sides = [(columns, frame.shape[-1]), (rows, frame.shape[-2])]
    within = torch.arange(WINDOW, device=frame.device) - (WINDOW - 1) / 2
    x, y = (
        ((torch.arange(count, device=frame.device) + 0.5).unsqueeze(1) * cell / size + within)
        * (2 / length)
        - 1
        for count, length in sides
    )
    shape = (rows, columns, WINDOW, WINDOW)
    across = x[None, :, None, :].expand(shape)
    down = y[:, None, :, None].expand(shape)
    return torch.stack([across, down], dim=-1).flatten(2, 3)


def _seen(frame: Tensor, windows: Tensor, moved: Tensor) -> Tensor:
    """The pixels of windows that are moved so, `(n c place pixel)`."""
    unit = frame.new_tensor([2 / frame.shape[-1], 2 / frame.shape[-2]]).view(1, 2, 1, 1)
    at = windows + rearrange(moved * unit, "n s y x -> n y x 1 s")
    return F.grid_sample(frame, at.flatten(1, 2), padding_mode="border", align_corners=False)


def _centred(windows: Tensor) -> Tensor:
    return windows - windows.mean(-1, keepdim=True)


def _median(shift: Tensor) -> Tensor:
    """The median of three by three places."""
    wide = F.pad(shift, (1, 1, 1, 1), mode="replicate")
    rows, columns = shift.shape[-2:]
    near = [wide[..., i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return torch.stack(near).topk(5, dim=0).values[-1]
