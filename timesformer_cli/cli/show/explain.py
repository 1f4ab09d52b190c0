"""Explanations as a table with a preview, JSON, or JSON lines."""

from collections.abc import Iterable, Sequence
from typing import TextIO

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

from timesformer_cli.cli.console import new_console
from timesformer_cli.cli.formats import BAR, bar, percent, write_json, write_json_lines
from timesformer_cli.cli.stderr import note, printable
from timesformer_cli.explain.results import (
    Curve,
    Explained,
    Explanation,
    MapProof,
)
from timesformer_cli.inference.classified import Failed
from timesformer_cli.video.facts import Pixels

MOST = 2 / 3  # share of what all frames carry that the named ones carry at least
LITTLE = 0.02  # a score that falls by less, for every frame, does not hang on any
PREVIEWED, IN_A_ROW = 8, 4  # frames at most
TALLEST = 24  # pixels of a previewed frame, two in a line


def as_table(results: Iterable[Explanation], stream: TextIO, paths: Sequence[str]) -> None:
    """For each video its label, a preview in colour, a row per moment, and sentences."""
    console = new_console(stream)
    for number, result in enumerate(results):
        if number:
            console.print()
        if isinstance(result, Failed):
            line = Text.assemble((printable(result.video), "bold"), "  ")
            line.append(result.error.kind, "bold red").append(
                f": {printable(result.error.message)}"
            )
            console.print(line, soft_wrap=True)
            continue
        line = Text.assemble((printable(result.video), "bold"), "  ")
        line.append(printable(result.label), "green").append(f"  {percent(result.score)}")
        if result.label != result.best:
            line.append(f"  (the model says {printable(result.best)})", "dim")
        console.print(line, soft_wrap=True)
        _preview(result, console)
        console.print(_moments(result, console))
        console.print(carried_sentence(result), soft_wrap=True)
        if result.proof is not None:
            console.print(proof_sentence(result.proof), soft_wrap=True)
        for warning in result.warnings:
            note(f"{result.video} {warning}")


def as_json(results: Iterable[Explanation], stream: TextIO, paths: Sequence[str]) -> None:
    """One array, written when all results are known, so that it is never cut short."""
    write_json(list(results), stream)


def as_jsonl(results: Iterable[Explanation], stream: TextIO, paths: Sequence[str]) -> None:
    """One object per line, each as soon as it is known."""
    write_json_lines(results, stream)


RENDERERS = {"table": as_table, "json": as_json, "jsonl": as_jsonl}


def carried_sentence(result: Explained) -> str:
    """Which moments the score hangs on, and by how much."""
    total = sum(result.carried)
    if max(result.carried) < LITTLE:
        return "no single moment counts: each can show its neighbour, and the score stays"
    most = sorted(range(len(result.carried)), key=lambda row: -result.carried[row])
    named: list[int] = []
    while sum(result.carried[row] for row in named) < MOST * total:
        named.append(most[len(named)])
    moments = result.moments
    times = [f"{moments[row]:.2f} s" for row in sorted(named)]
    listed = times[0] if len(times) == 1 else f"{', '.join(times[:-1])} and {times[-1]}"
    share = sum(result.carried[row] for row in named) / total
    frames, verb = ("frame", "carries") if len(times) == 1 else ("frames", "carry")
    return f"the {frames} at {listed} {verb} {percent(share)} of what the score loses without one"


def proof_sentence(proof: MapProof) -> str:
    """The areas under the curves, and what they mean."""

    def between(values: Sequence[float]) -> str:
        return f"{min(values):.2f} to {max(values):.2f}"

    def areas(name: str, of: str) -> str:
        def area(curve: Curve) -> float:
            return float(getattr(curve, of))

        chance = between([area(curve) for curve in proof.random])
        return f"{name} {area(proof.map):.2f} (chance {chance}, centre {area(proof.centre):.2f})"

    lost = proof.map.deletion[0] - proof.map.deletion[-1]
    if abs(lost) < LITTLE:
        return "nothing is proved: where every place stands still, the score stays"
    verdict = "better than chance" if proof.better_than_chance else "no better than chance here"
    return (
        f"places made to stand still: {areas('deletion', 'deleted')}, less is better; "
        f"{areas('insertion', 'inserted')}, more is better: {verdict}"
    )


def _moments(result: Explained, console: Console) -> Table:
    shares = (result.map.sum((1, 2)) / (result.map.sum() or 1)).tolist()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("time", justify="right")
    table.add_column("looked at", width=BAR + 8)
    table.add_column("score without it", justify="right")
    for moment, share, fall in zip(result.moments, shares, result.carried, strict=True):
        looked = Text.assemble(
            bar(share / (max(shares) or 1), console).ljust(BAR + 1), percent(share)
        )
        table.add_row(f"{moment:.2f} s", looked, percent(max(0.0, result.score - fall)))
    return table


def _preview(result: Explained, console: Console) -> None:
    """The overlay in half blocks, where the terminal has enough colours."""
    if not console.is_terminal or console.color_system not in ("256", "truecolor"):
        return
    from timesformer_cli.cli.draw.explain import overlays

    drawn = overlays(result)
    chosen = np.linspace(0, len(drawn) - 1, min(len(drawn), PREVIEWED)).round().astype(int)
    high, wide = drawn.shape[1:3]
    width = min((min(console.width, 80) + 1) // IN_A_ROW - 1, max(1, TALLEST * wide // high))
    height = max(2, round(width * high / wide / 2) * 2)
    for first in range(0, len(chosen), IN_A_ROW):
        some = chosen[first : first + IN_A_ROW]
        moments = (f"{result.times[frame]:.2f} s".ljust(width)[:width] for frame in some)
        console.print(Text(" ".join(moments).rstrip(), "dim"), no_wrap=True)
        small = [_shrunk(drawn[frame], width, height) for frame in some]
        for row in range(0, height, 2):
            line = Text()
            for picture in small:
                for above, below in zip(picture[row], picture[row + 1], strict=True):
                    line.append(
                        "▀", f"rgb({','.join(map(str, above))}) on rgb({','.join(map(str, below))})"
                    )
                line.append(" ")
            console.print(line, no_wrap=True)


def _shrunk(picture: Pixels, width: int, height: int) -> Pixels:
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BOX))
