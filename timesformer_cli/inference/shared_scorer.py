"""One model for several threads: what they ask for while it is busy becomes one batch.

A thread of its own runs the model. Torch keeps a team of threads, and memory, for each thread that
computes, so however many ask, one computes.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from threading import Condition, Thread
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from timesformer_cli.inference.batching import Scorer
from timesformer_cli.inference.outputs import ModelOutputs, Pending

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What one thread waits for: outputs for its frames, or the result of a call."""

    answer: Future[Any]
    frames: npt.NDArray[np.uint8] | None = None  # (b t h w c); None for a call
    features: bool = False
    call: Callable[[], Any] | None = None

    def joins(self, other: "_Asked") -> bool:
        """Whether both fit into one batch."""
        if self.frames is None or other.frames is None or self.features != other.features:
            return False
        return self.frames.shape[1:] == other.frames.shape[1:]


class SharedScorer:
    """A `batching.Scorer` that any thread may use; `most` views go into one run of the model."""

    def __init__(self, scorer: Scorer, most: int) -> None:
        self.scorer, self.most = scorer, most
        self.description, self.choice = scorer.description, scorer.choice
        self.device, self.dtype, self.ahead = scorer.device, scorer.dtype, scorer.ahead
        self._waiting: deque[_Asked] = deque()
        self._changed, self._closed = Condition(), False
        self._thread = Thread(target=self._serve, name="tsf-model", daemon=True)
        self._thread.start()

    def start(self, frames: npt.NDArray[np.uint8], *, features: bool = False) -> Pending:
        """Start on RGB frames, uint8 `(b t h w c)`; calling the answer waits for the outputs."""
        return self._ask(_Asked(Future(), frames, features)).result

    def call(self, work: Callable[[], Made]) -> Made:
        """The result of work that uses the model itself, done in its thread."""
        made: Made = self._ask(_Asked(Future(), call=work)).result()
        return made

    def close(self) -> None:
        """End the thread; whoever still waits gets a RuntimeError."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        for asked in self._waiting:
            asked.answer.set_exception(RuntimeError("the model is closed"))

    def _ask(self, asked: _Asked) -> "Future[Any]":
        with self._changed:
            if self._closed:
                raise RuntimeError("the model is closed")
            self._waiting.append(asked)
            self._changed.notify()
        return asked.answer

    def _serve(self) -> None:
        """Run in the model's thread: start a batch, then wait for the oldest that is under way."""
        under_way: deque[tuple[list[_Asked], Pending]] = deque()
        while (batch := self._next(wait=not under_way)) is not None:
            if batch and batch[0].call is not None:
                _answer(batch, batch[0].call, lambda made: [made])
            elif batch:
                views = np.concatenate(
                    [asked.frames for asked in batch if asked.frames is not None]
                )
                try:
                    under_way.append((batch, self.scorer.start(views, features=batch[0].features)))
                except BaseException as error:  # or whoever asked would wait for ever
                    _fail(batch, error)
            if under_way and (len(under_way) > self.ahead or not batch):
                batch, pending = under_way.popleft()
                counts = [len(asked.frames) for asked in batch if asked.frames is not None]
                _answer(batch, pending, partial(_parts, counts=counts))

    def _next(self, *, wait: bool) -> list[_Asked] | None:
        """The oldest that waits, and with it what fits into the same batch; None is the end."""
        with self._changed:
            while wait and not self._waiting and not self._closed:
                self._changed.wait()
            if self._closed and wait:
                return None
            if not self._waiting or self._closed:
                return []
            first = self._waiting.popleft()
            batch, views = [first], 0 if first.frames is None else len(first.frames)
            for asked in [other for other in self._waiting if first.joins(other)]:
                assert asked.frames is not None
                if views + len(asked.frames) > self.most:
                    break
                views += len(asked.frames)
                batch.append(asked)
                self._waiting.remove(asked)
            return batch


def _answer(
    batch: list[_Asked], work: Callable[[], Any], parts: Callable[[Any], list[Any]]
) -> None:
    try:
        made = parts(work())
    except BaseException as error:
        _fail(batch, error)
        return
    for asked, part in zip(batch, made, strict=True):
        asked.answer.set_result(part)


def _fail(batch: list[_Asked], error: BaseException) -> None:
    for asked in batch:
        asked.answer.set_exception(error)


def _parts(outputs: ModelOutputs, counts: list[int]) -> list[ModelOutputs]:
    """The outputs of each part of a batch, with its share of the time."""
    each = outputs.seconds / sum(counts)
    ends = accumulate(counts)
    rows = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
    given = outputs.features
    return [
        ModelOutputs(outputs.scores[some], each * count, None if given is None else given[some])
        for some, count in zip(rows, counts, strict=True)
    ]
