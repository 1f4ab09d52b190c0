"""What a preprocessor file of transformers means: each of its fields, honoured or refused."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

from timesformer_cli.config import Preprocessing

FILTERS: Mapping[int, Literal["bilinear", "bicubic"]] = {
    2: "bilinear",
    3: "bicubic",
}  # by Pillow's number
LARGEST_SIDE = 8192  # pixels

HALF, IMAGENET_MEAN, IMAGENET_STD = [0.5] * 3, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
_VIDEOMAE = {
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "default_to_square": False,
    "resample": 2,
    "do_center_crop": True,
    "crop_size": {"height": 224, "width": 224},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "offset": False,
    "do_normalize": True,
    "image_mean": HALF,
    "image_std": HALF,
}
_VIVIT = _VIDEOMAE | {"size": {"shortest_edge": 256}, "rescale_factor": 1 / 127.5, "offset": True}
_TIMESFORMER = _VIDEOMAE | {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD}
_VJEPA2 = _TIMESFORMER | {"crop_size": 256}
_LLAVA = _VIDEOMAE | {
    "size": {"height": 384, "width": 384},
    "resample": 3,
    "do_center_crop": False,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
# Per class of processor: the value of each field that its file leaves out.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "VideoMAEImageProcessor": _VIDEOMAE,
    "VideoMAEVideoProcessor": _VIDEOMAE,
    "VivitImageProcessor": _VIVIT,
    "VivitVideoProcessor": _VIVIT,
    "TimesformerVideoProcessor": _TIMESFORMER,
    "VJEPA2VideoProcessor": _VJEPA2,
    "LlavaOnevisionVideoProcessor": _LLAVA,  # VideoPrism's
}
# Classes that take no `size`, whatever the file says: the short side follows from the crop's height.
SHORT_SIDE: Mapping[str, Callable[[int], int]] = {
    "VJEPA2VideoProcessor": lambda height: int(height * 256 / 224),
}
# Where a file does not name its class, it is that of the model's family.
OF_FAMILY = {
    "videomae": "VideoMAEVideoProcessor",
    "vivit": "VivitVideoProcessor",
    "timesformer": "VideoMAEImageProcessor",
    "vjepa2": "VJEPA2VideoProcessor",
    "videoprism": "LlavaOnevisionVideoProcessor",
    "videoprism_vision_model": "LlavaOnevisionVideoProcessor",
}
# The class that a folder of ours names: its filter is the one that it always has.
_CLASS_OF = {
    "bilinear": {"image_processor_type": "VideoMAEImageProcessor", "resample": 2},
    "bicubic": {"video_processor_type": "LlavaOnevisionVideoProcessor", "resample": 3},
}
KINDS = ("video_processor_type", "image_processor_type", "feature_extractor_type")
# They say how arrays are passed around and where frames come from; tsf samples frames itself.
WITHOUT_EFFECT = frozenset(
    """
    do_convert_rgb data_format input_data_format return_tensors device disable_grouping
    processor_class do_sample_frames num_frames video_metadata return_metadata image_seq_length
    model_input_names _valid_processor_keys
    """.split()
)


def preprocessing_of(values: Mapping[str, Any], model_type: str | None = None) -> Preprocessing:
    """The preprocessing that such a file describes; `model_type` is that of its model.

    Raises ValueError naming the field that is unknown, or whose value cannot be honoured.
    """
    kind = _kind(values, model_type)
    defaults = DEFAULTS[kind]
    for name, value in values.items():
        # A step that is switched off has no effect, whatever it is.
        off = value is None or (name.startswith("do_") and value is False)
        if name not in {*defaults, *WITHOUT_EFFECT, *KINDS} and not off:
            raise ValueError(
                f"{name} is a field that tsf does not know; it may change the pictures. If it is "
                f"only a remark of yours, delete it"
            )
    settings = {**defaults, **values}
    if kind in SHORT_SIDE:
        height, _ = _crop_sides(settings["crop_size"])
        settings["size"] = {"shortest_edge": SHORT_SIDE[kind](height)}
    if settings["resample"] != (only := defaults["resample"]):
        raise ValueError(
            f"resample is {settings['resample']!r}; only {only} ({FILTERS[only]}) is supported"
        )
    if settings["offset"] != defaults["offset"] and kind != "VivitImageProcessor":
        raise ValueError(f"offset is {settings['offset']!r}, which {kind} does not have")
    if not settings["do_resize"]:
        raise ValueError("do_resize is false; tsf always resizes")
    resize = _size(settings["size"], square=settings["default_to_square"])
    crop = _crop(settings, resize)
    mean, std = _normalisation(settings)
    return Preprocessing(
        resize=resize, crop=crop, mean=mean, std=std, filter=FILTERS[settings["resample"]]
    )


def processor_file(preprocessing: Preprocessing) -> dict[str, Any]:
    """The content of `preprocessor_config.json`; transformers reads it, too."""
    height, width = preprocessing.crop
    resize = preprocessing.resize
    both = {} if isinstance(resize, int) else {"height": resize[0], "width": resize[1]}
    return {
        **_CLASS_OF[preprocessing.filter],
        "do_resize": True,
        "size": both or {"shortest_edge": resize},
        "do_center_crop": True,
        "crop_size": {"height": height, "width": width},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocessing.mean),
        "image_std": list(preprocessing.std),
    }


def _kind(values: Mapping[str, Any], model_type: str | None) -> str:
    """The class of processor, by the name that it had first: `...FeatureExtractor` was renamed."""
    named = next((values[name] for name in KINDS if values.get(name)), None)
    if named is None:
        return OF_FAMILY.get(str(model_type), OF_FAMILY["timesformer"])
    kind = str(named).removesuffix("Fast").removesuffix("Pil")
    kind = kind.replace("FeatureExtractor", "ImageProcessor")
    if kind not in DEFAULTS:
        raise ValueError(f"its class is {named!r}; these are read: {', '.join(DEFAULTS)}")
    return kind


def _size(size: Any, *, square: bool) -> int | tuple[int, int]:
    """`size` in pixels: of the short side, or height and width; raises ValueError."""
    match size:
        case int(side) if square:
            return _side(side), _side(side)
        case int(side):
            return _side(side)
        case {"shortest_edge": int(side), **more} if not more:
            return _side(side)
        case [int(height), int(width)]:
            return _side(height), _side(width)
        case {"height": int(height), "width": int(width), **more} if not more:
            return _side(height), _side(width)
    raise ValueError(f"size is {size!r:.80}; tsf reads shortest_edge, or height and width")


def _crop(settings: Mapping[str, Any], resize: int | tuple[int, int]) -> tuple[int, int]:
    """`crop_size` as height and width; without a crop, the whole of the resized picture."""
    sides = (resize, resize) if isinstance(resize, int) else resize
    if not settings["do_center_crop"]:
        if isinstance(resize, int):
            raise ValueError(
                "do_center_crop is false, so pictures would keep each video's own shape; write true "
                "and a crop_size, or size with height and width"
            )
        return sides
    height, width = _crop_sides(settings["crop_size"])
    if height > sides[0] or width > sides[1]:
        raise ValueError(
            f"crop_size is {height}x{width}, larger than the resized picture ({sides[0]}x{sides[1]})"
        )
    return height, width


def _crop_sides(crop: Any) -> tuple[int, int]:
    match crop:
        case int(side):
            return _side(side), _side(side)
        case [int(height), int(width)]:
            return _side(height), _side(width)
        case {"height": int(height), "width": int(width), **more} if not more:
            return _side(height), _side(width)
    raise ValueError(f"crop_size is {crop!r:.80}; it must be height and width")


def _side(pixels: int) -> int:
    if isinstance(pixels, bool) or not 1 <= pixels <= LARGEST_SIDE:
        raise ValueError(f"a picture size is {pixels!r}")
    return pixels


def _normalisation(
    settings: Mapping[str, Any],
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and deviation on values of 0..1 that stand for all of the file's arithmetic.

    Theirs is `(x * rescale_factor - offset - mean) / std` on values of 0..255.
    """
    factor, offset = settings["rescale_factor"], int(settings["offset"])
    if not settings["do_rescale"]:
        factor, offset = 1, 0
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not factor > 0:
        raise ValueError(f"rescale_factor is {factor!r}; it must be above 0")
    mean, std = (0.0,) * 3, (1.0,) * 3
    if settings["do_normalize"]:
        mean, std = _channels(settings, "image_mean"), _channels(settings, "image_std")
    if not all(value > 0 for value in std):
        raise ValueError(f"image_std is {settings['image_std']!r}; it must be above 0")
    scale = 255 * factor
    red, green, blue = ((value + offset) / scale for value in mean)
    red_std, green_std, blue_std = (value / scale for value in std)
    return (red, green, blue), (red_std, green_std, blue_std)


def _channels(settings: Mapping[str, Any], name: str) -> tuple[float, float, float]:
    value = settings[name]
    channels = value if isinstance(value, list) else [value] * 3
    numbers = [x for x in channels if isinstance(x, int | float) and not isinstance(x, bool)]
    if len(channels) != 3 or len(numbers) != 3:
        raise ValueError(f"{name} is {value!r:.80}; it must be three numbers")
    red, green, blue = numbers
    return float(red), float(green), float(blue)
