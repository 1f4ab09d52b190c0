"""The published weights `tsf` knows by name; one row each, no network needed to read them."""

from dataclasses import dataclass

DEFAULT = "base-k400"
BUNDLED = "camera-motion"

NON_COMMERCIAL = "CC-BY-NC-4.0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """Where weights lie, how their clips are taken (stride in 30-fps frames, None: uniform over
    the video) and what their authors report: top-1 and top-5 in per cent, one clip, three crops.
    """

    repo: str | None
    about: str
    frames: int
    stride: int | None
    size: int
    classes: int
    licence: str
    top1: float | None = None
    top5: float | None = None


def _published(
    repo: str, about: str, shape: tuple[int, int | None, int], *reported: float
) -> Weights:
    frames, stride, size = shape
    classes = {"Kinetics-400": 400, "Kinetics-600": 600, "Something-Something v2": 174}[about]
    top1, top5 = reported
    return Weights(
        repo=repo,
        about=about,
        frames=frames,
        stride=stride,
        size=size,
        classes=classes,
        licence=NON_COMMERCIAL,
        top1=top1,
        top5=top5,
    )


# Source of the figures: the table in the README of the authors' code.
_K400, _K600, _SSV2 = "Kinetics-400", "Kinetics-600", "Something-Something v2"
_FACEBOOK, _FCAKYON = "facebook/timesformer-", "fcakyon/timesformer-"
WEIGHTS: dict[str, Weights] = {
    BUNDLED: Weights(
        repo=None,
        about="what the camera does",
        frames=8,
        stride=8,
        size=96,
        classes=10,
        licence="Apache-2.0",
    ),
    "base-k400": _published(_FACEBOOK + "base-finetuned-k400", _K400, (8, 32, 224), 77.9, 93.2),
    "hr-k400": _published(_FACEBOOK + "hr-finetuned-k400", _K400, (16, 16, 448), 79.6, 94.0),
    "large-k400": _published(_FCAKYON + "large-finetuned-k400", _K400, (96, 4, 224), 80.6, 94.7),
    "base-k600": _published(_FACEBOOK + "base-finetuned-k600", _K600, (8, 32, 224), 79.1, 94.4),
    "hr-k600": _published(_FACEBOOK + "hr-finetuned-k600", _K600, (16, 16, 448), 81.8, 95.8),
    "large-k600": _published(_FCAKYON + "large-finetuned-k600", _K600, (96, 4, 224), 82.2, 95.6),
    "base-ssv2": _published(_FACEBOOK + "base-finetuned-ssv2", _SSV2, (8, None, 224), 59.1, 85.6),
    "hr-ssv2": _published(_FACEBOOK + "hr-finetuned-ssv2", _SSV2, (16, None, 448), 61.8, 86.9),
    "large-ssv2": _published(_FCAKYON + "large-finetuned-ssv2", _SSV2, (64, None, 224), 62.0, 87.5),
}


def of_repo(repo: str) -> Weights | None:
    """The row of a hub repository, where there is one."""
    return next((row for row in WEIGHTS.values() if row.repo == repo), None)
