"""Every grouping is a partition of the grid, and means what its name says."""

from itertools import product

import pytest
import torch
from conftest import randomised, tiny
from einops import rearrange
from hypothesis import given
from hypothesis import strategies as st

from timesformer_cli import schemes
from timesformer_cli.errors import UsageError
from timesformer_cli.schemes import SCHEMES, Grouping

GROUPINGS = {
    "joint": schemes.JOINT,
    "space": schemes.SPACE,
    "time": schemes.TIME,
    "width": schemes.WIDTH,
    "height": schemes.HEIGHT,
    "local": schemes.LOCAL,
    "strided": schemes.STRIDED,
}
# Which patches see one another, said without einops: a, b are (t, h, w) in a grid (T, H, W).
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
}
even = st.integers(1, 3).map(lambda half: 2 * half)
grids = st.tuples(even, even, even)


def _members(grouping: Grouping, grid: tuple[int, int, int]) -> torch.Tensor:
    """Patch numbers as the grouping gathers them: `(groups, members)`."""
    numbers = torch.arange(grid[0] * grid[1] * grid[2]).view(1, *grid, 1)
    return rearrange(numbers, grouping.gather, **grouping.lengths(grid))[0, :, :, 0]


def test_every_grouping_of_every_scheme_is_checked_here():
    used = {grouping.sentence for scheme in SCHEMES.values() for grouping in scheme.passes}
    assert used == {grouping.sentence for grouping in GROUPINGS.values()}


@pytest.mark.parametrize("name", GROUPINGS)
@given(grid=grids)
def test_a_grouping_holds_every_patch_once(name, grid):
    grouping = GROUPINGS[name]
    members = _members(grouping, grid)
    assert tuple(members.shape) == grouping.sizes(grid)
    assert members.flatten().sort().values.tolist() == list(range(members.numel()))


@pytest.mark.parametrize("name", GROUPINGS)
@given(grid=grids)
def test_scatter_is_the_inverse_of_gather(name, grid):
    grouping = GROUPINGS[name]
    lengths = grouping.lengths(grid)
    patches = torch.randn(2, *grid, 3)
    gathered = rearrange(patches, grouping.gather, **lengths)
    assert torch.equal(rearrange(gathered, grouping.scatter, **lengths), patches)


@pytest.mark.parametrize("name", GROUPINGS)
@given(grid=grids)
def test_patches_share_a_group_exactly_when_the_paper_says_so(name, grid):
    places = list(product(*map(range, grid)))
    group_of = {}
    for group, members in enumerate(_members(GROUPINGS[name], grid).tolist()):
        group_of |= {places[member]: group for member in members}
    for a, b in product(places, places):
        assert (group_of[a] == group_of[b]) == MEANING[name](a, b, grid), (a, b)


@pytest.mark.parametrize("attention", SCHEMES)
def test_a_patch_reaches_only_what_the_passes_lead_to(attention):
    """One block of the real network, against the groups: which inputs move which outputs."""
    model = randomised(tiny(attention=attention, depth=1, heads=1))
    grid = (4, 4, 4)
    cls = torch.randn(1, 4 if model.config.scheme.cls_per_frame else 1, 64)
    patches = torch.randn(1, *grid, 64)
    moved = patches.clone()
    moved[0, 1, 2, 3] = torch.randn(64)
    with torch.no_grad():
        before, after = (model.blocks[0](cls, tokens)[1] for tokens in (patches, moved))
    changed = ((before - after).abs().amax(-1)[0] > 1e-6).flatten().tolist()
    reached = {1 * 16 + 2 * 4 + 3}
    through_cls = False
    for grouping in model.config.scheme.passes:
        groups = _members(grouping, grid).tolist()
        if through_cls and grouping.cls != "absent":
            reached = set(range(64))  # the class token has carried it everywhere
        hit = [set(group) for group in groups if reached & set(group)]
        reached = set().union(*hit)
        through_cls = through_cls or grouping.cls == "shared"
    assert {index for index, value in enumerate(changed) if value} == reached


@pytest.mark.parametrize("grid", [(8, 7, 7), (8, 14, 7), (7, 14, 14)])
def test_a_grid_that_does_not_divide_is_refused_in_words(grid):
    with pytest.raises(UsageError, match=r"7 (frames|rows|columns) do not divide.* 6 and 8"):
        SCHEMES["sparse"].check(grid)
