"""Running a model with torch: from uint8 frames to scores and features."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from timesformer_cli.errors import DeviceError
from timesformer_cli.inference.device import memory_explained
from timesformer_cli.inference.fast.model import FastModel
from timesformer_cli.inference.label_choice import LabelChoice
from timesformer_cli.inference.outputs import ModelOutputs, Pending, no_number
from timesformer_cli.inference.runnable import ModelScorer


class Predictor(ModelScorer):
    """Runs a model's fast form: uint8 frames in, scores out.

    Without a `choice`, the scores of a model that takes words are what it makes of a clip. On CUDA a
    batch is copied on its own stream while the batch before it is computed. To profit, start the next
    batch before you wait for this one; `ahead` says how many to start.
    """

    def __init__(
        self,
        model: FastModel,
        name: str = "the model",
        choice: LabelChoice | None = None,
        *,
        multi_label: bool = False,
    ) -> None:
        super().__init__(model, name, choice, multi_label=multi_label)
        self.model = model
        self.device = str(model.device)
        self.dtype = str(model.dtype).removeprefix("torch.")
        self._copies = None
        if model.device.type == "cuda":
            self.ahead, self._copies = 1, torch.cuda.Stream(model.device)  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def start(self, frames: npt.NDArray[np.uint8], *, features: bool = False) -> Pending:
        """Start on RGB frames, uint8 `(b t h w c)`; calling the answer waits for the outputs.

        Raises DeviceError when the device runs out of memory or torch.compile fails on it. This, or
        the wait, raises WeightsError where the model's answer is no number.
        """
        with memory_explained(self.model.device), _compiler_explained():
            if self._copies is not None:
                return self._start_on(self._copies, frames, features)
            began = time.perf_counter()
            clip = torch.from_numpy(frames).to(self.model.device)
            scores, head_input = self._run(clip, features)
            scores = self.checked(scores.cpu())
        outputs = ModelOutputs(
            scores, time.perf_counter() - began, None if head_input is None else head_input.cpu()
        )
        return lambda: outputs

    def _run(self, clip: Tensor, features: bool) -> tuple[Tensor, Tensor | None]:
        """Scores, and, with `features`, what the head makes them from."""
        # torch.compile compiles the call as a whole, not `features` and `logits` on their own.
        if not features:
            return self.scores(self.model(clip)), None
        head_input = self.model.features(clip)
        return self.scores(self.model.logits(head_input)), head_input.float()

    def scores(self, logits: Tensor) -> Tensor:
        """The scores; one whose logit is not finite is NaN, which is seen once it is on the CPU.

        To look at the logits here would wait for the GPU.
        """
        config = self.description.config
        if config.text is not None:  # NaN wherever what the model makes of a clip is not finite
            return logits if self.choice.vectors is None else self.choice.outputs(logits)
        scores = logits.sigmoid() if config.multi_label else logits.softmax(dim=-1)
        return scores.where(logits.isfinite(), torch.nan)

    def checked(self, scores: Tensor) -> Tensor:
        """The scores, on the CPU; raises WeightsError where one is no number."""
        if bool(scores.isfinite().all()):
            return scores
        raise no_number(self.name, self.dtype, "give --dtype float32")

    def _start_on(
        self, copies: "torch.cuda.Stream", frames: npt.NDArray[np.uint8], features: bool
    ) -> Pending:
        """Copy and compute without waiting for the GPU; only the returned function waits."""
        with torch.cuda.device(self.model.device):
            computing = torch.cuda.current_stream()
            began = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            ended = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            # From memory that is not pinned a copy cannot run beside the computation.
            pinned = torch.from_numpy(frames).pin_memory()
            with torch.cuda.stream(copies):
                clip = pinned.to(self.model.device, non_blocking=True)
            computing.wait_stream(copies)
            # Otherwise the next copy could get this clip's memory before the model has read it.
            clip.record_stream(computing)
            began.record(computing)
            scores, head_input = self._run(clip, features)
            scores = scores.to("cpu", non_blocking=True)
            if head_input is not None:
                head_input = head_input.to("cpu", non_blocking=True)
            ended.record(computing)

        def wait() -> ModelOutputs:
            ended.synchronize()
            return ModelOutputs(self.checked(scores), began.elapsed_time(ended) / 1000, head_input)

        return wait


@contextmanager
def _compiler_explained() -> Iterator[None]:
    """Inside the block, a failure of torch.compile becomes a DeviceError that says what to do."""
    try:
        yield
    except RuntimeError as error:
        # The compiler's errors have no public base class, so their modules tell them apart.
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        first = str(error).partition("\n")[0]
        raise DeviceError(f"torch.compile fails here; leave out --compile ({first})") from error
