"""Training clips: their order in an epoch, their moments in the video, and their decoded frames.

Where the frames of `DRAWS` draws of all clips fit in memory, each draw is decoded once and held.
Otherwise every epoch decodes its clips again, at moments of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import log

import numpy as np

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import VideoError
from timesformer_cli.training.randomness import ORDER, TIME, generator
from timesformer_cli.video import DecodePool, VideoPath
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.sample import Jitter

Target = int | tuple[float, ...]
HELD_BYTES = 2 << 30  # of decoded frames that may be held
DRAWS = 8  # choices of moments per video, where the frames of all of them are held


@dataclass(frozen=True, slots=True)
class TrainingClip:
    """A clip and the number of its class; where it may have several, 1 or 0 for each class."""

    video: VideoPath  # or a part of one
    target: Target


@dataclass(kw_only=True)
class TrainingClips:
    """The clips of one split as decoded frames, uint8 `(t h w c)`."""

    pool: DecodePool
    examples: Sequence[TrainingClip]
    sampling: Sampling
    preprocessing: Preprocessing
    seed: int = 0
    pace: float = 1.0  # a jittered clip is up to this much faster or slower
    draws: int | None = None  # epoch e repeats the moments of e modulo draws; None never repeats
    crops: int = 0  # per clip; 0 gives whole pictures
    jittered: bool = True  # whether each epoch takes other moments; else always the middle
    _held: dict[tuple[int, int], Pixels] = field(default_factory=dict)

    def order(self, epoch: int) -> list[int]:
        """The numbers of all examples, in the order in which the epoch takes them."""
        drawn = generator(self.seed, ORDER, epoch).permutation(len(self.examples))
        return [int(index) for index in drawn]

    def read(
        self, indices: Sequence[int], epoch: int, ahead: int = 0
    ) -> Iterator[tuple[int, Pixels | VideoError]]:
        """Each example's number with its frames in that epoch, or why it could not be read.

        The decoders stay at least `ahead` clips before the reader.
        """
        draw = epoch if self.draws is None else epoch % self.draws
        missing = [index for index in indices if (index, draw) not in self._held]
        decoded = self.pool.decode(
            (self.examples[index].video for index in missing),
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
    """How many draws are held of clips whose frames take `decoded_bytes` in one draw.

    None means that none are held, since fewer than `DRAWS` would be of no use.
    """
    return DRAWS if decoded_bytes * DRAWS <= HELD_BYTES else None
