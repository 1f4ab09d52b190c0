"""Scores of windows by their frames: a model is cut in two, and the first part runs once a frame.

The first part (`FastModel.per_frame`) gives what one frame, or tubelet, gives by itself. It is kept as
long as a later window may have the same one. The second part (`over_time`) runs for each window.
Where patches of different frames never meet, the first part is nearly all of the model.
"""

from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from timesformer_cli.inference.device import memory_explained
from timesformer_cli.inference.outputs import Floats, as_floats
from timesformer_cli.inference.predictor import Predictor
from timesformer_cli.video.facts import Pixels

Unit = tuple[int, ...]  # the numbers of a tubelet's frames


class FrameScorer:
    """Scores windows of one video, given as the numbers of their frames."""

    def __init__(self, predictor: Predictor, batch_size: int, *, features: bool) -> None:
        self.predictor, self.batch_size, self.features = predictor, batch_size, features
        self._units: dict[Unit, Tensor] = {}  # what they give by themselves

    @torch.inference_mode()
    def score(
        self, clips: Sequence[tuple[int, ...]], pictures: Mapping[int, Pixels]
    ) -> tuple[list[Floats], list[Floats]]:
        """Scores and features, a batch after another; `pictures` has the frames that are new."""
        predictor, model = self.predictor, self.predictor.model
        length = model.config.tubelet
        cut = [[clip[i : i + length] for i in range(0, len(clip), length)] for clip in clips]
        new = [unit for unit in dict.fromkeys(chain.from_iterable(cut)) if unit not in self._units]
        with memory_explained(model.device):
            # Frames that stand alone cost as many passes as the clips that they are cut from.
            most = self.batch_size * len(cut[0])
            for first in range(0, len(new), most):
                some = new[first : first + most]
                pixels = np.stack([np.stack([pictures[n] for n in unit]) for unit in some])
                given = model.per_frame(torch.from_numpy(pixels).to(model.device))
                self._units.update(zip(some, given.unbind(), strict=True))
            scores: list[Floats] = []
            features: list[Floats] = []
            for first in range(0, len(cut), self.batch_size):
                batch = cut[first : first + self.batch_size]
                units = torch.stack([torch.cat([self._units[u] for u in clip]) for clip in batch])
                head_input = model.over_time(units)
                logits = model.logits(head_input)
                scores.append(as_floats(predictor.checked(predictor.scores(logits).cpu())))
                features += [as_floats(head_input.float().cpu())] * self.features
        return scores, features

    def forget_before(self, oldest: int) -> None:
        """Drop what no later window has: the units that begin before this frame."""
        self._units = {unit: kept for unit, kept in self._units.items() if unit[0] >= oldest}
