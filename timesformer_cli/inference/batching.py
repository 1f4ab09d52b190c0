"""From decoded videos to scores, clips of different videos sharing a batch."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from timesformer_cli.errors import VideoError
from timesformer_cli.inference.predictor import ModelOutputs, Pending
from timesformer_cli.video import Decoded
from timesformer_cli.weights.description import Description


class ScoredVideo(NamedTuple):
    """A video that was read, and the model's outputs averaged over its views, `(classes)`."""

    decoded: Decoded
    outputs: ModelOutputs


Scored = ScoredVideo | VideoError
Group = list[Decoded | VideoError]


class Scorer(Protocol):
    """A model that is ready, wherever it runs: `predictor.Predictor`, `device_pool.DevicePool`."""

    description: Description
    device: str
    dtype: str
    ahead: int  # batches that are worth starting before the scores of the first are asked for

    def start(self, frames: npt.NDArray[np.uint8], *, features: bool = False) -> Pending:
        """The outputs for RGB frames `(b t h w c)`, when asked."""
        ...


def score_videos(
    scorer: Scorer,
    decoded: Iterable[Decoded | VideoError],
    batch_size: int,
    *,
    features: bool = False,
) -> Iterator[Scored]:
    """Each video with its scores, and `features` where they are asked for, or its error.

    In input order; at most `batch_size` views and one video more are held at a time, and as much
    again for each batch ahead.
    """
    under_way: deque[tuple[Group, list[Pending]]] = deque()
    for videos in _groups(decoded, batch_size):
        under_way.append((videos, _start(scorer, videos, batch_size, features)))
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


def _start(scorer: Scorer, videos: Group, batch_size: int, features: bool) -> list[Pending]:
    readable = [video.frames for video in videos if isinstance(video, Decoded)]
    if not readable:
        return []
    views = np.concatenate(readable)
    batches = (views[i : i + batch_size] for i in range(0, len(views), batch_size))
    return [scorer.start(batch, features=features) for batch in batches]


def _finish(videos: Group, pending: list[Pending]) -> Iterator[Scored]:
    counts = [len(video.frames) for video in videos if isinstance(video, Decoded)]
    outputs = [ask() for ask in pending]
    per_video = iter(_averaged(outputs, counts))
    for video in videos:
        yield video if isinstance(video, VideoError) else ScoredVideo(video, next(per_video))


def _averaged(outputs: list[ModelOutputs], counts: list[int]) -> Iterator[ModelOutputs]:
    """The outputs of batches as those of videos that have so many views each."""
    if not counts:
        return
    each = sum(one.seconds for one in outputs) / sum(counts)
    scores = torch.split(torch.cat([one.scores for one in outputs]), counts)
    seen = [one.features for one in outputs if one.features is not None]
    features = torch.split(torch.cat(seen), counts) if seen else [None] * len(counts)
    for views, own, count in zip(scores, features, counts, strict=True):
        mean = None if own is None else own.mean(dim=0)
        yield ModelOutputs(views.mean(dim=0), each * count, mean)
