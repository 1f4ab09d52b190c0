"""What a training loop draws from: clips as the model sees them, or features made once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import torch
from einops import rearrange
from torch import Tensor

from timesformer_cli.errors import VideoError
from timesformer_cli.model import TimeSformer
from timesformer_cli.training.augment import Transform
from timesformer_cli.training.clips import TrainingClips
from timesformer_cli.training.randomness import LOOK, ORDER, generator, seeded

Sample = tuple[Tensor, int]
BATCH = 8  # clips at once, without gradients


class Samples(Protocol):
    """Inputs and their classes, by number; what an epoch holds is a function of the epoch."""

    def __len__(self) -> int: ...

    def order(self, epoch: int) -> list[int]:
        """The samples' numbers as that epoch takes them."""
        ...

    def stream(self, indices: Sequence[int], epoch: int) -> Iterator[Sample | VideoError]:
        """A sample, or why it could not be read, for each of the numbers."""
        ...


@dataclass(frozen=True)
class ClipSamples:
    """Clips on their device, through `transform`: float `(t c h w)`."""

    clips: TrainingClips
    transform: Transform
    device: torch.device
    ahead: int = 0

    def __len__(self) -> int:
        return len(self.clips.examples)

    def order(self, epoch: int) -> list[int]:
        """The clips' numbers as that epoch takes them."""
        return self.clips.order(epoch)

    def stream(self, indices: Sequence[int], epoch: int) -> Iterator[Sample | VideoError]:
        """The clips of these numbers; each one's look is a function of seed, epoch and number."""
        for index, frames in self.clips.read(indices, epoch, self.ahead):
            if isinstance(frames, VideoError):
                yield frames
                continue
            clip = rearrange(torch.tensor(frames, device=self.device), "t h w c -> t c h w")
            with seeded(self.clips.seed, LOOK, epoch, index):
                seen = self.transform(clip)
            yield seen, self.clips.examples[index].target


@dataclass(frozen=True)
class Features:
    """Features `(n d)` of clips that a frozen backbone saw once, with their classes."""

    features: Tensor
    targets: Sequence[int]
    seed: int

    @classmethod
    @torch.no_grad()
    def of_clips(
        cls, model: TimeSformer, clips: ClipSamples, dtype: torch.dtype, seed: int
    ) -> "Features":
        """What the model's head sees of each clip that can be read."""
        model.eval()
        device, found = clips.device, []
        stream = clips.stream(range(len(clips)), 0)
        known = (sample for sample in stream if not isinstance(sample, VideoError))
        targets: list[int] = []
        while batch := list(islice(known, BATCH)):
            inputs = torch.stack([input for input, _ in batch])
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                found.append(model.features(inputs).float())
            targets += [number for _, number in batch]
        return cls(torch.cat(found), targets, seed)

    def __len__(self) -> int:
        return len(self.targets)

    def order(self, epoch: int) -> list[int]:
        """The features' numbers as that epoch takes them."""
        drawn = generator(self.seed, ORDER, epoch).permutation(len(self))
        return [int(index) for index in drawn]

    def stream(self, indices: Sequence[int], epoch: int) -> Iterator[Sample]:
        """The features of these numbers, in every epoch the same."""
        for index in indices:
            yield self.features[index], self.targets[index]
