"""The options of `tsf explain`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from timesformer_cli.dataset.own_labels import OwnLabel
from timesformer_cli.errors import UsageError
from timesformer_cli.grouping import Grid
from timesformer_cli.weights.catalogue import DEFAULT

if TYPE_CHECKING:
    from timesformer_cli.inference.scorer import AnyModel

Method = Literal["combined", "rollout", "gradient", "integrated", "attention", "occlusion"]
METHODS: tuple[Method, ...] = get_args(Method)
MODEL_FREE: Method = "occlusion"  # needs nothing of a model but its scores


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplainOptions:
    """The options of `tsf explain`; raises UsageError for those that do not go together."""

    model: "AnyModel" = DEFAULT
    # A scheme in place of the model's own, as a configuration holds it; None means its own.
    attention: str | None = None
    label: str | None = None  # whose score is explained; None means the best one's
    method: Method = "combined"
    layer: int | None = None  # of `attention`: a block's number, from 1; None means the last one
    head: int | None = None  # of `attention`, from 1; None means the mean of all
    query: Grid | None = None  # of `attention`: frame, row and column of a patch, from 1
    prove: bool = False  # whether the map is compared with chance
    frames: int | None = None  # frames per clip; None means as the model was trained
    stride: int | None = None  # in frames of a 30-fps video; None means as the model was trained
    device: str = "auto"
    batch_size: int = 8  # clips per run of the model
    timeout: float = 60.0  # seconds to decode one video
    decoder: str = "auto"
    debug: bool = False  # whether the messages of child processes reach stderr
    dtype: str = "float32"  # in which everything is computed
    compile: bool = False
    # What is explained is one of the model's own classes.
    labels: tuple[OwnLabel, ...] = ()
    templates: tuple[str, ...] = ()
    none_below: float | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"unknown method '{self.method}'; there are {', '.join(METHODS)}")
        for name in ("layer", "head", "query"):
            if getattr(self, name) is not None and self.method != "attention":
                raise UsageError(f"--{name} is for --method attention, not {self.method}")
