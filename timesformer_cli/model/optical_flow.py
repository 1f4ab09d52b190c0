"""How places of a frame move into the next one: Lucas and Kanade, over three levels."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from timesformer_cli.model.shared_motion import axes, shared_motion, trust, turned_by

LEVELS = (8, 4, 2)  # pixels of the frame in one of a level, from the coarsest on
REACH = 5  # pixels of the coarsest level: how far whole frames are looked for
RATHER = 0.1  # added to the correlation of frames that stay where they are
# Clockwise, in radians, and logarithms of zooms: what whole frames are tried at besides.
TURNS = (-0.7, -0.45, -0.22, 0.22, 0.45, 0.7)
ZOOMS = (-0.3, -0.15, 0.15, 0.3)
UNLIKELY = 0.05  # taken from the correlation of frames that turn or grow
STEPS = 4  # of Gauss and Newton in a level
WINDOW = 6  # pixels along each side, of every level
SURE = 1e-4  # added to squares of gradients and contrasts: where there are none, nothing moves
FARTHEST = 2.0  # that one step may go, and
ASTRAY = 3.0  # what all steps of a level may go, or they count as lost; in its pixels
# At rest a place must leave less than this share of what its start leaves, to begin there.
CLEARLY = 0.9


def optical_flow(before: Tensor, after: Tensor, cell: int) -> tuple[Tensor, ...]:
    """How far each place moves from one grey frame `(n h w)` to another, by Lucas and Kanade.

    Places are the middles of cells of so many pixels. They begin with the shift, turn or zoom by
    which the frames as a whole are most alike, and at each level some begin anew, at rest. From the
    coarsest level to the finest, a window about each, turned and grown as most are, looks for
    itself with the gradients of the first frame only (Baker and Matthews 2004, section 3.2; over
    cells as Kroeger et al., arXiv 1603.03590), its mean brightness taken out, and the median of
    three by three places is handed on.

    Returns the shift in pixels, right and down `(n 2 y x)`; the mean squares of what is left of the
    window's difference and of its contrast, `(n y x)`; and the whole frames' correlation `(n)`.
    """
    rows, columns = before.shape[-2] // cell, before.shape[-1] // cell
    levels = [torch.stack([before, after], dim=1)]
    while 2 ** (len(levels) - 1) < LEVELS[0]:
        levels.append(F.avg_pool2d(levels[-1], 2))
    common, turn, alike = _common_motion(*levels[-1].unbind(1))
    pixels = min(rows, columns) * cell / 2  # in half a short side
    y, x = (axis.expand(rows, columns) * pixels for axis in axes((rows, columns), before.device))
    shift = common[..., None, None] * LEVELS[0] + turned_by(turn, x, y)
    for size in LEVELS:
        pair = levels[size.bit_length() - 1]
        first, second = pair[:, :1], pair[:, 1:]
        windows, start = _windows(rows, columns, cell, first, size), shift / size
        shown = torch.cat([first, second, *_gradients(first)], dim=1)
        still = _centred(_seen(shown, windows, start * 0))
        template, rested, slopes = still[:, :1], still[:, 1:2], still[:, 2:]
        start = _or_at_rest(template, rested, _centred(_seen(second, windows, start)), start)
        windows = windows + _turned_within(turn, second)
        found = _matched(template, slopes, second, windows, start)
        astray = (found - start).abs().amax(dim=1, keepdim=True) > ASTRAY
        shift = _median(torch.where(astray, start, found)) * size
        difference = _centred(_seen(second, windows, found)) - template
        left, contrast = (
            each.square().mean(-1).view(-1, rows, columns) for each in (difference, template)
        )
        if size != LEVELS[-1]:
            turn = shared_motion(shift, trust(left, contrast))[0][:, 2:] / pixels
    return shift, left, contrast, alike


def _common_motion(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """By which shift, or else turn or zoom, two frames `(n h w)` are most alike.

    Of what both show under it; what leaves little to be compared counts less. Returns the shift
    `(n 2)` in pixels, the turn `(n 2)` as `turned_by` takes it, and the frames' correlation then `(n)`.
    """
    shifts, shifted, shown = _shifted(second)
    turns, others, shown_besides = _turned_frames(second)
    there = torch.cat([shifted, others], dim=1)
    shown = torch.cat([shown, shown_besides]).to(first.dtype)
    count = shown.sum(-1).clamp(min=1)
    here = first.flatten(1).unsqueeze(1)
    here, there = (
        (frame - (frame * shown).sum(-1, keepdim=True) / count.unsqueeze(1)) * shown
        for frame in (here, there)
    )
    power = here.square().sum(-1) * there.square().sum(-1)
    correlation = (here * there).sum(-1) / (power.sqrt() + 1e-3)
    rather = torch.cat([(shifts == 0).all(dim=1) * RATHER, turns[:, 0] * 0 - UNLIKELY])
    best = (correlation * (count / shown.shape[-1]) ** 0.3 + rather).argmax(dim=1)
    return (
        torch.cat([shifts, turns * 0]).index_select(0, best),
        torch.cat([shifts * 0, turns]).index_select(0, best),
        correlation.gather(1, best.unsqueeze(1)).squeeze(1),
    )


def _shifted(frame: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All shifts within REACH `(k 2)`, what a frame `(n h w)` shows under each, and where it does.

    The last two are `(n k pixel)` and `(k pixel)`.
    """
    h, w = frame.shape[-2:]
    off = torch.arange(-REACH, REACH + 1, device=frame.device)
    down = torch.arange(h, device=frame.device).view(1, 1, h, 1) + off.view(-1, 1, 1, 1)
    right = torch.arange(w, device=frame.device).view(1, 1, 1, w) + off.view(1, -1, 1, 1)
    inside = ((down >= 0) & (down < h) & (right >= 0) & (right < w)).flatten(2).flatten(0, 1)
    places = (down.clamp(0, h - 1) * w + right.clamp(0, w - 1)).flatten()
    shown = frame.flatten(1).index_select(1, places).view(-1, *inside.shape)
    steps = range(-REACH, REACH + 1)
    shifts = frame.new_tensor([(across, along) for along in steps for across in steps])
    return shifts, shown, inside


def _turned_frames(frame: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same of TURNS and ZOOMS, about the frame's middle."""
    h, w = frame.shape[-2:]
    turns = frame.new_tensor(
        [(math.cos(turn) - 1, math.sin(turn)) for turn in TURNS]
        + [(math.exp(zoom) - 1, 0.0) for zoom in ZOOMS]
    )
    y, x = (axis.expand(h, w) for axis in axes((h, w), frame.device))
    at = (torch.stack([x, y]) + turned_by(turns, x, y)) * min(h, w) / 2  # pixels from the middle
    at = rearrange(at * _unit(frame), "k s h w -> 1 (k h) w s")
    everywhere = at.expand(frame.shape[0], -1, -1, -1)
    shown = F.grid_sample(frame.unsqueeze(1), everywhere, align_corners=False)
    inside = (at.abs() < 1).all(dim=-1).view(len(turns), -1)
    return turns, shown.view(-1, *inside.shape), inside


def _or_at_rest(template: Tensor, rested: Tensor, moved: Tensor, start: Tensor) -> Tensor:
    """Where each window begins: at `start`, or where it was, if it is clearly more alike there.

    What most of the picture does is the start of all, and a plain ground before which people walk
    has too few gradients to come back from it. At rest it must show more than it leaves, or a cut
    would seem to rest. Where nothing shows, rounding must not decide.
    """
    at_rest, there = ((each - template).square().mean(-1) for each in (rested, moved))
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


def _gradients(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes to the right and down of frames `(n 1 h w)`."""
    wide = F.pad(frame, (1, 1, 0, 0), mode="replicate")
    high = F.pad(frame, (0, 0, 1, 1), mode="replicate")
    return (wide[..., 2:] - wide[..., :-2]) / 2, (high[..., 2:, :] - high[..., :-2, :]) / 2


def _windows(rows: int, columns: int, cell: int, frame: Tensor, size: int) -> Tensor:
    """Where the pixels of the windows about all places lie in a level, `(2 place pixel)`.

    As `grid_sample` has it: across and down, from -1 to 1.
    """
    y, x = (
        (torch.arange(count, device=frame.device) + 0.5) * (cell / size)
        for count in (rows, columns)
    )
    middles = torch.stack([x.expand(rows, columns), y.unsqueeze(1).expand(rows, columns)])
    at = middles.flatten(1).unsqueeze(2) + torch.stack(_within(frame)).unsqueeze(1)
    return at * _unit(frame) - 1


def _within(frame: Tensor) -> tuple[Tensor, Tensor]:
    """Where the pixels of a window lie about its middle, across and down."""
    line = torch.arange(WINDOW, device=frame.device) - (WINDOW - 1) / 2
    size = (WINDOW, WINDOW)
    return line.expand(size).flatten(), line.unsqueeze(1).expand(size).flatten()


def _turned_within(turn: Tensor, frame: Tensor) -> Tensor:
    """How far the pixels of windows go when they turn about their middles, `(n 2 1 pixel)`."""
    return turned_by(turn, *_within(frame)).unsqueeze(2) * _unit(frame)


def _unit(frame: Tensor) -> Tensor:
    """One pixel across and down, as `grid_sample` has it, `(2 1 1)`."""
    return frame.new_tensor([2 / frame.shape[-1], 2 / frame.shape[-2]]).view(2, 1, 1)


def _seen(frame: Tensor, windows: Tensor, moved: Tensor) -> Tensor:
    """The pixels of windows that are moved so, `(n c place pixel)`."""
    # Across and down lie in planes of their own: sums over pairs take three times as long.
    at = windows + moved.flatten(2).unsqueeze(3) * _unit(frame)
    at = rearrange(at, "n s place pixel -> n place pixel s")
    return F.grid_sample(frame, at, padding_mode="border", align_corners=False)


def _centred(windows: Tensor) -> Tensor:
    return windows - windows.mean(-1, keepdim=True)


def _median(shift: Tensor) -> Tensor:
    """The median of three by three places."""
    wide = F.pad(shift, (1, 1, 1, 1), mode="replicate")
    rows, columns = shift.shape[-2:]
    near = [wide[..., i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    return torch.stack(near).topk(5, dim=0).values[-1]
