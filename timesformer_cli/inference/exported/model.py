"""An exported file as a model that can be called."""

from collections.abc import Callable

import torch
from einops import rearrange
from torch import Tensor

from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.inference.device import DTYPES
from timesformer_cli.inference.exported.manifest import Manifest


class ExportedModel:
    """An exported model, called like a `FastModel`.

    It runs on the CPU, at the clip shape and in the dtype that it was exported with.
    """

    def __init__(self, manifest: Manifest, run: Callable[[Tensor], Tensor]) -> None:
        """`run` maps clips of the shape in the manifest to logits."""
        described = manifest.description
        self.manifest = manifest
        self.config, self.labels = described.config, described.labels
        self.preprocessing, self.sampling = described.preprocessing, described.sampling
        self.dtype = DTYPES[manifest.dtype]
        self.device = torch.device("cpu")
        self._run = run

    def __call__(self, clip: Tensor) -> Tensor:
        """Logits, float32 `(b classes)`, for pixels, uint8 RGB `(b t h w c)`.

        A graph that takes normalised clips also accepts those, float `(b t c h w)`. Raises
        UsageError for clips that the graph does not take, and WeightsError where it does not give a
        score for each of its classes.
        """
        logits = self._logits(self._as_taken(clip))
        scores, classes = logits.shape[-1], self.config.classes
        if logits.ndim != 2 or scores != classes:
            raise WeightsError(f"the export gives {scores} scores and names {classes} classes")
        return logits

    def _logits(self, clip: Tensor) -> Tensor:
        if tuple(clip.shape[1:]) != self.manifest.shape[1:]:
            taken, given = (tuple(shape[1:]) for shape in (self.manifest.shape, clip.shape))
            raise UsageError(f"this export takes clips of shape {taken}; got {given}")
        size, count = self.manifest.batch, len(clip)
        if size is None:
            return self._run(clip)
        if short := -count % size:  # a graph of a fixed size needs full batches: repeat the last
            clip = torch.cat([clip, clip[-1:].expand(short, -1, -1, -1, -1)])
        return torch.cat([self._run(part) for part in torch.split(clip, size)])[:count]

    def _as_taken(self, clip: Tensor) -> Tensor:
        if not self.manifest.pixels and not clip.is_floating_point():
            return normalise(clip, self.preprocessing.mean, self.preprocessing.std)
        if self.manifest.pixels and clip.is_floating_point():
            raise UsageError("this export takes pixels, uint8 (b t h w c), and no normalised clips")
        return clip if self.manifest.pixels else clip.float()


def normalise(frames: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """From pixels, uint8 RGB `(b t h w c)`, to normalised clips, float32 `(b t c h w)`."""
    scaled = (frames / 255 - torch.tensor(mean)) / torch.tensor(std)
    return rearrange(scaled, "b t h w c -> b t c h w").contiguous()
