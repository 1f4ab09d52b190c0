"""A model on several devices, with one process for each; a batch goes to a device that is free.

Processes, not threads, because each has its own interpreter. One that runs out of memory or is
killed is named in the error and takes nothing else with it.
"""

import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from timesformer_cli.children import ChildEnded, ChildProcess, Message
from timesformer_cli.errors import DeviceError, from_name
from timesformer_cli.inference.label_choice import LabelChoice, choose_classes
from timesformer_cli.inference.open import describe_model
from timesformer_cli.inference.outputs import ModelOutputs, Pending
from timesformer_cli.weights.hub.locate import Located


class DevicePool:
    """Runs a model as `Predictor` does; `close` ends the processes."""

    def __init__(
        self,
        located: Located,
        devices: Sequence[str],
        dtype: str,
        choice: LabelChoice | None = None,
        *,
        compile: bool,
        multi_label: bool = False,
        debug: bool,
    ) -> None:
        """Start the processes and wait until all have loaded the model.

        Raises WeightsError, DeviceError, UsageError.
        """
        described = describe_model(located)
        self.description = described.of_several(located.name) if multi_label else described
        self.choice = choice or choose_classes(self.description, (), located.name)
        self.ahead = len(devices)
        self._lanes = []
        environment = _environment(devices)
        for device in devices:
            flags = ("compile" if compile else "", "multi-label" if multi_label else "")
            arguments = (located.to_text(), device, dtype, *flags)
            self._lanes.append(_Lane(device, arguments, environment, debug))
        self._free: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        self._pool = ThreadPoolExecutor(len(devices), "tsf-device")
        try:
            # All were started before the first is waited for, so they load side by side.
            greetings = [lane.greeting() for lane in self._lanes]
        except BaseException:
            self.close()
            raise
        for lane in self._lanes:
            self._free.put(lane)
        self.notes: tuple[str, ...] = tuple(greetings[0]["notes"])
        self.device = ",".join(greeting["device"] for greeting in greetings)
        self.dtype = ",".join(dict.fromkeys(greeting["dtype"] for greeting in greetings))

    def start(self, frames: npt.NDArray[np.uint8], *, features: bool = False) -> Pending:
        """Start on RGB frames, uint8 `(b t h w c)`; calling the answer waits for the outputs.

        The answer raises DeviceError, and UsageError for the features of an exported model.
        """
        return self._pool.submit(self._run, frames, features).result

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        # Killed first: a thread of the pool may wait for an answer, which the death cuts short.
        for lane in self._lanes:
            lane.child.kill()
        self._pool.shutdown(cancel_futures=True)
        for lane in self._lanes:
            lane.child.end()

    def _run(self, frames: npt.NDArray[np.uint8], features: bool) -> ModelOutputs:
        lane = self._free.get()
        try:
            outputs = lane.run(frames, features)
            if self.choice.vectors is None:
                return outputs
            # The processes know no words: what they give is what a clip is.
            return replace(outputs, scores=self.choice.outputs(outputs.scores))
        finally:
            self._free.put(lane)


class _Lane:
    """One process and its device."""

    def __init__(
        self, device: str, arguments: tuple[str, ...], environment: dict[str, str], debug: bool
    ) -> None:
        module = "timesformer_cli.inference.device_worker"
        self.device = device
        self.child = ChildProcess(module, *arguments, environment=environment, debug=debug)

    def run(self, frames: npt.NDArray[np.uint8], features: bool) -> ModelOutputs:
        request = {"shape": frames.shape, "features": features}
        header, payload = self._checked(lambda: self.child.ask(request, frames.tobytes()))
        rows = torch.frombuffer(payload, dtype=torch.float32).view(len(frames), -1)
        # Scores and features travel as one matrix, side by side.
        scores, head_input = rows[:, : header["classes"]], rows[:, header["classes"] :]
        return ModelOutputs(scores, header["seconds"], head_input if features else None)

    def greeting(self) -> dict[str, Any]:
        """What the process says of itself once it has loaded the model."""
        return self._checked(self.child.hear)[0]

    def _checked(self, answer: Callable[[], Message]) -> Message:
        """The process's answer.

        Raises the error that it reports instead of an answer, or DeviceError where it ended.
        """
        try:
            header, payload = answer()
        except ChildEnded as ended:
            raise DeviceError(
                f"the process on {self.device} ended ({ended}); --debug shows why"
            ) from None
        if "error" in header:
            raise from_name(header["error"], header["message"])
        return header, payload


def _environment(devices: Sequence[str]) -> dict[str, str]:
    """Variables that divide the processors among the processes that compute on the CPU."""
    on_cpu = sum(device == "cpu" for device in devices)
    if not on_cpu or "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // on_cpu))}
