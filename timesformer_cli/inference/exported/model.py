"""An exported file as a model that can be called, with torch or without."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, overload

import numpy as np
import numpy.typing as npt

from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.inference.exported.manifest import Manifest
from timesformer_cli.inference.outputs import Floats

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Run = Callable[[npt.NDArray[Any]], Floats]


class ExportedModel:
    """An exported model, called like a `FastModel`, with arrays or with tensors on the CPU.

    It runs on the CPU, at the clip shape and in the dtype that it was exported with.
    """

    def __init__(self, manifest: Manifest, run: Run) -> None:
        """`run` maps clips of the shape in the manifest to logits."""
        described = manifest.description
        self.manifest = manifest
        self.config, self.labels = described.config, described.labels
        self.preprocessing, self.sampling = described.preprocessing, described.sampling
        self._run = run

    @property
    def dtype(self) -> "torch.dtype":
        """In which it computes, as torch calls it."""
        from timesformer_cli.inference.device import DTYPES

        return DTYPES[self.manifest.dtype]

    @property
    def device(self) -> "torch.device":
        """The CPU, as torch calls it."""
        import torch

        return torch.device("cpu")

    @overload
    def __call__(self, clip: "Tensor") -> "Tensor": ...
    @overload
    def __call__(self, clip: npt.NDArray[Any]) -> Floats: ...
    def __call__(self, clip: "Tensor | npt.NDArray[Any]") -> "Tensor | Floats":
        """Logits, float32 `(b classes)`, for pixels, uint8 RGB `(b t h w c)`; of the clip's kind.

        A graph that takes normalised clips also accepts those, float `(b t c h w)`. Raises
        UsageError for clips that the graph does not take, and WeightsError where it does not give a
        score for each of its classes.
        """
        logits = self._logits(self._as_taken(np.asarray(clip)))
        scores, classes = logits.shape[-1], self.config.classes
        if logits.ndim != 2 or scores != classes:
            raise WeightsError(f"the export gives {scores} scores and names {classes} classes")
        if isinstance(clip, np.ndarray):
            return logits
        import torch

        return torch.from_numpy(logits)

    def _logits(self, clip: npt.NDArray[Any]) -> Floats:
        if clip.shape[1:] != self.manifest.shape[1:]:
            taken, given = (tuple(shape[1:]) for shape in (self.manifest.shape, clip.shape))
            raise UsageError(f"this export takes clips of shape {taken}; got {given}")
        size, count = self.manifest.batch, len(clip)
        if size is None:
            return self._run(clip)
        if short := -count % size:  # a graph of a fixed size needs full batches: repeat the last
            clip = np.concatenate([clip, np.repeat(clip[-1:], short, axis=0)])
        parts = [self._run(clip[first : first + size]) for first in range(0, len(clip), size)]
        return np.concatenate(parts)[:count]

    def _as_taken(self, clip: npt.NDArray[Any]) -> npt.NDArray[Any]:
        floats = np.issubdtype(clip.dtype, np.floating)
        if not self.manifest.pixels and not floats:
            return normalise(clip, self.preprocessing.mean, self.preprocessing.std)
        if self.manifest.pixels and floats:
            raise UsageError("this export takes pixels, uint8 (b t h w c), and no normalised clips")
        return clip if self.manifest.pixels else clip.astype(np.float32, copy=False)


def normalise(
    frames: npt.NDArray[np.uint8], mean: tuple[float, ...], std: tuple[float, ...]
) -> Floats:
    """From pixels, uint8 RGB `(b t h w c)`, to normalised clips, float32 `(b t c h w)`."""
    scaled: Floats = frames.astype(np.float32) / np.float32(255)
    scaled -= np.array(mean, np.float32)
    scaled /= np.array(std, np.float32)
    return np.ascontiguousarray(scaled.transpose(0, 1, 4, 2, 3))
