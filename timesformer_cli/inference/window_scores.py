"""Scores of windows that share frames: what one frame gives by itself is computed once.

A model is cut in two (`FastModel.per_frame` and `over_time`). The first part runs once on each frame,
or tubelet, and is kept as long as a later window may have the same one. The second part runs for
each window. Where patches of different frames never meet, the first part is nearly all of the
model. Exported models, models on several devices, models with a fast path and models whose stem is
a convolution over frames run on whole windows.
"""

import time
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import cast

import numpy as np
import torch
from torch import Tensor

from timesformer_cli.inference.batching import Scorer
from timesformer_cli.inference.device import memory_explained
from timesformer_cli.inference.fast.model import FastModel
from timesformer_cli.inference.outputs import ModelOutputs
from timesformer_cli.inference.predictor import Predictor
from timesformer_cli.inference.shared_scorer import SharedScorer
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.stream import StreamedWindow

Unit = tuple[int, ...]  # the numbers of a tubelet's frames
Parts = tuple[list[Tensor], list[Tensor]]  # scores and features, a batch after another


class WindowScorer:
    """Scores consecutive windows of one video; make a new one for the next video.

    `batch_size` is the number of windows, or of tubelets, in one run of the model.
    """

    def __init__(self, scorer: Scorer, batch_size: int, *, features: bool = False) -> None:
        self._shared_by = scorer if isinstance(scorer, SharedScorer) else None
        scorer = scorer.scorer if isinstance(scorer, SharedScorer) else scorer
        self.scorer, self.batch_size, self.features = scorer, batch_size, features
        self._pixels: dict[int, Pixels] = {}  # of frames that a later window may have
        self._units: dict[Unit, Tensor] = {}  # what they give by themselves
        model = scorer.model if isinstance(scorer, Predictor) else None
        shares = isinstance(model, FastModel) and model.frames_start_alone
        self._model = cast(FastModel, model) if shares else None

    def score(self, windows: Sequence[StreamedWindow]) -> ModelOutputs:
        """Scores, float32 `(windows classes)`, on the CPU, and features where they were asked for.

        Raises DeviceError and WeightsError, and UsageError for the features of an exported model.
        """
        began = time.perf_counter()
        clips = [window.window.frames for window in windows]
        for window in windows:
            self._pixels.update(window.fresh)
        work = partial(self._whole, clips)
        if self._model is not None:
            work = partial(self._per_frame, self._model, clips)
        given = work() if self._shared_by is None else self._shared_by.call(work)
        oldest = windows[-1].window.oldest
        self._pixels = {n: pixels for n, pixels in self._pixels.items() if n >= oldest}
        self._units = {unit: kept for unit, kept in self._units.items() if unit[0] >= oldest}
        scores, features = (torch.cat(parts) if parts else None for parts in given)
        assert scores is not None
        return ModelOutputs(scores, time.perf_counter() - began, features)

    def _whole(self, clips: Sequence[tuple[int, ...]]) -> Parts:
        frames = np.stack([np.stack([self._pixels[n] for n in clip]) for clip in clips])
        batches = (frames[i : i + self.batch_size] for i in range(0, len(frames), self.batch_size))
        pending = [self.scorer.start(batch, features=self.features) for batch in batches]
        outputs = [ask() for ask in pending]
        features = [each.features for each in outputs if each.features is not None]
        return [torch.as_tensor(each.scores) for each in outputs], features

    @torch.inference_mode()
    def _per_frame(self, model: FastModel, clips: Sequence[tuple[int, ...]]) -> Parts:
        predictor = self.scorer
        assert isinstance(predictor, Predictor)
        length = model.config.tubelet
        cut = [[clip[i : i + length] for i in range(0, len(clip), length)] for clip in clips]
        new = [unit for unit in dict.fromkeys(chain.from_iterable(cut)) if unit not in self._units]
        with memory_explained(model.device):
            # Frames that stand alone cost as many passes as the clips that they are cut from.
            most = self.batch_size * len(cut[0])
            for first in range(0, len(new), most):
                some = new[first : first + most]
                pixels = np.stack([np.stack([self._pixels[n] for n in unit]) for unit in some])
                given = model.per_frame(torch.from_numpy(pixels).to(model.device))
                self._units.update(zip(some, given.unbind(), strict=True))
            scores: list[Tensor] = []
            features: list[Tensor] = []
            for first in range(0, len(cut), self.batch_size):
                batch = cut[first : first + self.batch_size]
                units = torch.stack([torch.cat([self._units[u] for u in clip]) for clip in batch])
                head_input = model.over_time(units)
                logits = model.logits(head_input)
                scores.append(predictor.checked(predictor.scores(logits).cpu()))
                features += [head_input.float().cpu()] * self.features
        return scores, features
