"""A model at work: from uint8 frames to what it makes of them."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from timesformer_cli.errors import DeviceError, UsageError
from timesformer_cli.inference.device import memory_explained
from timesformer_cli.inference.fast.model import FastModel
from timesformer_cli.weights.description import Description

if TYPE_CHECKING:
    from timesformer_cli.inference.exported.model import ExportedModel


@dataclass(frozen=True, slots=True)
class ModelOutputs:
    """What a model's run gives, on the CPU, a row a clip; features only where they were asked for."""

    scores: Tensor  # softmax, float32 (b classes)
    seconds: float  # that the model took
    features: Tensor | None = None  # what the head sees, float32 (b d)


Pending = Callable[[], ModelOutputs]


class Predictor:
    """Runs a model that was opened: uint8 frames in, softmax scores out.

    On CUDA a batch is copied on a stream of its own while the one before is computed: ask for
    outputs when the next batch, of `ahead`, is on its way.
    """

    def __init__(self, model: "FastModel | ExportedModel") -> None:
        self.model = model
        self.description = Description.of(model)
        self.device = str(model.device)
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.ahead, self._copies = 0, None
        if model.device.type == "cuda":
            self.ahead, self._copies = 1, torch.cuda.Stream(model.device)  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def start(self, frames: npt.NDArray[np.uint8], *, features: bool = False) -> Pending:
        """The outputs for RGB frames `(b t h w c)`, when asked.

        Raises DeviceError when the device runs out of memory, or torch.compile fails on it, and
        UsageError for the features of an exported model.
        """
        with memory_explained(self.model.device), _compiler_explained():
            if self._copies is not None:
                return self._start_on(self._copies, frames, features)
            began = time.perf_counter()
            clip = torch.from_numpy(frames).to(self.model.device)
            scores, seen = self._run(clip, features)
            scores = scores.cpu()
        found = ModelOutputs(
            scores, time.perf_counter() - began, None if seen is None else seen.cpu()
        )
        return lambda: found

    def _run(self, clip: Tensor, features: bool) -> tuple[Tensor, Tensor | None]:
        """Scores, and the features that they follow from where they are asked for."""
        if not features:  # in one call, which may be compiled
            return self.model(clip).softmax(dim=-1), None
        if not isinstance(self.model, FastModel):
            raise UsageError("an exported model gives scores only; take the one it was made from")
        seen = self.model.features(clip)
        return self.model.logits(seen).softmax(dim=-1), seen.float()

    def _start_on(
        self, copies: "torch.cuda.Stream", frames: npt.NDArray[np.uint8], features: bool
    ) -> Pending:
        """Nothing here waits for the GPU; what is returned does."""
        with torch.cuda.device(self.model.device):
            computing = torch.cuda.current_stream()
            began = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            ended = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            pinned = torch.from_numpy(frames).pin_memory()
            with torch.cuda.stream(copies):
                clip = pinned.to(self.model.device, non_blocking=True)
            computing.wait_stream(copies)
            clip.record_stream(computing)  # its memory is not the next copy's before it is read
            began.record(computing)
            scores, seen = self._run(clip, features)
            scores = scores.to("cpu", non_blocking=True)
            seen = None if seen is None else seen.to("cpu", non_blocking=True)
            ended.record(computing)

        def wait() -> ModelOutputs:
            ended.synchronize()
            return ModelOutputs(scores, began.elapsed_time(ended) / 1000, seen)

        return wait


@contextmanager
def _compiler_explained() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise
        first = str(error).partition("\n")[0]
        raise DeviceError(f"torch.compile fails here; leave out --compile ({first})") from error
