"""From decoded videos to scores, clips of different videos sharing a batch."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from timesformer_cli.errors import VideoError
from timesformer_cli.inference.predictor import Pending
from timesformer_cli.video import Decoded
from timesformer_cli.weights.description import Description

Scored = tuple[Decoded, Tensor, float] | VideoError
Group = list[Decoded | VideoError]


class Scorer(Protocol):
    """A model that is ready, wherever it runs: `predictor.Predictor`, `devices.Devices`."""

    description: Description
    device: str
    dtype: str
    ahead: int  # batches that are worth starting before the scores of the first are asked for

    def start(self, frames: npt.NDArray[np.uint8]) -> Pending:
        """Scores `(b classes)` of RGB frames `(b t h w c)`, when asked."""
        ...


def score_videos(
    scorer: Scorer, decoded: Iterable[Decoded | VideoError], batch_size: int
) -> Iterator[Scored]:
    """Each video with its scores `(classes)`, averaged over its views, and its model seconds.

    In input order; at most `batch_size` views and one video more are held at a time, and as much
    again for each batch ahead.
    """
    under_way: deque[tuple[Group, list[Pending]]] = deque()
    for videos in _groups(decoded, batch_size):
        under_way.append((videos, _start(scorer, videos, batch_size)))
        if len(under_way) > scorer.ahead:
            yield from _finish(*under_way.popleft())
    for videos, pending in under_way:
        yield from _finish(videos, pending)


def _groups(decoded: Iterable[Decoded | VideoError], batch_size: int) -> Iterator[Group]:
    """Videos that fill a batch together; one that could not be read is not kept waiting."""
    waiting: Group = []
    views = 0
    for video in decoded:
        waiting.append(video)
        views += len(video.frames) if isinstance(video, Decoded) else 0
        if views >= batch_size or views == 0:
            yield waiting
            waiting, views = [], 0
    yield waiting


def _start(scorer: Scorer, videos: Group, batch_size: int) -> list[Pending]:
    readable = [video.frames for video in videos if isinstance(video, Decoded)]
    if not readable:
        return []
    views = np.concatenate(readable)
    return [scorer.start(views[i : i + batch_size]) for i in range(0, len(views), batch_size)]


def _finish(videos: Group, pending: list[Pending]) -> Iterator[Scored]:
    counts = [len(video.frames) for video in videos if isinstance(video, Decoded)]
    if counts:
        scores, seconds = zip(*(ask() for ask in pending), strict=True)
        each = sum(seconds) / sum(counts)
        per_video = iter(torch.split(torch.cat(scores), counts))
    for video in videos:
        if isinstance(video, VideoError):
            yield video
        else:
            yield video, next(per_video).mean(dim=0), each * len(video.frames)
