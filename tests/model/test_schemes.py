"""Every grouping is a partition of the grid, and means what its name says."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from tests.support.models import randomised, tiny
from timesformer_cli import schemes
from timesformer_cli.errors import UsageError
from timesformer_cli.grouping import EVERYWHERE, Grid, Grouping
from timesformer_cli.model.attention import GroupedAttention
from timesformer_cli.model.regroup import group, ungroup, visible
from timesformer_cli.schemes import SCHEMES

SMALL_WINDOW = replace(schemes.WINDOW, factors=(("t", 2), ("h", 3), ("w", 2)))
GROUPINGS = {
    "joint": schemes.JOINT,
    "space": schemes.SPACE,
    "time": schemes.TIME,
    "width": schemes.WIDTH,
    "height": schemes.HEIGHT,
    "local": schemes.LOCAL,
    "strided": schemes.STRIDED,
    "column": schemes.COLUMN,
    "window": schemes.WINDOW,
    "shifted": schemes.SHIFTED,
    "near": schemes.NEAR,
    "every second": schemes.EVERY_SECOND,
    "tubelet": replace(schemes.TUBELET, factors=(("f", 2),)),
    "small window": SMALL_WINDOW,
    "small shifted": replace(SMALL_WINDOW, shift=(1, 1, 1), reach=(1, 2, 1)),
    "narrow column": replace(schemes.COLUMN, factors=(("h", 2), ("w", 3))),
    "diagonal": replace(schemes.TIME, diagonal=(1, 1)),
    "steep diagonal": replace(schemes.TIME, diagonal=(0, -2)),
}


def in_windows(size: Grid, shift: Grid = (0, 0, 0)):
    """Whether two patches lie in the same window, its edges where the shift puts them."""

    def same(a: Grid, b: Grid, grid: Grid) -> bool:
        for x, y, length, window, by in zip(a, b, grid, size, shift, strict=True):
            moved = by if length > window else 0
            if (x - moved) // window != (y - moved) // window:
                return False
        return True

    return same


# Which patch b is seen by a, said without einops: they are (t, h, w) in a grid (T, H, W).
MEANING = {
    "joint": lambda a, b, grid: True,
    "space": lambda a, b, grid: a[0] == b[0],
    "time": lambda a, b, grid: a[1:] == b[1:],
    "width": lambda a, b, grid: a[:2] == b[:2],
    "height": lambda a, b, grid: (a[0], a[2]) == (b[0], b[2]),
    "local": lambda a, b, grid: all(
        (x < size // 2) == (y < size // 2)
        for x, y, size in zip(a[1:], b[1:], grid[1:], strict=True)
    ),
    "strided": lambda a, b, grid: all((x - y) % 2 == 0 for x, y in zip(a, b, strict=True)),
    "column": in_windows((EVERYWHERE, 7, 7)),
    "window": in_windows((8, 7, 7)),
    "shifted": in_windows((8, 7, 7), (4, 3, 3)),
    "near": lambda a, b, grid: a[1:] == b[1:] and abs(a[0] - b[0]) <= 1,
    "every second": lambda a, b, grid: a[0] == b[0] and b[1] % 2 == b[2] % 2 == 0,
    "tubelet": lambda a, b, grid: a[1:] == b[1:] and a[0] // 2 == b[0] // 2,
    "small window": in_windows((2, 3, 2)),
    "small shifted": in_windows((2, 3, 2), (1, 1, 1)),
    "narrow column": in_windows((EVERYWHERE, 2, 3)),
    "diagonal": lambda a, b, grid: all(
        (b[axis] - a[axis] - (b[0] - a[0])) % grid[axis] == 0 for axis in (1, 2)
    ),
    "steep diagonal": lambda a, b, grid: (
        a[1] == b[1] and (b[2] - a[2] + 2 * (b[0] - a[0])) % grid[2] == 0
    ),
}
DIVIDING = ("local", "strided", "tubelet")
even = st.integers(1, 3).map(lambda half: 2 * half)
grids = st.tuples(even, even, even)
odd_grids = st.tuples(*[st.integers(1, 5)] * 3)
# A definition is asked of every pair of patches, one by one.
few = settings(max_examples=15, deadline=None)


def meaning(grouping: Grouping):
    """What a grouping of a scheme means."""
    parts = [
        next(name for name, known in GROUPINGS.items() if _same(known, part))
        for part in grouping.parts
    ]
    return lambda a, b, grid: any(MEANING[name](a, b, grid) for name in parts)


def _same(one: Grouping, other: Grouping) -> bool:
    return replace(one, cls="absent") == replace(other, cls="absent")


def _members(grouping: Grouping, grid: Grid) -> torch.Tensor:
    """Patch numbers as the grouping gathers them, `(groups, members)`; -1 is padding."""
    numbers = torch.arange(1, 1 + grid[0] * grid[1] * grid[2]).view(1, *grid, 1)
    return group(numbers, grouping)[0, :, :, 0] - 1


def _seen(grouping: Grouping, grid: Grid) -> torch.Tensor:
    """Whether patch b is among the keys of patch a, `(a, b)`, as the model has it."""
    members = _members(grouping, grid)
    seen = torch.zeros((grid[0] * grid[1] * grid[2],) * 2, dtype=torch.bool)
    masks = visible(grouping, grid, members.device)
    if not grouping.is_masked(grid):
        assert masks.all()
    lengths = grouping.lengths(grid)
    axes = [lengths[name] for name in grouping.members]
    keys = torch.zeros(axes, dtype=torch.bool)
    keys[(slice(None, None, grouping.stride),) * len(axes)] = True
    for places, mask in zip(members, masks & keys.flatten(), strict=True):
        real = places >= 0
        inside = mask[real][:, real]
        seen[places[real][:, None], places[real]] = inside
    return seen


def _meant(name_or_rule, grid: Grid) -> torch.Tensor:
    rule = MEANING[name_or_rule] if isinstance(name_or_rule, str) else name_or_rule
    places = list(product(*map(range, grid)))
    return torch.tensor([[rule(a, b, grid) for b in places] for a in places])


def test_every_grouping_of_every_scheme_is_checked_here():
    for scheme in SCHEMES.values():
        for grouping in scheme.passes + scheme.alternate:
            assert meaning(grouping)


@pytest.mark.parametrize("name", GROUPINGS)
@few
@given(data=st.data())
def test_a_grouping_holds_every_patch_once_and_gives_it_back(name, data):
    grouping, grid = GROUPINGS[name], data.draw(grids if name in DIVIDING else odd_grids)
    members = _members(grouping, grid)
    assert tuple(members.shape) == grouping.sizes(grid)
    assert members[members >= 0].sort().values.tolist() == list(range(grid[0] * grid[1] * grid[2]))
    assert (members.min() < 0) == (grouping.filled(grid) != grid)
    patches = torch.randn(2, *grid, 3)
    assert torch.equal(ungroup(group(patches, grouping), grouping, grid), patches)


@pytest.mark.parametrize("name", GROUPINGS)
@few
@given(data=st.data())
def test_a_patch_sees_another_exactly_when_the_definition_says_so(name, data):
    grid = data.draw(grids if name in DIVIDING else odd_grids)
    assert torch.equal(_seen(GROUPINGS[name], grid), _meant(name, grid))


@pytest.mark.parametrize("name", ["window", "shifted", "column"])
def test_the_published_windows_mean_the_same_on_a_grid_they_do_not_divide(name):
    grid = (9, 8, 5)
    assert torch.equal(_seen(GROUPINGS[name], grid), _meant(name, grid))


@pytest.mark.parametrize("grid", [(4, 4, 4), (3, 5, 7)], ids=str)
@pytest.mark.parametrize("name", [name for name in GROUPINGS if name not in DIVIDING])
def test_attention_in_groups_is_dense_attention_under_the_definitions_mask(name, grid):
    torch.manual_seed(0)
    attention = GroupedAttention(32, 2, replace(GROUPINGS[name], cls="absent"))
    patches = torch.randn(2, *grid, 32)
    q, k, v = (
        part.unflatten(-1, (2, 16)).transpose(1, 2)
        for part in attention.qkv(patches.flatten(1, 3)).chunk(3, dim=-1)
    )
    scores = (q @ k.transpose(-1, -2) / 4).masked_fill(~_meant(name, grid), -torch.inf)
    dense = attention.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    _, grouped = attention(torch.empty(2, 0, 32), patches)
    assert_close(grouped.flatten(1, 3), dense, rtol=0, atol=1e-5)


def test_padding_has_no_gradient_that_is_not_a_number():
    attention: nn.Module = GroupedAttention(8, 1, GROUPINGS["small shifted"])
    patches = torch.randn(1, 3, 5, 7, 8, requires_grad=True)
    attention(torch.empty(1, 0, 8), patches)[1].sum().backward()
    assert patches.grad.isfinite().all()


@pytest.mark.parametrize("attention", SCHEMES)
def test_a_patch_reaches_only_what_the_passes_lead_to(attention):
    """Two blocks of the real network, against the definitions: which inputs move which outputs."""
    model = randomised(tiny(attention=attention))
    grid, scheme = (4, 4, 4), model.config.scheme
    for number, block in enumerate(model.blocks):
        cls = torch.randn(1, 4 if scheme.cls_per_frame else model.config.class_tokens, 64)
        patches = torch.randn(1, *grid, 64)
        moved = patches.clone()
        moved[0, 1, 2, 3] = torch.randn(64)
        with torch.no_grad():
            before, after = (block(cls, tokens)[1] for tokens in (patches, moved))
        changed = ((before - after).abs().amax(-1)[0] > 1e-6).flatten()
        reached = torch.zeros(64, dtype=torch.bool)
        reached[1 * 16 + 2 * 4 + 3] = True
        through_cls = False
        for grouping in scheme.passes_of(number):
            if through_cls and grouping.cls != "absent":
                reached[:] = True  # the class token has carried it everywhere
            reached = reached | (_meant(meaning(grouping), grid) & reached).any(-1)
            through_cls = through_cls or grouping.cls in ("shared", "global")
        assert torch.equal(changed, reached)


@pytest.mark.parametrize("grid", [(8, 7, 7), (8, 14, 7), (7, 14, 14)])
def test_a_grid_that_does_not_divide_is_refused_in_words(grid):
    with pytest.raises(UsageError, match=r"7 (frames|rows|columns) do not divide.* 6 and 8"):
        SCHEMES["sparse"].require_divisible(grid)
