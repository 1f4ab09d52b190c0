"""What is known of a model before it runs."""

from dataclasses import dataclass
from typing import Any

from timesformer_cli.text_config import TextConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """One model. Each `_from` says where the facts beside it came from."""

    name: str  # as it was asked for
    here: bool  # whether it is on this machine; if not, the catalogue alone speaks
    scheme: str
    about_scheme: str
    width: int
    depth: int
    heads: int
    patch: tuple[int, int, int]  # frames, height and width
    parameters: int
    gmacs: float  # per clip
    architecture_from: str
    frames: int
    stride: int | None  # in frames at 30 fps; None spreads the frames over the video
    seconds: float | None  # that a clip spans; None is the whole video
    sampling_from: str
    preprocessing: dict[str, Any]
    preprocessing_from: dict[str, str]  # by the same names
    recognises: str | None  # as the catalogue says
    classes: int  # 0 for an encoder
    labels: tuple[str, ...]
    labels_from: str
    scores: str  # "softmax", or "sigmoid": each class by itself
    # What the head sees: the class token, what a pooler makes of all tokens, their mean, the first.
    readout: str
    text: TextConfig | None  # of a model whose classes are the words that the user gives
    dtype: str | None  # of an exported file
    input: str | None  # of an exported file
    files: tuple[str, ...]
    bytes: int  # of the file with the weights; where it is not here, of its tensors in float32
    revision: str | None  # the commit on the hub, or the SHA-256 of the file
    source: str | None
    licence: str
    top1: float | None
    top5: float | None
    reported: str | None
    notes: tuple[str, ...]
