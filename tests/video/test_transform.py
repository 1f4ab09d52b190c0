"""Resizing and cropping, against transformers' processor and against geometry."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.support.clips import barcode, read_barcode
from timesformer_cli.config import Preprocessing
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.video.facts import Orientation
from timesformer_cli.video.tensor_picture import TensorPicture
from timesformer_cli.video.transform import FILTERS, prepare_frame, resized_size


def processor(short_side: int, crop: tuple[int, int]) -> object:
    module = pytest.importorskip(
        "transformers.models.videomae.image_processing_pil_videomae", exc_type=ImportError
    )
    return module.VideoMAEImageProcessorPil(
        size={"shortest_edge": short_side},
        crop_size={"height": crop[0], "width": crop[1]},
        do_normalize=False,
        do_rescale=False,
    )


def theirs(frame: np.ndarray, short_side: int, crop: tuple[int, int]) -> np.ndarray:
    done = processor(short_side, crop)([frame], input_data_format="channels_last")  # type: ignore[operator]
    return np.asarray(done["pixel_values"][0][0]).transpose(1, 2, 0)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(64, 400),
    st.integers(64, 400),
    st.sampled_from([(64, (64, 64)), (80, (64, 48)), (96, (96, 96))]),
    st.integers(0, 2**32 - 1),
)
def test_random_frames_come_out_as_from_transformers(
    width: int, height: int, sizes: tuple[int, tuple[int, int]], seed: int
) -> None:
    frame = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    ours = prepare_frame(frame, Preprocessing(resize=sizes[0], crop=sizes[1]))["center"]
    assert ours.shape == (*sizes[1], 3)
    assert np.abs(ours.astype(int) - theirs(frame, *sizes)).max() <= 1


def test_real_clips_come_out_as_from_transformers(real_clips: Path) -> None:
    import av

    for name in ("making_cake.mp4", "mmaction2_demo.mp4", "v_SoccerJuggling_g23_c01.avi"):
        with av.open(str(real_clips / name)) as container:
            frame = next(container.decode(video=0)).to_ndarray(format="rgb24")
        ours = prepare_frame(frame, Preprocessing(resize=224, crop=(224, 224)))["center"]
        assert np.abs(ours.astype(int) - theirs(frame, 224, (224, 224))).max() <= 1


@pytest.mark.parametrize(
    ("shape", "names"),
    [((90, 160), ["left", "center", "right"]), ((160, 90), ["top", "center", "bottom"])],
)
def test_three_crops_lie_along_the_long_side(shape: tuple[int, int], names: list[str]) -> None:
    ramp = np.zeros((*shape, 3), np.uint8)
    along = np.linspace(0, 255, max(shape)).astype(np.uint8)
    ramp[:] = along[None, :, None] if shape[1] > shape[0] else along[:, None, None]
    crops = prepare_frame(ramp, Preprocessing(resize=90, crop=(90, 90)), crops=3)
    assert list(crops) == names
    first, middle, last = crops.values()
    assert first.min() == 0 and last.max() == 255
    assert first.mean() < middle.mean() < last.mean()
    centre = prepare_frame(ramp, Preprocessing(resize=90, crop=(90, 90)))["center"]
    assert np.array_equal(middle, centre)


def test_a_picture_smaller_than_the_crop_is_made_to_cover_it() -> None:
    for shape in ((40, 30), (30, 40), (500, 20), (20, 500)):
        frame = np.full((*shape, 3), 200, np.uint8)
        crop = prepare_frame(frame, Preprocessing(resize=50, crop=(64, 96)))["center"]
        assert crop.shape == (64, 96, 3)
        assert crop.min() == 200  # no padding


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_stored_pictures_are_turned_upright(turns: int, mirrored: bool) -> None:
    stored = np.rot90(barcode(173), -turns)
    stored = stored[:, ::-1] if mirrored else stored
    shown = prepare_frame(
        stored,
        Preprocessing(resize=120, crop=(120, 160)),
        orientation=Orientation(turns, mirrored),
    )["center"]
    assert read_barcode(shown) == 173
    assert np.array_equal(shown, barcode(173))


@pytest.mark.parametrize("turns", range(4))
def test_oblong_pixels_are_made_square(turns: int) -> None:
    shown = barcode(73, 240, 90)
    stored = np.rot90(shown, -turns)[:, ::2]
    whole = Preprocessing(resize=90, crop=(90, 240))
    picture = prepare_frame(stored, whole, orientation=Orientation(turns), pixel_aspect=2.0)[
        "center"
    ]
    assert picture.shape == shown.shape
    assert np.abs(picture.astype(int) - shown).mean() < 8
    assert read_barcode(picture) == 73


def test_a_picture_too_long_to_resize_is_refused() -> None:
    with pytest.raises(VideoError, match="too long") as caught:
        resized_size(8_000_000, 2, Preprocessing(resize=224, crop=(224, 224)))
    assert caught.value.kind == "too_large"


def test_two_crops_are_not_offered() -> None:
    with pytest.raises(UsageError, match="2 crops"):
        prepare_frame(barcode(0), Preprocessing(resize=64, crop=(64, 64)), crops=2)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(33, 300),
    st.integers(33, 300),
    st.sampled_from([0, 1, 3]),
    st.sampled_from([(64, (64, 64)), (80, (64, 48)), ((70, 90), (64, 48))]),
    st.sampled_from([1.0, 0.5, 4 / 3, 2.0]),
    st.builds(Orientation, st.integers(0, 3), st.booleans()),
    st.integers(0, 2**32 - 1),
)
def test_a_tensor_gives_the_crops_of_an_array(
    width: int,
    height: int,
    crops: int,
    sizes: tuple[int | tuple[int, int], tuple[int, int]],
    aspect: float,
    orientation: Orientation,
    seed: int,
) -> None:
    torch = pytest.importorskip("torch")
    frame = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    preprocessing = Preprocessing(resize=sizes[0], crop=sizes[1])
    how = {"orientation": orientation, "pixel_aspect": aspect, "crops": crops}
    ours = prepare_frame(TensorPicture(torch.from_numpy(frame)), preprocessing, **how)
    theirs = prepare_frame(frame, preprocessing, **how)
    assert list(ours) == list(theirs)
    for name, crop in ours.items():
        assert isinstance(crop, np.ndarray) and crop.dtype == np.uint8
        # Pillow 13 may change the height first; each of its two steps rounds.
        apart = np.abs(crop.astype(int) - theirs[name])
        assert apart.max() <= 2 and apart.mean() < 0.5


@pytest.mark.parametrize("filter", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(48, 64), (100, 300), (400, 90), (301, 299)])
def test_a_tensor_is_resized_as_pillow_does_it_width_first(
    filter: str, size: tuple[int, int]
) -> None:
    """In two steps, as Pillow did it in one before 13; black and white, so that edges overshoot."""
    torch = pytest.importorskip("torch")
    frame = np.random.default_rng(0).choice([0, 255], (200, 151, 3)).astype(np.uint8)
    theirs = Image.fromarray(frame).resize((size[0], 200), FILTERS[filter])
    theirs = theirs.resize(size, FILTERS[filter])
    ours = np.asarray(TensorPicture(torch.from_numpy(frame)).resized(size, filter))
    assert np.abs(ours.astype(int) - np.asarray(theirs)).max() <= 1
