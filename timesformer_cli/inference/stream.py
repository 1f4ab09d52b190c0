"""From decoded videos to scores, clips of different videos sharing a batch."""

import time
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from timesformer_cli.errors import VideoError
from timesformer_cli.inference.predictor import Predictor
from timesformer_cli.video import Decoded

Scored = tuple[Decoded, Tensor, float] | VideoError


def score_videos(
    predictor: Predictor, decoded: Iterable[Decoded | VideoError], batch_size: int
) -> Iterator[Scored]:
    """Each video with its scores `(classes)`, averaged over its views, and its model seconds.

    In input order; at most `batch_size` views and one video more are held at a time.
    """
    waiting: list[Decoded | VideoError] = []
    views = 0
    for video in decoded:
        waiting.append(video)
        views += len(video.frames) if isinstance(video, Decoded) else 0
        if views >= batch_size or views == 0:
            yield from _score(predictor, waiting, batch_size)
            waiting, views = [], 0
    yield from _score(predictor, waiting, batch_size)


def _score(
    predictor: Predictor, videos: list[Decoded | VideoError], batch_size: int
) -> Iterator[Scored]:
    readable = [video for video in videos if isinstance(video, Decoded)]
    if readable:
        started = time.perf_counter()
        views = np.concatenate([video.frames for video in readable])
        batches = range(0, len(views), batch_size)
        scores = torch.cat([predictor.scores(views[i : i + batch_size]) for i in batches])
        each = (time.perf_counter() - started) / len(views)
        per_video = iter(torch.split(scores, [len(video.frames) for video in readable]))
    for video in videos:
        if isinstance(video, VideoError):
            yield video
        else:
            yield video, next(per_video).mean(dim=0), each * len(video.frames)
