"""A picture in a card's memory: turned, resized and cropped there, so that only crops are copied."""

from dataclasses import dataclass
from typing import Any

from timesformer_cli.video.facts import UPRIGHT, Orientation, Pixels


@dataclass(frozen=True, slots=True)
class TensorPicture:
    """RGB as a tensor `(height, width, 3)`, wherever it lies; NumPy takes it as an array."""

    pixels: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array's."""
        return tuple(self.pixels.shape)

    def __getitem__(self, part: tuple[slice, ...]) -> "TensorPicture":
        return TensorPicture(self.pixels[part])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Pixels:
        copied: Pixels = self.pixels.cpu().numpy()
        return copied

    def resized(
        self, size: tuple[int, int], filter: str, orientation: Orientation = UPRIGHT
    ) -> "TensorPicture":
        """Upright and of this width and height, within two levels of 255 of what Pillow makes of it.

        Pillow changes the width first, and rounds before it changes the height. From 13 on it may
        begin with the height where that shrinks more: bicubic edges are then more levels apart.
        """
        from torch.nn.functional import interpolate

        pixels = self.pixels.flip(1) if orientation.mirrored else self.pixels
        planes = pixels.rot90(orientation.turns).permute(2, 0, 1)[None].float()
        width, height = size
        for step in ((planes.shape[2], width), (height, width)):
            if planes.shape[2:] != step:
                planes = interpolate(planes, step, mode=filter, antialias=True)
                planes = planes.add(0.5).floor().clamp(0, 255)
        return TensorPicture(planes[0].permute(1, 2, 0).byte())
