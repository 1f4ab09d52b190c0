"""The options of `tsf timeline`."""

from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from timesformer_cli.dataset.own_labels import OwnLabel
from timesformer_cli.inference.scorer import model_name
from timesformer_cli.weights.catalogue import DEFAULT

if TYPE_CHECKING:
    from timesformer_cli.inference.scorer import AnyModel

AUTO_PRICE = -1.0  # of a change of label: as the windows overlap


@dataclass(frozen=True, kw_only=True, slots=True)
class TimelineOptions:
    """How windows are taken from a video, and how their scores become segments."""

    model: "AnyModel" = DEFAULT
    every: float | None = None  # seconds between two windows; None means half of a window's span
    start: float = 0.0  # seconds; nothing before this is looked at
    end: float = inf
    cuts: bool = True  # whether shots are told apart
    smooth: float = AUTO_PRICE  # nats that a change of label costs; 0 turns smoothing off
    threshold: float = 0.0  # a label whose score is below this is none
    labels: tuple[OwnLabel, ...] = ()  # what the answer may be; empty means all classes
    templates: tuple[str, ...] = ()  # that say a label of one's own words; empty means the model's
    none_below: float | None = None  # a label that is less similar is none
    refine: bool = False  # whether changes are found to a quarter of `every`
    windows: bool = False  # whether results carry the windows
    top_k: int = 5  # labels per window
    features: bool = False  # whether steps carry what the model's head sees of each window
    frames: int | None = None  # frames per window; None means as the model was trained
    stride: int | None = None  # in frames of a 30-fps video; None means as the model was trained
    device: str = "auto"
    dtype: str = "auto"
    compile: bool = False
    batch_size: int = 8  # windows per run of the model
    timeout: float = 60.0  # seconds without progress on a video
    decoder: str = "auto"
    debug: bool = False

    @property
    def name(self) -> str:
        """What the model is called in results."""
        return model_name(self.model)
