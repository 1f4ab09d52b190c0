"""Training clips: which come when, from which moments, decoded once where they fit in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import log

import numpy as np

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import VideoError
from timesformer_cli.training.randomness import ORDER, TIME, generator
from timesformer_cli.video import DecodePool
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.sample import Jitter

HELD_BYTES = 2 << 30  # of decoded frames
DRAWS = 8  # moments that a video is decoded at, where all of these are held


@dataclass(frozen=True, slots=True)
class TrainingClip:
    """A clip and the number of its class."""

    path: str
    target: int


@dataclass(kw_only=True)
class TrainingClips:
    """The examples of one split as whole pictures, uint8 `(t h w c)`.

    In training an epoch takes each video at other moments, up to `pace` faster or slower. With
    `draws`, epoch e takes those of epoch e modulo `draws`, and all are held once decoded.
    """

    pool: DecodePool
    examples: Sequence[TrainingClip]
    sampling: Sampling
    preprocessing: Preprocessing
    seed: int = 0
    pace: float = 1.0
    draws: int | None = None
    crops: int = 0
    jittered: bool = True
    _held: dict[tuple[int, int], Pixels] = field(default_factory=dict)

    def order(self, epoch: int) -> list[int]:
        """The examples' numbers as that epoch takes them."""
        drawn = generator(self.seed, ORDER, epoch).permutation(len(self.examples))
        return [int(index) for index in drawn]

    def read(
        self, indices: Sequence[int], epoch: int, ahead: int = 0
    ) -> Iterator[tuple[int, Pixels | VideoError]]:
        """Each example's frames at that epoch's moments; or why it could not be read."""
        draw = epoch if self.draws is None else epoch % self.draws
        missing = [index for index in indices if (index, draw) not in self._held]
        decoded = self.pool.decode(
            (self.examples[index].path for index in missing),
            self.sampling,
            self.preprocessing,
            crops=self.crops,
            jitters=(self._jitter(index, draw) for index in missing),
            ahead=ahead,
        )
        for index in indices:
            frames: Pixels | VideoError
            if (index, draw) in self._held:
                frames = self._held[index, draw]
            else:
                result = next(decoded)
                frames = result if isinstance(result, VideoError) else result.frames[0]
                if self.draws is not None and not isinstance(frames, VideoError):
                    self._held[index, draw] = frames
            yield index, frames

    def _jitter(self, index: int, draw: int) -> Jitter | None:
        if not self.jittered:
            return None
        random = generator(self.seed, TIME, index, draw)
        pace = np.exp(random.uniform(-log(self.pace), log(self.pace)))
        return Jitter(tuple(random.random(self.sampling.frames).tolist()), float(pace))


def draws_held(decoded_bytes: int) -> int | None:
    """How many draws of clips that take so many bytes once are held; None: too few to be of use."""
    return DRAWS if decoded_bytes * DRAWS <= HELD_BYTES else None
