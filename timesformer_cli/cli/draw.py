"""An attention scheme drawn as text, from its own sentences: what one patch sees, step by step."""

from collections.abc import Iterator
from math import prod
from typing import TextIO

import numpy as np
import numpy.typing as npt
from einops import rearrange
from rich.console import Console
from rich.text import Text

from timesformer_cli import cost
from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import UsageError
from timesformer_cli.schemes import SCHEMES, Grid, Grouping, Scheme

GRID: Grid = (4, 4, 4)
QUERY = (1, 1, 2)  # frame, row, column: inside, and off every diagonal
# What a patch is to the query, worst to best; each differs without colour, and in ASCII.
ELSEWHERE, THROUGH, SEEN, ASKING = range(4)
SYMBOLS = "·○■◆"
ASCII_SYMBOLS = ".o#Q"
STYLES = ("dim", "cyan", "bold green", "bold magenta")
MEANINGS = ("not reached", "reached by an earlier step", "seen in this step", "the query")
CLASS_TOKEN = {
    "absent": "the class token stays out",
    "shared": "the class token is a member of every group, its updates are averaged",
    "own": "every group has a class token of its own",
}


def show(name: str, stream: TextIO) -> None:
    """Write the picture of a scheme, or of all."""
    console = Console(file=stream, highlight=False)
    for number, one in enumerate(SCHEMES if name == "all" else [name]):
        if number:
            console.rule(style="dim")
        for line in explanation(one, ascii_only=console.options.ascii_only):
            console.print(line)


def explanation(name: str, *, ascii_only: bool = False, words: bool = True) -> Iterator[Text]:
    """Lines of a scheme's picture, pass by pass; with `words`, what it is and what it costs."""
    if name not in SCHEMES:
        raise UsageError(f"unknown attention scheme '{name}'; there are {', '.join(SCHEMES)}")
    scheme = SCHEMES[name]
    symbols = ASCII_SYMBOLS if ascii_only else SYMBOLS
    if words:
        yield Text.assemble((name, "bold"), ": ", scheme.summary)
        yield Text(f"{GRID[0]} frames of {GRID[1]} x {GRID[2]} patches, and one of them, the query")
        yield _legend(scheme, symbols)
    for number, grouping in enumerate(scheme.passes):
        if words or number:
            yield Text()
        yield from _step(number, scheme.passes, symbols)
        yield from _facts(grouping, number, scheme.passes)
    if words:
        config = ModelConfig(attention=name)
        yield Text()
        yield Text(
            f"at 8 frames of 224 px: {cost.comparisons_per_token(config):,} comparisons a token, "
            f"{2 * cost.macs(config).total / 1e9:.1f} GFLOPs a view (base)"
        )


def _legend(scheme: Scheme, symbols: str) -> Text:
    passes = scheme.passes
    appear = {int(what) for number in range(len(passes)) for what in _relation(number, passes).flat}
    return Text("   ").join(
        Text.assemble((symbols[what], STYLES[what]), f" {MEANINGS[what]}")
        for what in sorted(appear, reverse=True)
    )


def _step(number: int, passes: tuple[Grouping, ...], symbols: str) -> Iterator[Text]:
    yield Text.assemble(f"step {number + 1} of {len(passes)}  ", (passes[number].sentence, "bold"))
    relation = _relation(number, passes)
    yield Text("  ".join(f"{f'frame {t + 1}':<7}" for t in range(GRID[0])), style="dim")
    for row in range(GRID[1]):
        line = Text()
        for frame in range(GRID[0]):
            for what in relation[frame, row]:
                line.append(symbols[what], STYLES[what]).append(" ")
            line.append(" ")
        line.rstrip()
        yield line


def _facts(grouping: Grouping, number: int, passes: tuple[Grouping, ...]) -> Iterator[Text]:
    groups, members = grouping.sizes(GRID)
    factors = ", ".join(f"{axis} = {length}" for axis, length in grouping.factors)
    many = f"{groups} group{'s' * (groups > 1)} of {members} patches"
    yield Text(f"{many} ({factors})" if factors else many)
    yield Text(CLASS_TOKEN[grouping.cls])
    reached = int((_relation(number, passes) != ELSEWHERE).sum())
    yield Text(f"{reached} of {prod(GRID)} patches reached")


def _relation(number: int, passes: tuple[Grouping, ...]) -> npt.NDArray[np.int_]:
    """What each patch is to the query in this pass, patches of earlier passes included."""
    query = np.ravel_multi_index(QUERY, GRID)
    seen = _group_of({int(query)}, passes[number])
    reached = seen
    for grouping in reversed(passes[:number]):
        reached = _group_of(reached, grouping)
    relation = np.full(prod(GRID), ELSEWHERE)
    relation[list(reached)] = THROUGH
    relation[list(seen)] = SEEN
    relation[query] = ASKING
    return relation.reshape(GRID)


def _group_of(patches: set[int], grouping: Grouping) -> set[int]:
    """All patches that share a group with one of these."""
    numbers = np.arange(prod(GRID)).reshape(1, *GRID, 1)
    groups = rearrange(numbers, grouping.gather, **grouping.lengths(GRID))[0, :, :, 0]
    return {int(member) for group in groups if patches & set(group.tolist()) for member in group}
