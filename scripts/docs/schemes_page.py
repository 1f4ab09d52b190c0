"""Generate docs/schemes.md from the registry: `python -m scripts.docs.schemes_page`."""

import sys
from collections.abc import Iterator

from scripts.docs.typed_section import typed_section
from timesformer_cli import cost
from timesformer_cli.cli.draw.scheme import explanation
from timesformer_cli.cli.formats import markdown_table
from timesformer_cli.config import ModelConfig
from timesformer_cli.cost.crossovers import MOST, costs_by_frames, crossovers
from timesformer_cli.cost.published import reported_accuracy
from timesformer_cli.schemes import PAPER, RELATIVES, SCHEMES
from timesformer_cli.weights.catalogue import WEIGHTS

SHAPES = ((8, 224), (16, 448), (96, 224))  # frames and pixels: the paper's base, HR and L
PICTURES = (224, 448)  # pixels, for what is cheaper
HEAD = """# Attention schemes

Generated from the definitions by `python -m scripts.docs.schemes_page`; do not edit.

A scheme says which patches of a clip see one another. It is a sequence of passes; each is one sentence that cuts the
grid of patches into groups, and patches attend within their group. `tsf benchmark --explain NAME` draws these pictures,
`tsf benchmark --attention all --frames 8,16 --no-measure` prints these numbers, and without `--no-measure` it measures them here.

Schemes of your own are typed: see [the end of this page](#schemes-of-your-own).

In a picture, one patch (◆) asks; ■ are the patches it sees in that step, ○ those that reached it through an earlier one.

The costs are of one view with the base model (ViT-B/16, 400 classes) and follow from the definitions. *Compared* is
what a patch is compared with in a block, as the paper counts. GMACs are billions of multiply-adds, the "FLOPs" of the
papers; GFLOPs are twice that. *Scores* are the elements of the largest score matrix of a block. *Memory* is the predicted
peak of weights and activations, float32, batch of 1: with scores that are stored (math), and with a kernel that never
stores them (fused).
"""
BETWEEN = """# TimeSformer's relatives

Models that differ from TimeSformer in more than their groups are built from the same parts: `tubelet` frames make one
patch, positions may be one table, computed or rotary, and where no pass has a class token the mean of the patches is
read out, or a pooler reads them: a few more blocks, in the last of which one learned query looks at all patches. A second transformer may follow the first: over the frames' class tokens (`vivit-2`), or over each place through all frames (`videoprism`); the pictures show the first. They are trained, benchmarked, exported and, where weights are public, classified with by the same commands.
"""


def page() -> str:
    """The whole page as Markdown."""
    paper, relatives = (map(_section, names) for names in (PAPER, RELATIVES))
    return "\n".join([HEAD, *_overtaking(), *paper, BETWEEN, *relatives, typed_section()])


def _overtaking() -> Iterator[str]:
    yield "## Which is cheaper\n"
    for pixels in PICTURES:
        for crossover in crossovers(PAPER, "base", pixels):
            yield f"- {crossover.text}"
    yield f"\nCounted in multiply-adds, up to {MOST} frames; pairs that are not named never change places.\n"


def _section(name: str) -> str:
    scheme = SCHEMES[name]
    sentences = "".join(
        f"{number}. {' and '.join(f'`{part.sentence}`' for part in grouping.parts)}\n"
        for number, grouping in enumerate(scheme.passes + scheme.alternate, start=1)
    )
    picture = "\n".join(line.plain for line in explanation(name, words=False))
    return (
        f"## {name}\n\n{scheme.summary[0].upper()}{scheme.summary[1:]}.\n\n{sentences}\n"
        f"```text\n{picture}\n```\n\n{_costs(name)}\n**When to use it.** {' '.join(_advice(name))}\n"
    )


def _costs(name: str) -> str:
    headings = [
        "clip",
        "M params",
        "compared",
        "GMACs",
        "GFLOPs",
        "linear, attention, MLP",
        "scores",
    ]
    headings += ["memory, math", "memory, fused"]
    rows = []
    for frames, pixels in SHAPES:
        config = ModelConfig(attention=name, frames=frames, height=pixels, width=pixels)
        spent = cost.macs(config)
        linear = spent.total - spent.attention - spent.mlp
        parts = (
            f"{100 * part / spent.total:.0f} %" for part in (linear, spent.attention, spent.mlp)
        )
        rows.append(
            [
                f"{frames} x {pixels} px",
                f"{cost.parameters(config) / 1e6:.1f}",
                f"{cost.comparisons_per_token(config):,}",
                f"{spent.total / 1e9:,.1f}",
                f"{2 * spent.total / 1e9:,.1f}",
                ", ".join(parts),
                f"{cost.score_elements(config) / 1e6:,.1f} M",
                *(_memory(config, kernel) for kernel in ("math", "fused")),
            ]
        )
    return markdown_table(headings, rows)


def _memory(config: ModelConfig, kernel: cost.Kernel) -> str:
    size = cost.weight_bytes(config, item_bytes=4) + cost.activation_bytes(config, kernel=kernel)
    return f"{size / 2**30:.2f} GiB"


def _advice(name: str) -> Iterator[str]:
    """Sentences on what the definition and the published results say for and against it."""
    if name in PAPER and SCHEMES[name].sees_time:
        yield _cheapest(name)
    elif name in PAPER:
        yield (
            "Where single frames tell the answer, or as the baseline for what motion adds: "
            "it never compares frames, so their order makes no difference."
        )
    eight, sixteen = (
        cost.macs(ModelConfig(attention=name, frames=frames)).total for frames in (8, 16)
    )
    yield f"Twice the frames (8 to 16 at 224 px) cost {sixteen / eight:.2f} times the work."
    if name in PAPER:
        kinetics, something = reported_accuracy(name)
        best = [max(column) for column in zip(*map(reported_accuracy, PAPER), strict=True)]
        yield (
            f"Reported top-1 on Kinetics-400 and Something-Something V2: {kinetics} and {something} "
            f"(the best of the five: {best[0]} and {best[1]})."
        )
    published = any(
        weights.attention == name and not weights.bundled for weights in WEIGHTS.values()
    )
    yield (
        "There are published weights: `tsf models`."
        if published
        else "There are no published weights: train it, or start from an image model."
    )


def _cheapest(name: str) -> str:
    """One sentence on the clip lengths for which no other scheme that sees time costs less."""
    rivals = [other for other, scheme in PAPER.items() if scheme.sees_time]
    said = []
    for pixels in PICTURES:
        costs = {rival: costs_by_frames(rival, "base", pixels) for rival in rivals}
        wins = [
            frames
            for frames, own in costs[name].items()
            if all(own <= costs[rival].get(frames, own) for rival in rivals)
        ]
        if wins:
            reach = f"up to {wins[-1]} frames" if wins[0] <= 2 else f"{wins[0]} frames and more"
            said.append(f"for clips of {reach} at {pixels} px")
    if not said:
        return "It is never the cheapest of the schemes that see time."
    return f"It is the cheapest of the schemes that see time {' and '.join(said)}."


if __name__ == "__main__":
    sys.stdout.write(page())
