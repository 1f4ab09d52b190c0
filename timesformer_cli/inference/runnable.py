"""A model that is ready to run, whichever engine runs it, and what every scorer has of one.

There are two engines: torch runs a model's fast form (`fast`), and an exported file runs in its own
runtime (`exported`). This file imports neither.
"""

from typing import TYPE_CHECKING, Any, Protocol

from timesformer_cli.inference.label_choice import LabelChoice, choose_classes
from timesformer_cli.weights.description import Described, Description

if TYPE_CHECKING:
    import torch


class RunnableModel(Described, Protocol):
    """Maps pixels, uint8 RGB `(b t h w c)`, to logits, float32 `(b classes)`."""

    @property
    def device(self) -> "torch.device":
        """Where it runs."""
        ...

    @property
    def dtype(self) -> "torch.dtype":
        """In which it computes."""
        ...

    def __call__(self, clip: Any, /) -> Any:
        """Logits of clips, as a tensor of tensors; an engine may also take arrays."""
        ...


class ModelScorer:
    """What the scorers of one model have in common; each has a `start` of its own, as `Scorer` says.

    `name` is what errors call the model; `choice` has the words of a model that takes some. With
    `multi_label` each class is scored by itself, whatever the model says.
    """

    device: str
    dtype: str
    ahead: int = 0

    def __init__(
        self,
        model: Described,
        name: str = "the model",
        choice: LabelChoice | None = None,
        *,
        multi_label: bool = False,
    ) -> None:
        described = Description.of(model)
        self.name = name
        self.description = described.of_several(name) if multi_label else described
        self.choice = choice or choose_classes(self.description, (), name)
