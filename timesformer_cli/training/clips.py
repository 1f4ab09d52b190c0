"""Training clips: their order in an epoch, their moments in the video, and their decoded frames.

Where the frames of `DRAWS` draws of all clips fit in memory, each draw is decoded once and held.
Otherwise every epoch decodes its clips again, at moments of its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import log

import numpy as np

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.dataset.clip import named_part
from timesformer_cli.errors import VideoError
from timesformer_cli.training.imbalance import balanced_order
from timesformer_cli.training.randomness import ORDER, TIME, generator
from timesformer_cli.video import DecodePool, VideoPath
from timesformer_cli.video.facts import Pixels
from timesformer_cli.video.pool import Outcome
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
    balanced: bool = False  # whether an epoch takes each class equally often
    _held: dict[tuple[int, int], Pixels] = field(default_factory=dict)

    def order(self, epoch: int) -> list[int]:
        """The numbers of the examples, in the order in which the epoch takes them.

        Where classes are balanced, a number may stand for an example that is taken again: see
        `balanced_order`.
        """
        random = generator(self.seed, ORDER, epoch)
        if self.balanced:
            return balanced_order([one.target for one in self.examples], random)
        return [int(index) for index in random.permutation(len(self.examples))]

    def example(self, number: int) -> TrainingClip:
        """The example of a number, taken for the first time or again."""
        return self.examples[number % len(self.examples)]

    def read(
        self, indices: Sequence[int], epoch: int, ahead: int = 0
    ) -> Iterator[tuple[int, Pixels | VideoError]]:
        """Each example's number with its frames in that epoch, or why it could not be read.

        The decoders stay at least `ahead` clips before the reader.
        """
        keys = [self._key(number, epoch) for number in indices]
        missing = [key for key in keys if key not in self._held]
        if self.draws is not None:
            missing = list(dict.fromkeys(missing))  # what is held is decoded once
        decoded = self.pool.decode(
            (self.example(number).video for number, _ in missing),
            self.sampling,
            self.preprocessing,
            crops=self.crops,
            jitters=(self._jitter(*key) for key in missing),
            ahead=ahead,
        )
        failed: dict[tuple[int, int], VideoError] = {}
        for number, key in zip(indices, keys, strict=True):
            frames: Pixels | VideoError | None = self._held.get(key, failed.get(key))
            if frames is None:
                frames = self._frames(number, next(decoded))
                if isinstance(frames, VideoError):
                    failed[key] = frames
                elif self.draws is not None:
                    self._held[key] = frames
            yield number, frames

    def _key(self, number: int, epoch: int) -> tuple[int, int]:
        """What the moments of an example in an epoch depend on; one taken again has others."""
        if self.draws is None:
            return number, epoch
        again, index = divmod(number, len(self.examples))
        return index, (epoch + again) % self.draws

    def _frames(self, number: int, result: Outcome) -> Pixels | VideoError:
        if isinstance(result, VideoError):  # whoever hears of it must know which clip is meant
            video = self.example(number).video
            named = video.path + named_part(video.start, video.end)
            return VideoError(result.kind, f"{named}: {result}")
        frames: Pixels = result.frames[0]
        return frames

    def _jitter(self, number: int, draw: int) -> Jitter | None:
        if not self.jittered:
            return None
        random = generator(self.seed, TIME, number, draw)
        pace = np.exp(random.uniform(-log(self.pace), log(self.pace)))
        return Jitter(tuple(random.random(self.sampling.frames).tolist()), float(pace))


def draws_held(decoded_bytes: int) -> int | None:
    """How many draws are held of clips whose frames take `decoded_bytes` in one draw.

    None means that none are held, since fewer than `DRAWS` would be of no use.
    """
    return DRAWS if decoded_bytes * DRAWS <= HELD_BYTES else None
