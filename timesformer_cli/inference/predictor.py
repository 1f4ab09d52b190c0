"""A model made ready: on its device, in its dtype, from uint8 frames to scores."""

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from timesformer_cli.errors import DeviceError, UsageError
from timesformer_cli.inference.device import find_dtype, memory_explained
from timesformer_cli.inference.fast.kernels import find_mix, in_dtype
from timesformer_cli.inference.fast.linear import PlainLinear, find_linear
from timesformer_cli.inference.fast.model import InferenceForm, Make
from timesformer_cli.inference.process_tuning import keep_freed_memory
from timesformer_cli.model import TimeSformer
from timesformer_cli.weights.description import Description

if TYPE_CHECKING:
    from timesformer_cli.inference.exported.model import Artefact


Scores = tuple[Tensor, float]  # of a batch, and the seconds that the model took
Pending = Callable[[], Scores]


def make_ready(
    model: TimeSformer,
    device: torch.device,
    dtype: torch.dtype,
    *,
    consume: bool = False,
    compile: bool = False,
) -> InferenceForm:
    """The model's inference form, on its device, as fast as is known there.

    `dtype` int8 rounds the blocks' linear maps; the rest is then float32, on the CPU the attention
    bfloat16 where it computes in it. With `compile` torch.compile takes it over when it first runs,
    on CUDA with graphs. Raises DeviceError where that cannot be, or memory is short.
    """
    if compile and dtype == torch.int8:
        raise UsageError("--compile and --dtype int8 exclude each other")
    with memory_explained(device):
        if dtype != torch.int8:
            linear = PlainLinear if compile else find_linear(device, dtype)
            make = Make(dtype, linear, find_mix(device, dtype))
        else:
            inner = find_dtype("auto", device)
            mix = in_dtype(inner, find_mix(device, inner))
            make = Make(linear=find_linear(device, dtype), mix=mix, precision=dtype)
        if device.type == "cpu":
            keep_freed_memory()
        form = InferenceForm(model, make, consume=consume).to(device)
    if compile:
        # Of a cached function without side effects, of which grouping.py has one.
        warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")
        form.compile(mode="reduce-overhead" if device.type == "cuda" else None)
    return form


class Predictor:
    """Scores clips: uint8 frames in, softmax scores out.

    On CUDA a batch is copied on a stream of its own while the one before is computed: ask for
    scores when the next batch, of `ahead`, is on its way.
    """

    def __init__(self, form: "InferenceForm | Artefact") -> None:
        self.form = form
        self.description = Description(
            config=form.config,
            labels=form.labels,
            sampling=form.sampling,
            preprocessing=form.preprocessing,
        )
        self.device = str(form.device)
        self.dtype = str(form.dtype).removeprefix("torch.")
        self.ahead, self._copies = 0, None
        if form.device.type == "cuda":
            self.ahead, self._copies = 1, torch.cuda.Stream(form.device)  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def start(self, frames: npt.NDArray[np.uint8]) -> Pending:
        """Scores `(b classes)`, float32 on the CPU, of RGB frames `(b t h w c)`, and the seconds
        that they took, when asked.

        Raises DeviceError when the device runs out of memory, or torch.compile fails on it.
        """
        with memory_explained(self.form.device), _compiler_explained():
            if self._copies is not None:
                return self._start_on(self._copies, frames)
            began = time.perf_counter()
            clip = torch.from_numpy(frames).to(self.form.device)
            scores = self.form(clip).softmax(dim=-1).cpu()
        found = scores, time.perf_counter() - began
        return lambda: found

    def _start_on(self, copies: "torch.cuda.Stream", frames: npt.NDArray[np.uint8]) -> Pending:
        """Nothing here waits for the GPU; what is returned does."""
        with torch.cuda.device(self.form.device):
            computing = torch.cuda.current_stream()
            began = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            ended = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            pinned = torch.from_numpy(frames).pin_memory()
            with torch.cuda.stream(copies):
                clip = pinned.to(self.form.device, non_blocking=True)
            computing.wait_stream(copies)
            clip.record_stream(computing)  # its memory is not the next copy's before it is read
            began.record(computing)
            scores = self.form(clip).softmax(dim=-1).to("cpu", non_blocking=True)
            ended.record(computing)

        def wait() -> Scores:
            ended.synchronize()
            return scores, began.elapsed_time(ended) / 1000

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
