"""From decoded videos to scores; views of different videos share a batch.

1. Collect consecutive videos until together they hold `batch_size` views or more: a group.
2. Join the views of the group, cut them into batches, and start every batch on the scorer without
   waiting for it.
3. Keep as many groups under way as the scorer works ahead. Then wait for the oldest one, give each
   video the outputs of its own views, and average them.

A group ends between two videos, so the views of one video never wait for another group. The price
is that the last batch of a group may be smaller than `batch_size`. A video that could not be read
has no views; it stays in its group, and so in its place. A `Pause` ends its group, and all that is
under way is waited for.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from timesformer_cli.errors import VideoError
from timesformer_cli.inference.label_choice import LabelChoice
from timesformer_cli.inference.outputs import ModelOutputs, Pending, as_floats
from timesformer_cli.video import Decoded
from timesformer_cli.video.find import Pause
from timesformer_cli.weights.description import Description


class ScoredVideo(NamedTuple):
    """A video that was read and scored."""

    decoded: Decoded
    outputs: ModelOutputs  # averaged over the video's views: scores `(classes)`, features `(d)`


Scored = ScoredVideo | VideoError
Group = list[Decoded | VideoError]


class Scorer(Protocol):
    """A model that is ready to run: a `Predictor`, an `ExportedScorer` or a `DevicePool`."""

    description: Description
    choice: LabelChoice
    device: str
    dtype: str
    ahead: int  # how many more batches are worth starting before waiting for the first one

    def start(self, frames: npt.NDArray[np.uint8], *, features: bool = False) -> Pending:
        """Start on RGB frames, uint8 `(b t h w c)`; calling the answer waits for the outputs."""
        ...


def score_videos(
    scorer: Scorer,
    decoded: Iterable[Decoded | VideoError],
    batch_size: int,
    *,
    features: bool = False,
) -> Iterator[Scored]:
    """Each video with its outputs, or its error, in input order.

    With `features` the outputs hold features too. A group holds at most `batch_size` views plus one
    video, and `scorer.ahead` more groups are held beside it.
    """
    under_way: deque[tuple[Group, list[Pending]]] = deque()
    for videos in _groups(decoded, batch_size):
        under_way.append((videos, _start(scorer, videos, batch_size, features)))
        paused = bool(videos) and isinstance(videos[-1], Pause)
        while under_way and (paused or len(under_way) > scorer.ahead):
            yield from _finish(*under_way.popleft())
    for videos, pending in under_way:
        yield from _finish(videos, pending)


def _groups(decoded: Iterable[Decoded | VideoError], batch_size: int) -> Iterator[Group]:
    """Consecutive videos that fill a batch together."""
    waiting: Group = []
    views = 0
    for video in decoded:
        waiting.append(video)
        views += len(video.frames) if isinstance(video, Decoded) else 0
        # A video that could not be read, with none before it, has nothing to wait for.
        if views >= batch_size or views == 0 or isinstance(video, Pause):
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
    """From outputs per batch to outputs per video; `counts` are the views of each video."""
    if not counts:
        return
    # A batch may hold several videos, so each video gets its share of the time by its views.
    seconds_per_view = sum(batch.seconds for batch in outputs) / sum(counts)
    ends = np.cumsum(counts)[:-1]
    scores = np.split(np.concatenate([as_floats(batch.scores) for batch in outputs]), ends)
    given = [as_floats(batch.features) for batch in outputs if batch.features is not None]
    features = np.split(np.concatenate(given), ends) if given else [None] * len(counts)
    for of_views, view_features, count in zip(scores, features, counts, strict=True):
        mean = None if view_features is None else view_features.mean(axis=0)
        yield ModelOutputs(of_views.mean(axis=0), seconds_per_view * count, mean, of_views)
