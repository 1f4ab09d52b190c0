"""Scores of windows that share frames: what one frame gives by itself is computed once.

Where a model can be cut in two, its first part runs once on each frame, or tubelet (`frame_scores`).
Exported models, models on several devices, models with a fast path and models whose stem is a
convolution over frames run on whole windows.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from timesformer_cli.inference.batching import Scorer
from timesformer_cli.inference.exported.scorer import ExportedScorer
from timesformer_cli.inference.outputs import Floats, ModelOutputs, as_floats
from timesformer_cli.inference.shared_scorer import SharedScorer
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.stream import StreamedWindow

if TYPE_CHECKING:
    from timesformer_cli.inference.frame_scores import FrameScorer

Parts = tuple[list[Floats], list[Floats]]  # scores and features, a batch after another


class WindowScorer:
    """Scores consecutive windows of one video; make a new one for the next video.

    `batch_size` is the number of windows, or of tubelets, in one run of the model.
    """

    def __init__(self, scorer: Scorer, batch_size: int, *, features: bool = False) -> None:
        self._shared_by = scorer if isinstance(scorer, SharedScorer) else None
        scorer = scorer.scorer if isinstance(scorer, SharedScorer) else scorer
        self.scorer, self.batch_size, self.features = scorer, batch_size, features
        self._pixels: dict[int, Pixels] = {}  # of frames that a later window may have
        self._frames = _frame_scorer(scorer, batch_size, features=features)

    def score(self, windows: Sequence[StreamedWindow]) -> ModelOutputs:
        """Scores, an array `(windows classes)`, and features where they were asked for.

        Raises DeviceError and WeightsError, and UsageError for the features of an exported model.
        """
        began = time.perf_counter()
        clips = [window.window.frames for window in windows]
        for window in windows:
            self._pixels.update(window.fresh)
        work = partial(self._whole, clips)
        if self._frames is not None:
            work = partial(self._frames.score, clips, self._pixels)
        given = work() if self._shared_by is None else self._shared_by.call(work)
        oldest = windows[-1].window.oldest
        self._pixels = {n: pixels for n, pixels in self._pixels.items() if n >= oldest}
        if self._frames is not None:
            self._frames.forget_before(oldest)
        scores, features = (np.concatenate(parts) if parts else None for parts in given)
        return ModelOutputs(scores, time.perf_counter() - began, features)

    def _whole(self, clips: Sequence[tuple[int, ...]]) -> Parts:
        frames = np.stack([np.stack([self._pixels[n] for n in clip]) for clip in clips])
        batches = (frames[i : i + self.batch_size] for i in range(0, len(frames), self.batch_size))
        pending = [self.scorer.start(batch, features=self.features) for batch in batches]
        outputs = [ask() for ask in pending]
        features = [as_floats(each.features) for each in outputs if each.features is not None]
        return [as_floats(each.scores) for each in outputs], features


def _frame_scorer(scorer: Scorer, batch_size: int, *, features: bool) -> "FrameScorer | None":
    """What scores windows by their frames, where the model can be cut in two."""
    if isinstance(scorer, ExportedScorer):  # asked first, since the rest needs torch
        return None
    from timesformer_cli.inference.frame_scores import FrameScorer
    from timesformer_cli.inference.predictor import Predictor

    if not isinstance(scorer, Predictor) or not scorer.model.frames_start_alone:
        return None
    return FrameScorer(scorer, batch_size, features=features)
