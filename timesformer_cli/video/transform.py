"""Frames to model input: upright, square pixels, short side resized, cropped. NumPy and Pillow."""

import numpy as np
from PIL import Image, ImageOps

from timesformer_cli.config import Preprocessing
from timesformer_cli.errors import ErrorKind, UsageError, VideoError
from timesformer_cli.video.facts import MAX_PIXELS, UPRIGHT, Orientation, Pixels
from timesformer_cli.video.tensor_picture import TensorPicture

FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def upright(frame: Pixels, orientation: Orientation) -> Pixels:
    """The picture as it is meant to be seen (a view of the same memory)."""
    if orientation.mirrored:  # before turning: the display matrix means this order
        frame = frame[:, ::-1]
    return np.rot90(frame, orientation.turns)


def resized_size(width: int, height: int, preprocessing: Preprocessing) -> tuple[int, int]:
    """Width and height after resizing: as asked, but large enough for the crop."""
    crop_height, crop_width = preprocessing.crop
    short = preprocessing.resize
    if not isinstance(short, int):
        new = short[1], short[0]
    elif width <= height:
        new = short, int(short * height / width)  # rounded down, as transformers' processor does
    else:
        new = int(short * width / height), short
    if new[0] < crop_width or new[1] < crop_height:
        scale = max(crop_width / width, crop_height / height)
        new = max(crop_width, round(width * scale)), max(crop_height, round(height * scale))
    if new[0] * new[1] > MAX_PIXELS:
        raise VideoError(
            ErrorKind.TOO_LARGE, f"has a picture of {width}x{height}, too long to be resized"
        )
    return new


def filled(picture: Pixels, width: int, height: int) -> Pixels:
    """A picture of another size as one of this: scaled to cover it, its middle kept."""
    image = ImageOps.fit(Image.fromarray(picture), (width, height), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8)


def crop_corners(
    width: int, height: int, crop: tuple[int, int], crops: int
) -> dict[str, tuple[int, int]]:
    """Name and (left, top) of each crop: the centre, or three along the long side."""
    left, top = (width - crop[1]) // 2, (height - crop[0]) // 2
    if crops == 1:
        return {"center": (left, top)}
    if crops != 3:
        raise UsageError(f"{crops} crops a clip are not possible: 1 (centre) or 3 (along the side)")
    if width >= height:
        return {"left": (0, top), "center": (left, top), "right": (width - crop[1], top)}
    return {"top": (left, 0), "center": (left, top), "bottom": (left, height - crop[0])}


def prepare_frame(
    frame: Pixels | TensorPicture,
    preprocessing: Preprocessing,
    *,
    orientation: Orientation = UPRIGHT,
    pixel_aspect: float = 1.0,
    crops: int = 1,
) -> dict[str, Pixels]:
    """Turn, resize and crop one RGB frame `(height, width, 3)`; returns the crops by name.

    0 crops gives the whole resized picture, so its size depends on the video. `pixel_aspect` is the
    width of a stored pixel over its height. For an upright frame of square pixels the result equals
    that of transformers' VideoMAE processor (its Pillow version) exactly.
    """
    height, width = frame.shape[:2]
    shown = round(width * pixel_aspect) or 1, height
    if orientation.turns % 2:
        shown = shown[1], shown[0]
    size = resized_size(*shown, preprocessing)
    picture: Pixels | TensorPicture
    if isinstance(frame, TensorPicture):
        picture = frame.resized(size, preprocessing.filter, orientation)
    else:
        image = Image.fromarray(np.ascontiguousarray(upright(frame, orientation)))
        picture = np.asarray(image.resize(size, FILTERS[preprocessing.filter]))
    if crops == 0:
        return {"whole": np.asarray(picture)}
    high, wide = preprocessing.crop
    corners = crop_corners(*size, preprocessing.crop, crops)
    return {
        name: np.ascontiguousarray(picture[top : top + high, left : left + wide])
        for name, (left, top) in corners.items()
    }
