"""A warm model, its decoders, and the threads that wait for both."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from timesformer_cli.callbacks import NoteCallback
from timesformer_cli.inference.classify import ClassifyOptions, WarmModel
from timesformer_cli.inference.scorer import model_revision
from timesformer_cli.video.stream import VideoFollower


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedModel:
    """What a server's model is, and how it takes a clip where a request says nothing else."""

    name: str
    revision: str  # a commit of the hub, or the SHA-256 of the weights
    device: str
    dtype: str
    frames: int
    stride: int | None  # in frames of a 30-fps video; None spreads the frames over the video
    crop: tuple[int, int]  # height and width of what the model sees
    multi_label: bool  # whether a video may have several labels
    labels: tuple[str, ...]  # what an answer may be


class Engine:
    """A model that many requests share; leaving its context ends its processes and threads."""

    def __init__(self, options: ClassifyOptions, queue: int, note: NoteCallback) -> None:
        """Open the model for so many requests at a time; raises UsageError, WeightsError, DeviceError."""
        self.options = options
        self.workers = self.options.workers or os.cpu_count() or 1
        with ExitStack() as stack:
            self.warm = stack.enter_context(
                WarmModel(self.options, note, decoders=self.workers, shared=True)
            )
            self.revision = model_revision(self.options.model)
            # The first run loads and lays out what all others use: no request should wait for that.
            clip = np.zeros((1, self.model.frames, *self.model.crop, 3), np.uint8)
            self.warm.scorer.start(clip)()
            # A decoder of Linux ends with the thread that started it: so these threads stay.
            self.threads = ThreadPoolExecutor(queue, "tsf-request")
            self.long_threads = ThreadPoolExecutor(self.workers, "tsf-windows")
            for threads in (self.threads, self.long_threads):
                stack.callback(threads.shutdown, wait=False, cancel_futures=True)
            self._idle: list[VideoFollower] = []
            stack.callback(self._end_followers)
            self._stack = stack.pop_all()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def model(self) -> ServedModel:
        """What the model is."""
        scorer = self.warm.scorer
        described = scorer.description
        return ServedModel(
            name=self.options.name,
            revision=self.revision,
            device=scorer.device,
            dtype=scorer.dtype,
            frames=self.options.frames or described.sampling.frames,
            stride=self.options.stride or described.sampling.stride,
            crop=described.preprocessing.crop,
            multi_label=described.config.multi_label,
            labels=scorer.choice.labels,
        )

    @contextmanager
    def follower(self) -> Iterator[VideoFollower]:
        """A decode process for windows, warm where one is idle; the caller sees to their number."""
        try:
            follower = self._idle.pop()
        except IndexError:
            follower = VideoFollower(self.options.timeout, debug=self.options.debug)
        try:
            yield follower
        finally:
            if len(self._idle) < self.workers:
                self._idle.append(follower)
            else:
                follower.close()

    def _end_followers(self) -> None:
        for follower in self._idle:
            follower.close()
