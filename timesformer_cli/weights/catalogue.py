"""The published weights that `tsf` knows by name, one row per model; needs no network."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from timesformer_cli.config import ModelConfig
from timesformer_cli.sizes import SIZES
from timesformer_cli.text_config import TextConfig

ASSETS = Path(__file__).parents[1] / "assets"

DEFAULT = "base-k400"
BUNDLED = "camera-motion"

Channels = tuple[float, float, float]  # red, green, blue
HALF: Channels = (0.5, 0.5, 0.5)

NON_COMMERCIAL = "CC-BY-NC-4.0"
APACHE = "Apache-2.0"
MIT = "MIT"
UNKNOWN = "see its card"
ENCODER = "an encoder without a classifier; tsf train --init gives it one, and tsf embed takes it as it is"
AUTHORS = "README of the authors' code"
MMACTION2 = "model zoo of mmaction2"
VIDEOMAE_ZOO = "model zoo of VideoMAE's authors: 5 clips of Kinetics, 2 of Something-Something"
VJEPA2_README = "README of V-JEPA 2's authors: 2 clips of 3 crops"
VIDEOPRISM_README = "README of VideoPrism's authors: the names of Kinetics-400, zero-shot"
VIVIT_ZOO = "model zoo of ViViT's authors: 4 clips of 3 crops"


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """One row: where the weights are, how to take clips for them, and their published accuracy.

    Without `repo`, `url` and `bundled`, only a user who has the file can use them.
    """

    name: str
    about: str  # the data it was trained on
    frames: int
    stride: int | None  # in frames at 30 fps; None spreads the frames over the video
    size: int  # height and width of a crop, pixels
    classes: (
        int  # 0: an encoder, to which `tsf train` gives classes, or one whose classes are words
    )
    licence: str
    attention: str = "divided"
    shape: str = "base"  # a key of SIZES
    repo: str | None = None  # on the hub
    revision: str | None = None  # of `repo`; None means its main branch
    url: str | None = None  # of a plain file
    sha256: str | None = None  # of the weights file; the first digits are enough
    bundled: bool = False  # comes with the package
    labels: str | None = None  # a list in the package, for files without label names
    resize: int | tuple[int, int] | None = None  # as in Preprocessing, in pixels; None means `size`
    filter: Literal["bilinear", "bicubic"] = "bilinear"  # of the resizing
    patch: int = 16  # pixels along each side
    pooler_blocks: int = -1  # as in a configuration
    text: TextConfig | None = None  # of a model whose classes are words
    mean: Channels = (0.45, 0.45, 0.45)
    std: Channels = (0.225, 0.225, 0.225)
    top1: float | None = None  # per cent
    top5: float | None = None
    reported: str | None = None  # who published top-1 and top-5
    views: str | None = None  # clips x crops for which they hold; None where that is not known
    aliases: tuple[str, ...] = ()

    @property
    def config(self) -> ModelConfig:
        """The architecture: every published model is a ViT.

        An encoder's has one class, and reads the mean of its patches.
        """
        encoder = {"classes": 1, "pooler_blocks": 0}
        return ModelConfig.of_size(
            self.shape,
            attention=self.attention,
            frames=self.frames,
            height=self.size,
            width=self.size,
            patch=self.patch,
            text=self.text,
            **{"classes": self.classes, "pooler_blocks": self.pooler_blocks}
            | (encoder if self.encoder else {}),
        )

    @property
    def encoder(self) -> bool:
        """Whether it is an encoder, to which `tsf train` gives classes."""
        return not self.classes and self.text is None


# Per data set: its title, its classes, and its label list in the package, in the order of the
# checkpoints (their files name no labels).
_DATA = {
    "k400": ("Kinetics-400", 400, "kinetics400"),
    "k600": ("Kinetics-600", 600, "kinetics600"),
    "ssv2": ("Something-Something v2", 174, "something_something_v2"),
    "diving48": ("Diving48", 48, None),  # its files name their labels
    None: ("nothing yet: an encoder", 0, None),
    "words": ("the words that you give", 0, None),
}
# org/shape, data set, frames, stride, size, official name, top-1, top-5, pinned revision.
_HUB = (
    ("facebook/base", "k400", 8, 32, 224, "8x32_224_K400", 77.9, 93.2, "8aaf40ea7d3d282dcb0a5dea01a198320d15d6c0"),
    ("facebook/hr", "k400", 16, 16, 448, "16x16_448_K400", 79.6, 94.0, "188026c3022e39dac25da0111f9a015603915775"),
    ("fcakyon/large", "k400", 96, 4, 224, "96x4_224_K400", 80.6, 94.7, None),
    ("facebook/base", "k600", 8, 32, 224, "8x32_224_K600", 79.1, 94.4, None),
    ("facebook/hr", "k600", 16, 16, 448, "16x16_448_K600", 81.8, 95.8, None),
    ("fcakyon/large", "k600", 96, 4, 224, "96x4_224_K600", 82.2, 95.6, None),
    ("facebook/base", "ssv2", 8, None, 224, "8_224_SSv2", 59.1, 85.6, "3b045270472c79cf9c1b60189ba425e92ed7f004"),
    ("facebook/hr", "ssv2", 16, None, 448, "16_448_SSv2", 61.8, 86.9, None),
    ("fcakyon/large", "ssv2", 64, None, 224, "64_224_SSv2", 62.0, 87.5, None),
)  # fmt: skip
# name, scheme, middle of the file's name, first digits of its SHA-256 (as its name says them),
# top-1, top-5.
_MMACTION2 = (
    ("mmaction2-divided-k400", "divided", "divST", "a4d0d01f", 77.69, 93.45),
    ("mmaction2-joint-k400", "joint", "jointST", "8022d1c0", 76.95, 93.28),
    ("mmaction2-space-k400", "space", "spaceOnly", "78f05367", 76.93, 92.88),
)
# frames, top-1. The authors publish these only as files, on no server that tsf can ask.
_HOWTO100M = ((8, 56.8), (32, 61.2), (64, 62.2), (96, 62.6))
# shape, data set as its repository spells it, stride, top-1, top-5; all 16 frames at 224 px.
_VIDEOMAE = (
    ("small", "kinetics", 4, 79.0, 93.8),
    ("base", "kinetics", 4, 80.9, 94.7),
    ("large", "kinetics", 4, 84.7, 96.5),
    ("small", "ssv2", None, 66.8, 90.3),
    ("base", "ssv2", None, 70.6, 92.6),
)
# Name, shape, data set, repository, frames, stride, size, licence, top-1. The authors' clips of
# Something-Something (16 frames at a step of 4, or 64 at a step of 2, of 12 a second) are longer than
# most of its videos, so frames are spread over these. For Diving48 the authors read out four layers,
# and the weights on the hub one: the accuracy is that of another model.
_VJEPA2 = (
    ("large-ssv2", "large", "ssv2", "vitl-fpc16-256-ssv2", 16, None, 256, MIT, 73.7),
    ("giant-ssv2", "giant", "ssv2", "vitg-fpc64-384-ssv2", 64, None, 384, MIT, 77.3),
    ("large-diving48", "large", "diving48", "vitl-fpc32-256-diving48", 32, 2, 256, MIT, None),
    ("giant-diving48", "giant", "diving48", "vitg-fpc32-384-diving48", 32, 2, 384, MIT, None),
    ("large", "large", None, "vitl-fpc64-256", 64, None, 256, MIT, None),
    ("huge", "huge", None, "vith-fpc64-256", 64, None, 256, MIT, None),
    ("giant", "giant", None, "vitg-fpc64-256", 64, None, 256, APACHE, None),
    ("giant-384", "giant", None, "vitg-fpc64-384", 64, None, 384, APACHE, None),
)  # fmt: skip
# Name, shape, data, repository, frames, blocks of the pooler, top-1. Their pictures are squeezed to
# a square. No weights with a classifier are public.
_VIDEOPRISM = (
    ("base", "base", None, "base-f16r288", 16, 0, None),
    ("large", "large", None, "large-f8r288", 8, 0, None),
    ("lvt-base", "base", "words", "lvt-base-f16r288", 16, 3, 69.2),
    ("lvt-large", "large", "words", "lvt-large-f8r288", 8, 3, 72.4),
)


def _hub_rows() -> Iterator[Weights]:
    for place, data, frames, stride, size, official, top1, top5, revision in _HUB:
        org, shape = place.split("/")
        about, classes, labels = _DATA[data]
        yield Weights(
            name=f"{shape}-{data}",
            about=about,
            frames=frames,
            stride=stride,
            size=size,
            classes=classes,
            licence=NON_COMMERCIAL,
            repo=f"{org}/timesformer-{shape}-finetuned-{data}",
            revision=revision,
            labels=labels,
            top1=top1,
            top5=top5,
            reported=AUTHORS,
            views="1x3",
            aliases=(f"TimeSformer_divST_{official}",),
        )


def _mmaction2_rows() -> Iterator[Weights]:
    for name, attention, middle, digits, top1, top5 in _MMACTION2:
        stem = f"timesformer_{middle}_8xb8-8x32x1-15e_kinetics400-rgb"
        yield Weights(
            name=name,
            about="Kinetics-400",
            attention=attention,
            frames=8,
            stride=32,
            size=224,
            classes=400,
            licence=APACHE,
            url="https://download.openmmlab.com/mmaction/v1.0/recognition/timesformer/"
            f"{stem}/{stem}_20220815-{digits}.pth",
            sha256=digits,
            labels="kinetics400",
            mean=HALF,
            std=HALF,
            top1=top1,
            top5=top5,
            reported=MMACTION2,
            views="1x3",
        )


def _howto100m_rows() -> Iterator[Weights]:
    for frames, top1 in _HOWTO100M:
        yield Weights(
            name=f"howto100m-{frames}x32",
            about="HowTo100M tasks",
            frames=frames,
            stride=32,
            size=224,
            classes=1059,
            licence=NON_COMMERCIAL,
            top1=top1,
            reported=AUTHORS,
            aliases=(f"TimeSformer_divST_{frames}x32_224_HowTo100M",),
        )


def _videomae_rows() -> Iterator[Weights]:
    for shape, name, stride, top1, top5 in _VIDEOMAE:
        data = {"kinetics": "k400"}.get(name, name)
        about, classes, labels = _DATA[data]
        yield Weights(
            name=f"videomae-{shape}-{data}",
            about=about,
            attention="videomae",
            shape=shape,
            frames=16,
            stride=stride,
            size=224,
            classes=classes,
            licence=NON_COMMERCIAL,
            repo=f"MCG-NJU/videomae-{shape}-finetuned-{name}",
            labels=labels,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            top1=top1,
            top5=top5,
            reported=VIDEOMAE_ZOO,
            views={"k400": "5x3"}.get(data, "2x3"),
        )


def _vjepa2_rows() -> Iterator[Weights]:
    for name, shape, data, repo, frames, stride, size, licence, top1 in _VJEPA2:
        about, classes, labels = _DATA[data]
        yield Weights(
            name=f"vjepa2-{name}",
            about=about,
            attention="vjepa2",
            shape=shape,
            frames=frames,
            stride=stride,
            size=size,
            classes=classes,
            licence=licence,
            repo=f"facebook/vjepa2-{repo}",
            resize=size * 256 // 224,
            labels=labels,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            top1=top1,
            reported=VJEPA2_README if top1 else None,
            views="2x3" if top1 else None,
        )


def _videoprism_rows() -> Iterator[Weights]:
    for name, shape, data, repo, frames, blocks, top1 in _VIDEOPRISM:
        dim, _, heads, mlp_dim = SIZES[shape]
        text = TextConfig(
            dim=dim, depth=12, heads=heads, mlp_dim=mlp_dim, vocabulary=32000, length=64
        )
        yield Weights(
            name=f"videoprism-{name}",
            about=_DATA[data][0],
            attention="videoprism",
            shape=shape,
            frames=frames,
            stride=None,
            size=288,
            classes=0,
            licence=UNKNOWN,
            repo=f"google/videoprism-{repo}",
            resize=(288, 288),
            filter="bicubic",
            patch=18,
            pooler_blocks=blocks,
            text=text if data else None,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            top1=top1,
            reported=VIDEOPRISM_README if top1 else None,
        )


_ROWS = (
    Weights(
        name=BUNDLED,
        about="camera motion",
        frames=8,
        stride=8,
        size=96,
        classes=11,
        licence=APACHE,
        bundled=True,
        # Of its model.safetensors: another training makes another.
        sha256="91537bb5ffcde0f72ebf3d8ebcdbf2f76341749616d9217b0f276a068b8dea63",
    ),
    *_hub_rows(),
    *_mmaction2_rows(),
    *_howto100m_rows(),
    *_videomae_rows(),
    Weights(
        name="vivit-k400",
        about="Kinetics-400",
        attention="vivit-1",
        frames=32,
        stride=2,
        size=224,
        classes=400,
        licence=MIT,
        repo="google/vivit-b-16x2-kinetics400",
        labels="kinetics400",
        mean=HALF,
        std=HALF,
        top1=79.9,
        reported=VIVIT_ZOO,
        views="4x3",
    ),
    *_vjepa2_rows(),
    *_videoprism_rows(),
)
WEIGHTS = {row.name: row for row in _ROWS}


def find_weights(name: str) -> Weights | None:
    """Return the row of a name, an alias or a hub repository; None where there is none."""
    for row in WEIGHTS.values():
        if name in (row.name, row.repo) or name in row.aliases:
            return row
    return None


def models_with_words() -> tuple[str, ...]:
    """The names of models whose classes are words that a user gives."""
    return tuple(row.name for row in WEIGHTS.values() if row.text is not None)


def read_labels(name: str) -> tuple[str, ...]:
    """Read the class names of a data set from the package: kinetics400, kinetics600, ..."""
    return tuple((ASSETS / "labels" / f"{name}.txt").read_text(encoding="utf-8").splitlines())
