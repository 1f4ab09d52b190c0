"""What a training loop takes its batches from: augmented clips, or features computed once."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import torch
from einops import rearrange
from torch import Tensor

from timesformer_cli.errors import TsfError, VideoError
from timesformer_cli.model import TimeSformer
from timesformer_cli.training.augment import Transform
from timesformer_cli.training.clips import Target, TrainingClips
from timesformer_cli.training.randomness import LOOK, seeded

# An input and its class (or 1 or 0 for each class); perhaps numbers too, for the outputs beyond the classes (NaN: not known).
Sample = tuple[Tensor, Target] | tuple[Tensor, Target, Tensor]
BATCH = 8  # clips at once where no gradients are needed


class Samples(Protocol):
    """Inputs and their classes, by number.

    Both methods must be functions of their arguments, or a stopped training could not go on alike.
    """

    def __len__(self) -> int: ...

    def order(self, epoch: int) -> list[int]:
        """The numbers of all samples, in the order in which the epoch takes them."""
        ...

    def stream(self, indices: Sequence[int], epoch: int) -> Iterator[Sample | VideoError]:
        """For each of the numbers a sample, or why it could not be read."""
        ...


@dataclass(frozen=True)
class ClipSamples:
    """Clips on the device as the model sees them, float `(t c h w)`."""

    clips: TrainingClips
    transform: Transform
    device: torch.device
    ahead: int = 0  # clips that are decoded or being decoded while the model works

    def __len__(self) -> int:
        return len(self.clips.examples)

    def order(self, epoch: int) -> list[int]:
        """The numbers of all clips, in the order in which the epoch takes them."""
        return self.clips.order(epoch)

    def stream(self, indices: Sequence[int], epoch: int) -> Iterator[Sample | VideoError]:
        """The clips of these numbers, augmented.

        How a clip is augmented is a function of the seed, the epoch and its number.
        """
        for index, frames in self.clips.read(indices, epoch, self.ahead):
            if isinstance(frames, VideoError):
                yield frames
                continue
            clip = rearrange(torch.tensor(frames, device=self.device), "t h w c -> t c h w")
            with seeded(self.clips.seed, LOOK, epoch, index):
                augmented = self.transform(clip)
            yield augmented, self.clips.example(index).target


@dataclass(frozen=True)
class Features:
    """Features `(n d)` that a frozen backbone computed once, with their classes."""

    features: Tensor
    targets: Sequence[Target]
    places: Sequence[int]  # the number of each one's clip among those that were asked for

    @classmethod
    @torch.no_grad()
    def of_clips(
        cls,
        model: TimeSformer,
        clips: ClipSamples,
        dtype: torch.dtype,
        *,
        mirrored: bool = False,
        heed: Callable[[], None] = lambda: None,
        lost: Callable[[VideoError], None] = lambda error: None,
    ) -> "Features":
        """The input of the model's head for each clip that can be read.

        With `mirrored` each clip comes again, left to right. `heed` is called after each batch, and
        `lost` hears of clips that cannot be read.
        """
        model.eval()
        device = clips.device
        seen: list[Tensor] = []
        targets: list[Target] = []
        places: list[int] = []
        stream = enumerate(clips.stream(range(len(clips)), 0))
        while batch := list(islice(stream, BATCH)):
            known = []
            for place, sample in batch:
                if isinstance(sample, VideoError):
                    lost(sample)
                else:
                    known.append((place, sample[0], sample[1]))
            if known:
                at, inputs, numbers = zip(*known, strict=True)
                stacked = torch.stack(inputs)
                for looked_at in (stacked, stacked.flip(-1)) if mirrored else (stacked,):
                    with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                        seen.append(model.features(looked_at).float())
                    targets += numbers
                    places += at
            heed()
        if not seen:
            raise TsfError("none of the clips could be read; see the notes above")
        return cls(torch.cat(seen), targets, places)

    def __len__(self) -> int:
        return len(self.targets)

    def order(self, epoch: int) -> list[int]:
        """The numbers of all features: there is nothing to be gained by another order."""
        return list(range(len(self)))

    def stream(self, indices: Sequence[int], epoch: int) -> Iterator[Sample]:
        """The features of these numbers; they are the same in every epoch."""
        for index in indices:
            yield self.features[index], self.targets[index]
