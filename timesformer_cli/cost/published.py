"""The numbers that the papers of TimeSformer and its relatives published, beside ours."""

from collections.abc import Iterator
from dataclasses import dataclass

from timesformer_cli import cost
from timesformer_cli.config import ModelConfig
from timesformer_cli.results import written

TIMESFORMER, VIVIT = "arXiv 2102.05095", "arXiv 2103.15691"
VIDEOMAE, VIDEOPRISM = "arXiv 2203.12602", "arXiv 2402.13217"
VIEWS = 3  # TimeSformer's paper counts multiply-adds of three crops and calls them FLOPs
# The paper's parameter counts are those with a head for Something-Something V2.
SSV2_CLASSES, K400_CLASSES = 174, 400

# Table 1: millions of parameters, top-1 on Kinetics-400 and Something-Something V2.
SCHEMES_PUBLISHED = """
space    85.9  76.9  36.6
joint    85.9  77.4  58.5
divided  121.4 78.0  59.5
sparse   121.4 75.9  56.3
axial    156.8 73.5  56.2
"""
# Tables 2 and 5: frames, pixels, TFLOPs of three views, top-1 and top-5 on Kinetics-400.
MODELS_PUBLISHED = """
TimeSformer     divided  8 224  0.59  78.0  93.7
TimeSformer-HR  divided 16 448  5.11  79.7  94.4
TimeSformer-L   divided 96 224  7.14  80.7  94.7
"""
# ViViT's Table 2: G multiply-adds of a view of 32 frames at 224 px, millions of parameters, top-1
# on Kinetics-400 and Epic Kitchens.
VIVIT_PUBLISHED = """
vivit-1 455.2  88.9 80.0 43.1
vivit-2 284.4 115.1 78.8 43.7
vivit-3 372.3 117.3 77.4 39.1
vivit-4 277.1  88.9 76.3 39.5
"""
# VideoMAE's tables: G multiply-adds of a view of 16 frames at 224 px, top-1 on Kinetics-400.
VIDEOMAE_PUBLISHED = """
small  57 79.0
base  180 81.5
large 597 85.2
"""
# The README of VideoPrism: frames at 288 px, millions of parameters of the video encoder.
VIDEOPRISM_PUBLISHED = """
base  16 114
large  8 354
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Compared:
    """One published number beside ours."""

    paper: str  # arXiv number
    table: str  # which table of the paper, and what it counts
    name: str  # of the model or the scheme
    quantity: str  # the unit of both numbers
    published: float
    ours: float
    reported: dict[str, float]  # accuracies of that model in the paper, per cent

    @property
    @written
    def difference_percent(self) -> float:
        """How far our number is above the published one, in per cent."""
        return 100 * (self.ours / self.published - 1)


def reported_accuracy(attention: str) -> tuple[float, float]:
    """Top-1 of Table 1, per cent, on Kinetics-400 and on Something-Something V2."""
    lines = map(str.split, SCHEMES_PUBLISHED.strip().splitlines())
    (accuracy,) = [line[2:] for line in lines if line[0] == attention]
    return float(accuracy[0]), float(accuracy[1])


def compared() -> Iterator[Compared]:
    """Yield every row of the published tables that follows from a scheme's definition."""
    for line in SCHEMES_PUBLISHED.strip().splitlines():
        name, millions, kinetics, something = line.split()
        config = ModelConfig(attention=name, classes=SSV2_CLASSES)
        yield Compared(
            paper=TIMESFORMER,
            table="Table 1: parameters",
            name=name,
            quantity="M parameters",
            published=float(millions),
            ours=cost.parameters(config) / 1e6,
            reported={"top-1 K400": float(kinetics), "top-1 SSv2": float(something)},
        )
    for line in MODELS_PUBLISHED.strip().splitlines():
        name, attention, frames, pixels, tera, top1, top5 = line.split()
        config = ModelConfig(
            attention=attention,
            frames=int(frames),
            height=int(pixels),
            width=int(pixels),
            classes=K400_CLASSES,
        )
        yield Compared(
            paper=TIMESFORMER,
            table="Tables 2 and 5: multiply-adds of three views",
            name=f"{name} ({frames} x {pixels} px)",
            quantity="T multiply-adds",
            published=float(tera),
            ours=VIEWS * cost.macs(config).total / 1e12,
            reported={"top-1 K400": float(top1), "top-5 K400": float(top5)},
        )
    for quantity in ("G multiply-adds", "M parameters"):
        yield from _vivit(quantity)
    for line in VIDEOMAE_PUBLISHED.strip().splitlines():
        size, giga, top1 = line.split()
        config = ModelConfig.of_size(size, attention="videomae", frames=16, classes=K400_CLASSES)
        yield Compared(
            paper=VIDEOMAE,
            table="Multiply-adds of a view",
            name=f"videomae {size}",
            quantity="G multiply-adds",
            published=float(giga),
            ours=cost.macs(config).total / 1e9,
            reported={"top-1 K400": float(top1)},
        )
    for line in VIDEOPRISM_PUBLISHED.strip().splitlines():
        size, frames, millions = line.split()
        config = ModelConfig.of_size(
            size, attention="videoprism", frames=int(frames), height=288, width=288, patch=18
        )
        yield Compared(
            paper=VIDEOPRISM,
            table="Parameters of the video encoder",
            name=f"videoprism {size}",
            quantity="M parameters",
            published=float(millions),
            ours=cost.of_encoder(config)[1] / 1e6,
            reported={},
        )


def _vivit(quantity: str) -> Iterator[Compared]:
    for line in VIVIT_PUBLISHED.strip().splitlines():
        name, giga, millions, kinetics, epic = line.split()
        config = ModelConfig(attention=name, frames=32, classes=K400_CLASSES)
        published, ours = {
            "G multiply-adds": (giga, cost.macs(config).total / 1e9),
            "M parameters": (millions, cost.parameters(config) / 1e6),
        }[quantity]
        yield Compared(
            paper=VIVIT,
            table=f"Table 2: {quantity}",
            name=name,
            quantity=quantity,
            published=float(published),
            ours=ours,
            reported={"top-1 K400": float(kinetics), "top-1 Epic": float(epic)},
        )
