"""An exported file as a scorer: frames in, scores out, by NumPy alone around its runtime."""

import time
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from timesformer_cli.errors import UsageError
from timesformer_cli.inference.exported.model import ExportedModel
from timesformer_cli.inference.label_choice import LabelChoice
from timesformer_cli.inference.outputs import ModelOutputs, no_number, softmax
from timesformer_cli.inference.runnable import ModelScorer

if TYPE_CHECKING:
    from timesformer_cli.inference.outputs import Pending


class ExportedScorer(ModelScorer):
    """Runs an exported model: uint8 frames in, scores out."""

    def __init__(
        self,
        model: ExportedModel,
        name: str = "the model",
        choice: LabelChoice | None = None,
        *,
        multi_label: bool = False,
    ) -> None:
        super().__init__(model, name, choice, multi_label=multi_label)
        self.model = model
        self.device, self.dtype = "cpu", model.manifest.dtype

    def start(self, frames: npt.NDArray[np.uint8], *, features: bool = False) -> "Pending":
        """Run on RGB frames, uint8 `(b t h w c)`; calling the answer gives the outputs.

        Raises UsageError for features, and WeightsError where the model's answer is no number.
        """
        if features:
            raise UsageError("an exported model gives scores only; take the one it was made from")
        began = time.perf_counter()
        logits = self.model(frames)
        if not np.isfinite(logits).all():
            raise no_number(self.name, self.dtype, "export it again with --dtype float32")
        several = self.description.config.multi_label
        # By the tangent, which is finite where the power of a large logit is not.
        scores = (np.tanh(logits / 2) + 1) / 2 if several else softmax(logits)
        outputs = ModelOutputs(scores, time.perf_counter() - began)
        return lambda: outputs
