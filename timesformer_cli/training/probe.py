"""An attentive probe: a pooler and a head that learn from the tokens of a network that stays as it is.

1. The tokens of every clip, of its middle, are computed once and kept in a file. Where the recipe
   mirrors clips, so are those of its mirror image.
2. The pooler and the head are trained on them in steps, by the loop that trains whole networks.
3. What is written is the whole model, with the network as it was.

A mean of tokens says what there is on the whole. A pooler also finds what is in one place alone.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from timesformer_cli.errors import TsfError, UsageError, VideoError
from timesformer_cli.training.clips import Target
from timesformer_cli.training.imbalance import BALANCED, balanced_order
from timesformer_cli.training.randomness import ORDER, generator
from timesformer_cli.training.samples import Sample, look_at
from timesformer_cli.training.state import TrainingCallbacks, TrainingStopped

if TYPE_CHECKING:
    from timesformer_cli.training.session import TrainingSession

MOST_OF_FREE = 0.5  # of the free space of a disk, that tokens may take


class TokenReader(nn.Module):
    """The parts of a model that read its tokens, under their names in the model."""

    def __init__(self, pooler: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.pooler, self.head = pooler, head

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits `(b classes)` of tokens `(b t h w d)`."""
        logits: Tensor = self.head(self.pooler(tokens))
        return logits


@dataclass(frozen=True)
class TokenSamples:
    """The tokens `(t h w d)` of clips that were seen once, each from one or several views."""

    tokens: Tensor  # (n t h w d), mapped from a file
    # For each view of each clip its row, or why there is none; and the clip's target.
    views: Sequence[tuple[int | VideoError, Target]]
    device: torch.device
    seed: int = 0
    balanced: bool = False  # whether an epoch takes each class equally often

    def __len__(self) -> int:
        return len(self.views)

    def order(self, epoch: int) -> list[int]:
        """The numbers of all views, in the order in which the epoch takes them."""
        random = generator(self.seed, ORDER, epoch)
        if self.balanced:
            return balanced_order([target for _, target in self.views], random)
        return [int(index) for index in random.permutation(len(self))]

    def stream(self, indices: Sequence[int], epoch: int) -> Iterator[Sample | VideoError]:
        """The tokens of these numbers; they are the same in every epoch."""
        for index in indices:
            # A balanced order takes some again, under a higher number.
            row, target = self.views[index % len(self)]
            if isinstance(row, VideoError):
                yield row
            else:
                yield self.tokens[row].to(self.device, torch.float32), target


class TokenFile:
    """Rows of one shape on disk. The file has no name: it goes with its rows, however that comes."""

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: torch.dtype) -> None:
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - `close` closes it
        self.folder, self.shape, self.count = folder, shape, 0
        # The network's own errors are larger than those of float16, where it computes in 16 bits.
        self._kind = np.dtype(np.float32 if dtype == torch.float32 else np.float16)

    @property
    def bytes_a_row(self) -> int:
        """What a row takes on disk."""
        return prod(self.shape) * self._kind.itemsize

    def add(self, row: Tensor) -> int:
        """Write a row; its number. Raises TsfError where it is not finite or the disk is full."""
        with np.errstate(over="ignore"):
            numbers = row.cpu().numpy().astype(self._kind)
        if not np.isfinite(numbers).all():
            raise TsfError("the network's tokens are not finite; try --dtype float32")
        with self._writing():
            self._file.write(numbers.tobytes())
        self.count += 1
        return self.count - 1

    def rows(self) -> Tensor:
        """All rows, read from disk where they are used; raises TsfError where it is full."""
        with self._writing():
            self._file.flush()
        if not self.count:
            return torch.empty(0, *self.shape)
        # Copied where written to, since torch takes no numbers that it may not write to.
        return torch.from_numpy(
            np.memmap(self._file, self._kind, mode="c", shape=(self.count, *self.shape))
        )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TsfError(f"{self.folder}: tokens cannot be kept ({error.strerror})") from error

    def close(self) -> None:
        """Write no more; rows that were asked for stay."""
        self._file.close()


def token_samples(
    session: "TrainingSession", folder: Path, callbacks: TrainingCallbacks
) -> tuple[TokenSamples, TokenSamples | None]:
    """Tokens of the training clips and of those that validate, or None where nothing is held out.

    How much they take on disk is said before the first one is computed; they lie in `folder`.
    Raises UsageError where that is more than half of what is free, TsfError where no training clip
    can be read, TrainingStopped when `callbacks.stopping` asks for it.
    """

    def heed() -> None:
        if callbacks.stopping():
            raise TrainingStopped

    plan, settings = session.plan, session.settings
    grid = plan.config.grid_of(plan.sampling.frames, *plan.preprocessing.crop)
    views = {"train": 2 if settings.recipe.flip else 1, "val": 1}
    clips = {split: len(plan.of_split(split)) for split in views}
    kept: dict[str, list[tuple[int | VideoError, Target]]] = {split: [] for split in views}
    done, total = 0, sum(clips.values())
    session.model.eval()
    with closing(TokenFile(folder, (*grid, plan.config.dim), settings.dtype)) as file:
        callbacks.note(_said(file, clips, views))
        for split, pairs in kept.items():
            listed = session.middle_clips(split)
            looks = look_at(
                session.model.tokens, listed, settings.dtype, mirrored=views[split] == 2, heed=heed
            )
            for clip, (_, seen) in zip(listed.clips.examples, looks, strict=True):
                rows = [seen] if isinstance(seen, VideoError) else map(file.add, seen)
                pairs += [(row, clip.target) for row in rows]
                done += 1
                callbacks.seen(done, total)
            if split == "train" and not file.count:
                raise TsfError(f"none of the training clips can be read; the first: {pairs[0][0]}")
        tokens = file.rows()
    balanced = plan.options.sampler == BALANCED
    train, held_out = (
        TokenSamples(tokens, pairs, settings.device, settings.seed, balanced=balanced)
        for pairs in kept.values()
    )
    return train, held_out if kept["val"] else None


def _said(file: TokenFile, clips: Mapping[str, int], views: Mapping[str, int]) -> str:
    """How much the tokens take; raises UsageError where it is too much for the disk."""
    rows = sum(count * views[split] for split, count in clips.items())
    size, free = rows * file.bytes_a_row, shutil.disk_usage(file.folder).free
    *grid, width = file.shape
    what = f"{rows} x {prod(grid):,} tokens of {width} numbers, {_bytes(size)}"
    if size > MOST_OF_FREE * free:
        raise UsageError(
            f"{what}, are too much for {file.folder}, where {_bytes(free)} are free (half of it may "
            "be taken); fewer --frames, a smaller --image-size and --freeze-backbone need less"
        )
    mirrored = " and of their mirror images" if views["train"] == 2 else ""
    held_out = f", and of {clips['val']} that validate" if clips["val"] else ""
    return (
        f"tokens of {clips['train']} clips{mirrored}{held_out} are computed once: {what}, in a file "
        f"in {file.folder} that goes at the end"
    )


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
