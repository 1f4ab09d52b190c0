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


@torch.no_grad()
def look_at(
    see: Callable[[Tensor], Tensor],
    clips: ClipSamples,
    dtype: torch.dtype,
    *,
    mirrored: bool = False,
    heed: Callable[[], None] = lambda: None,
) -> Iterator[tuple[int, list[Tensor] | VideoError]]:
    """What a frozen network sees in each clip, float32, by the clip's number, in order.

    With `mirrored` each clip is seen again, left to right. `heed` is called after each batch.
    """
    device = clips.device
    stream = enumerate(clips.stream(range(len(clips)), 0))
    while batch := list(islice(stream, BATCH)):
        known = [sample[0] for _, sample in batch if not isinstance(sample, VideoError)]
        views: list[Tensor] = []
        if known:
            stacked = torch.stack(known)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                views = [see(stacked).float()]
                views += [see(stacked.flip(-1)).float()] if mirrored else []
        rows = zip(*views, strict=True)
        for place, sample in batch:
            yield place, sample if isinstance(sample, VideoError) else list(next(rows))
        heed()


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
        see: Callable[[Tensor], Tensor] | None = None,
        mirrored: bool = False,
        heed: Callable[[], None] = lambda: None,
        lost: Callable[[VideoError], None] = lambda error: None,
    ) -> "Features":
        """The input of the model's head for each clip that can be read, or what `see` gives of them.

        With `mirrored` each clip comes again, left to right. `heed` is called after each batch, and
        `lost` hears of clips that cannot be read.
        """
        rows: list[Tensor] = []
        targets: list[Target] = []
        places: list[int] = []
        model.eval()
        see = see or model.features
        for place, seen in look_at(see, clips, dtype, mirrored=mirrored, heed=heed):
            if isinstance(seen, VideoError):
                lost(seen)
                continue
            rows += seen
            targets += [clips.clips.example(place).target] * len(seen)
            places += [place] * len(seen)
        if not rows:
            raise TsfError("none of the clips could be read; see the notes above")
        return cls(torch.stack(rows), targets, places)

    def __len__(self) -> int:
        return len(self.targets)

    def order(self, epoch: int) -> list[int]:
        """The numbers of all features: there is nothing to be gained by another order."""
        return list(range(len(self)))

    def stream(self, indices: Sequence[int], epoch: int) -> Iterator[Sample]:
        """The features of these numbers; they are the same in every epoch."""
        for index in indices:
            yield self.features[index], self.targets[index]
