"""Draw an attention scheme as text, from its groupings: what one patch sees, step by step."""

from collections.abc import Iterator
from dataclasses import replace
from math import prod
from typing import TextIO

import numpy as np
import numpy.typing as npt
from einops import rearrange
from rich.text import Text

from timesformer_cli import cost
from timesformer_cli.cli.console import new_console
from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import UsageError
from timesformer_cli.grouping import AXES, EVERYWHERE, Grid, Grouping, parse_sentence
from timesformer_cli.schemes import SCHEMES, Scheme
from timesformer_cli.typed.schemes import find_scheme, read_scheme, scheme_label

GRID: Grid = (4, 4, 4)
SMALL = 2  # patches along each side of a window that is drawn
QUERY = (1, 1, 2)  # frame, row, column: inside, and off every diagonal
# What a patch is to the query, from least to most; symbols differ without colour and in ASCII.
ELSEWHERE, THROUGH, SEEN, ASKING = range(4)
SYMBOLS = "·○■◆"
ASCII_SYMBOLS = ".o#Q"
STYLES = ("dim", "cyan", "bold green", "bold magenta")
MEANINGS = ("not reached", "reached by an earlier step", "seen in this step", "the query")
CLASS_TOKEN = {
    "absent": "the class token stays out",
    "shared": "the class token is a member of every group, its updates are averaged",
    "own": "every group has a class token of its own",
    "global": "the class token is seen in every group, and itself sees every patch",
}
NO_CLASS_TOKEN = "there is no class token: the mean of the patches is read out"
POOLED = "there is no class token: a pooler reads the patches out"


def show_scheme(name: str, stream: TextIO) -> None:
    """Write the picture of a scheme, or of all schemes; raises UsageError for what is none."""
    console = new_console(stream)
    for number, scheme in enumerate(SCHEMES if name == "all" else [read_scheme(name)]):
        if number:
            console.rule(style="dim")
        for line in explanation(scheme, ascii_only=console.options.ascii_only):
            console.print(line)


def explanation(attention: str, *, ascii_only: bool = False, words: bool = True) -> Iterator[Text]:
    """Yield the lines of a scheme's picture; with `words`, also what it is and what it costs."""
    scheme = find_scheme(attention)
    symbols = ASCII_SYMBOLS if ascii_only else SYMBOLS
    if words:
        yield Text.assemble((scheme_label(attention), "bold"), ": ", scheme.summary)
        yield Text(f"{GRID[0]} frames of {GRID[1]} x {GRID[2]} patches, and one of them, the query")
        yield _legend(scheme, symbols)
    for number in range(len(_passes(scheme))):
        if words or number:
            yield Text()
        yield from _step(number, scheme, symbols)
        yield from _facts(number, scheme)
    if scheme.frame_blocks:
        yield Text(f"then {scheme.frame_blocks} blocks over the frames' class tokens")
    if scheme.fused is not None:
        yield Text(f"beside: a path of every frame, a quarter as wide, {scheme.fused.sentence},")
        yield Text(f"looked at before the first block and every {scheme.fuse_every} from there")
    if words:
        yield Text()
        yield Text(f"at 8 frames of 224 px: {_cost(attention)}")


def _cost(attention: str) -> str:
    try:
        config = ModelConfig(attention=attention)
    except UsageError as error:
        return str(error)
    work = 2 * cost.macs(config).total / 1e9
    compared = cost.comparisons_per_token(config)
    return f"{compared:,} comparisons a token, {work:.1f} GFLOPs a view (base)"


def _passes(scheme: Scheme) -> tuple[Grouping, ...]:
    """The passes of a block, then those of the next block where they differ."""
    return scheme.passes + scheme.alternate


def _legend(scheme: Scheme, symbols: str) -> Text:
    steps = range(len(_passes(scheme)))
    appear = {int(what) for number in steps for what in _relation(number, scheme).flat}
    return Text("   ").join(
        Text.assemble((symbols[what], STYLES[what]), f" {MEANINGS[what]}")
        for what in sorted(appear, reverse=True)
    )


def _step(number: int, scheme: Scheme, symbols: str) -> Iterator[Text]:
    passes = _passes(scheme)
    sentences = " beside ".join(part.sentence for part in passes[number].parts)
    yield Text.assemble(f"step {number + 1} of {len(passes)}  ", (sentences, "bold"))
    relation = _relation(number, scheme)
    yield Text("  ".join(f"{f'frame {t + 1}':<7}" for t in range(GRID[0])), style="dim")
    for row in range(GRID[1]):
        line = Text()
        for frame in range(GRID[0]):
            for what in relation[frame, row]:
                line.append(symbols[what], STYLES[what]).append(" ")
            line.append(" ")
        line.rstrip()
        yield line


def _facts(number: int, scheme: Scheme) -> Iterator[Text]:
    grouping = _passes(scheme)[number]
    for part in grouping.parts:
        yield Text(_groups(part))
    for part in grouping.parts:
        yield from _limits(part, alternating=number >= len(scheme.passes))
    without = POOLED if scheme.pooler_blocks else NO_CLASS_TOKEN
    yield Text(CLASS_TOKEN[grouping.cls] if scheme.has_cls else without)
    reached = int((_relation(number, scheme) != ELSEWHERE).sum())
    yield Text(f"{reached} of {prod(GRID)} patches reached")


def _limits(grouping: Grouping, *, alternating: bool) -> Iterator[Text]:
    """What narrows what is seen within a group, or moves the groups."""
    near = [
        _many(by, axis) for axis, by in zip(AXES, grouping.reach, strict=True) if by < EVERYWHERE
    ]
    if any(grouping.shift):
        when = "in every second block, " if alternating else ""
        edge = "and not around the edge" if near else "around the edge"
        yield Text(f"{when}moved by {' x '.join(map(str, grouping.shift))}, {edge}")
    if any(grouping.diagonal):
        rows, columns = grouping.diagonal
        further = f"{_many(rows, 'rows')} and {_many(columns, 'columns')}"
        yield Text(f"moved on by {further} a frame, around the edge")
    if near and not (alternating and any(grouping.shift)):
        yield Text(f"no further than {' and '.join(near)} away")
    if grouping.stride > 1:
        grid, (_, members) = parse_sentence(grouping.sentence)
        axes = [axis for axis, names in zip(AXES, grid, strict=True) if {*names} & {*members}]
        yield Text(f"of {' and '.join(axes)}, one in {grouping.stride} is seen")


def _many(count: int, axis: str) -> str:
    return f"{count} {axis.removesuffix('s') if abs(count) == 1 else axis}"


def _groups(grouping: Grouping) -> str:
    drawn = _drawn(grouping)
    groups, members = drawn.sizes(GRID)
    many = f"{groups} group{'s' * (groups > 1)} of {members} patches"
    factors = ", ".join(f"{axis} = {length}" for axis, length in drawn.factors)
    if drawn.factors != grouping.factors:
        factors += " here, "
        factors += ", ".join(f"{axis} = {length}" for axis, length in grouping.factors)
        factors += " in the model"
    return f"{many} ({factors})" if factors else many


def _drawn(grouping: Grouping) -> Grouping:
    """The grouping as it is drawn: what does not divide GRID shrinks to 2 patches, or to 1."""
    lengths: dict[str, int] = {}
    given = dict(grouping.factors)
    shift, reach = list(grouping.shift), list(grouping.reach)
    for number, names in enumerate(parse_sentence(grouping.sentence)[0]):
        fixed = [name for name in names if name in given]
        if grouping.padded or GRID[number] % prod(given[name] for name in fixed):
            lengths |= {name: SMALL if at < 2 else 1 for at, name in enumerate(fixed)}
            if fixed and shift[number]:
                shift[number] = SMALL // 2
            if fixed and reach[number] < EVERYWHERE:
                reach[number] = min(reach[number], SMALL - 1)
        else:
            lengths |= {name: given[name] for name in fixed}
    return replace(
        grouping,
        factors=tuple((name, lengths[name]) for name, _ in grouping.factors),
        shift=(shift[0], shift[1], shift[2]),
        reach=(reach[0], reach[1], reach[2]),
    )


def _relation(number: int, scheme: Scheme) -> npt.NDArray[np.int_]:
    """What each patch is to the query in this pass, patches of earlier passes included."""
    query = int(np.ravel_multi_index(QUERY, GRID))
    passes = [_drawn(grouping) for grouping in _passes(scheme)]
    seen = _seen_by({query}, passes[number])
    reached = seen
    for grouping in reversed(passes[:number]):
        reached = _seen_by(reached, grouping)
    relation = np.full(prod(GRID), ELSEWHERE)
    relation[list(reached)] = THROUGH
    relation[list(seen)] = SEEN
    relation[query] = ASKING
    return relation.reshape(GRID)


def _seen_by(queries: set[int], grouping: Grouping) -> set[int]:
    """All patches that any of these sees, and these themselves."""
    seen = set(queries)
    for part in grouping.parts:
        for group in _members(part):
            axes = [part.lengths(GRID)[name] for name in part.members]
            every = (slice(None, None, part.stride),) * len(axes)
            keys = group.reshape(axes)[every].flatten().tolist()
            for query in queries & set(group.tolist()):
                seen |= {key for key in keys if _within(part.reach, query, key)}
    return seen


def _members(grouping: Grouping) -> npt.NDArray[np.int_]:
    """Numbers of the patches as `(groups members)`; every grouping, as drawn, divides GRID."""
    moved = [-by for by in grouping.moved(GRID)]
    numbers = np.roll(np.arange(prod(GRID)).reshape(GRID), moved, axis=(0, 1, 2))
    for frame, of_frame in enumerate(numbers):
        numbers[frame] = np.roll(of_frame, [-frame * by for by in grouping.diagonal], axis=(0, 1))
    gathered = rearrange(numbers.reshape(1, *GRID, 1), grouping.gather, **grouping.lengths(GRID))
    members: npt.NDArray[np.int_] = gathered[0, :, :, 0]
    return members


def _within(reach: Grid, query: int, key: int) -> bool:
    places = zip(np.unravel_index(query, GRID), np.unravel_index(key, GRID), reach, strict=True)
    return all(abs(int(a) - int(b)) <= most for a, b, most in places)
