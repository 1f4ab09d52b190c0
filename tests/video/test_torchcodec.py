"""torchcodec: the pictures of PyAV, or a reason. A library made of PyAV stands in where it is missing."""

import os
import subprocess
import sys
import textwrap
from dataclasses import replace
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from tests.support.clips import turned, write
from tests.support.videos import decode
from tests.video.test_decode import EIGHT, ORDINARY, WHOLE, usable
from tests.video.test_frames import moving
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import VideoError
from timesformer_cli.video import DecodePool
from timesformer_cli.video.decode import READERS, reader_order
from timesformer_cli.video.decoders import torchcodec as reader
from timesformer_cli.video.decoders.base import ReaderDeclined, Reading, ReadJob
from timesformer_cli.video.decoders.pyav import read_in_order
from timesformer_cli.video.every_frame import decode_every
from timesformer_cli.video.messages import Decoded, DecodeRequest
from timesformer_cli.video.probe import examine
from timesformer_cli.video.safe_file import VideoFile
from timesformer_cli.video.tensor_picture import TensorPicture

needs_torchcodec = pytest.mark.skipif(
    not usable("torchcodec"), reason="torchcodec cannot be imported, or finds no FFmpeg"
)


class Frames:
    """torchcodec's `VideoDecoder`, of frames that PyAV decoded."""

    def __init__(self, source, *, dimension_order, device, seek_mode):
        assert (dimension_order, seek_mode) == ("NHWC", "exact")
        self.device, self.cpu_fallback = device, ""
        with av.open(source) as container:
            frames = list(container.decode(video=0))
            base = float(container.streams.video[0].time_base)
        self.metadata = SimpleNamespace(rotation=None)
        self.frames = [
            SimpleNamespace(
                data=torch.from_numpy(frame.to_ndarray(format="rgb24")),
                pts_seconds=frame.pts * base,
            )
            for frame in frames
        ]

    def __len__(self):
        return len(self.frames)

    def get_frame_at(self, index):
        return self.frames[index]

    def get_frames_played_at(self, seconds):
        return [
            max((f for f in self.frames if f.pts_seconds <= at), key=lambda f: f.pts_seconds)
            for at in seconds
        ]


@pytest.fixture
def library(monkeypatch):
    """A torchcodec whose decoder a test may change."""
    made = SimpleNamespace(
        ffmpeg_major_version=8, decoders=SimpleNamespace(VideoDecoder=type("D", (Frames,), {}))
    )
    monkeypatch.setitem(sys.modules, "torchcodec", made)
    return made


class Everything:
    """A picker that takes all frames."""

    next = last = None

    def __init__(self, interval=0.0, tail=0.0):
        self.reading, self.times, self.small = Reading([], []), [], []

    def offer(self, time, picture, small):
        self.times.append(time)
        self.small.append(small())
        self.reading.pictures.append(picture())
        return True

    def finish(self):
        return self.reading


def kept(picture, *, pixel_aspect):
    return np.asarray(picture)


def at_moments(path, moments=20, read=reader.read_torchcodec, prepare=kept, **described):
    """Pictures at moments spread unevenly over a file, seen by a reader."""
    with VideoFile(str(path)) as file:
        probed, indexed = examine(file)
        places = np.random.default_rng(moments).random(moments)
        wanted = sorted(probed.duration * float(place) for place in places)
        probed = replace(probed, **described)
        return read(ReadJob(file, probed, wanted, prepare, indexed=indexed))


def followed(path, read=reader.read_torchcodec):
    with VideoFile(str(path)) as file:
        picker = Everything()
        probed, _ = examine(file)
        read(ReadJob(file, probed, (), kept, follow=lambda interval, tail: picker))
        return picker


def same(ours, theirs):
    assert len(ours) == len(theirs) > 0
    return all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


# With any library -----------------------------------------------------------------------------------


def test_auto_leaves_it_out_and_its_name_takes_it_alone(tmp_path):
    with VideoFile(str(write(tmp_path / "a.mp4", 4))) as file:
        described, _ = examine(file)
    assert list(reader_order("auto", (), described)) == ["av", "decord", "opencv"]
    assert list(reader_order("auto", ("decord",), described)) == ["av", "opencv"]
    moving_picture = replace(described, container="webp")
    assert list(reader_order("auto", (), moving_picture)) == ["pillow"]
    assert list(reader_order("torchcodec", (), described)) == ["torchcodec"]
    assert "torchcodec" in READERS


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (None, "gpu"),
        (SimpleNamespace(ffmpeg_major_version=None), "apt install ffmpeg"),
    ],
    ids=["no library", "no FFmpeg"],
)
def test_what_is_missing_is_said_in_one_line(module, words, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec", module)
    with pytest.raises(VideoError, match=words) as caught:
        decode(str(write(tmp_path / "a.mp4", 4)), EIGHT, WHOLE, decoder="torchcodec")
    assert caught.value.kind == "decoder_missing" and "\n" not in str(caught.value)


@pytest.mark.parametrize("followed_too", [False, True])
def test_pictures_are_those_of_pyav(followed_too, library, tmp_path):
    path = write(tmp_path / "a.mkv", moving(40), size=(64, 48), options={"bf": "2", "g": "7"})
    if followed_too:
        ours, theirs = followed(path), followed(path, read_in_order)
        assert ours.times == theirs.times and len(ours.times) == 40
        assert same(ours.reading.pictures, theirs.reading.pictures)
        assert ours.small[0].shape == theirs.small[0].shape
    else:
        ours, theirs = at_moments(path), at_moments(path, read=read_in_order)
        assert same(ours.pictures, theirs.pictures)
        assert len(set(ours.chosen)) == len(set(theirs.chosen)) > 10


@pytest.mark.parametrize("look", [at_moments, followed])
def test_the_next_picture_in_the_place_of_a_lost_one_is_no_answer(look, library, tmp_path):
    path = write(tmp_path / "a.mp4", 12)

    class Lost(Frames):
        def __init__(self, source, **how):
            super().__init__(source, **how)
            self.frames[5] = self.frames[6]

        def get_frames_played_at(self, seconds):
            return [self.frames[min(int(seconds[0] * 30), 11)]]

    library.decoders.VideoDecoder = Lost
    with pytest.raises(ReaderDeclined, match="misses pictures"):
        look(path)


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"container": "avi"}, "mp4, mov, Matroska"),
        ({"pixel_format": "yuv420p10le"}, "yuv420p10le"),
        ({"pixel_format": "yuv444p"}, "yuv444p"),
        ({"pixel_format": ""}, "this"),
        ({"coded_width": 161}, "odd"),
        ({"coded_height": 121}, "odd"),
        ({"interlaced": True}, "interlaced"),
        ({"mirrored": True}, "mirror"),
        ({"video_streams": 2}, "streams"),
        ({"steady": False}, "impossible"),
        ({"ignore_edits": True}, "impossible"),
        ({"rotation": 180}, "turns it otherwise"),
        ({"coded_width": 80}, "shape"),
        ({"duration": 0.1}, "do not agree"),
    ],
    ids=str,
)
def test_what_was_seen_to_go_wrong_is_declined(described, words, library, tmp_path):
    path = write(tmp_path / "a.mp4", 12)
    assert len(at_moments(path).pictures) == 20
    with pytest.raises(ReaderDeclined, match=words):
        at_moments(path, **described)


def test_fragments_and_sizes_that_change_are_declined(library, tmp_path, monkeypatch):
    with pytest.raises(ReaderDeclined, match="fragmented"):
        at_moments(ORDINARY["fragmented.mp4"][0](tmp_path / "a.mp4"))
    monkeypatch.setattr(reader, "changes_size", lambda file: True)
    with pytest.raises(ReaderDeclined, match="one size"):
        at_moments(write(tmp_path / "b.mp4", 4))


def test_the_reason_of_a_long_message_is_its_first_line(library, tmp_path):
    def fails(source, **how):
        raise RuntimeError("decode, /far/away/Decoder.cpp:13, Invalid data\nand\nmore")

    library.decoders.VideoDecoder = fails
    with pytest.raises(ReaderDeclined) as caught:
        at_moments(write(tmp_path / "a.mp4", 4))
    assert str(caught.value) == "torchcodec cannot read it: Invalid data"


def test_a_card_is_taken_where_there_is_one_unless_it_cannot_decode_the_file(
    library, tmp_path, monkeypatch
):
    path, asked = write(tmp_path / "a.mp4", 12), []

    class Card(Frames):
        def __init__(self, source, *, device, **how):
            asked.append(device)
            super().__init__(source, device=device, **how)
            self.cpu_fallback = fallback

    library.decoders.VideoDecoder = Card
    fallback = "Video not supported"
    at_moments(path)  # on the processor that says nothing
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ReaderDeclined, match="the card does not decode it: Video not supported"):
        at_moments(path)
    fallback = ""
    at_moments(path)
    assert asked == ["cpu", "cuda", "cuda"]


@pytest.mark.parametrize("aspect", [1, 2])
def test_a_picture_on_a_card_becomes_the_crops_of_any_other(aspect, library, tmp_path, monkeypatch):
    """Its tensors lie in the memory of this machine here, else all is as on a card."""
    stored = turned(moving(12), -1)
    path = write(tmp_path / "a.mp4", stored, size=(48, 64), rotation=90)
    how = {"clips": 2, "crops": 3, "decoder": "torchcodec"}
    small = Preprocessing(resize=32, crop=(32, 32))

    class Turning(Frames):
        def __init__(self, source, **how):
            super().__init__(source, **how)
            self.metadata.rotation = 90.0
            for frame in self.frames:
                frame.data = frame.data.rot90(1)

    library.decoders.VideoDecoder = Turning
    near = decode(str(path), EIGHT, small, **how)
    monkeypatch.setattr(
        reader,
        "_stored",
        lambda pixels, probe, stored=reader._stored: TensorPicture(
            torch.from_numpy(np.ascontiguousarray(stored(pixels, probe)))
        ),
    )
    far = decode(str(path), EIGHT, small, **how)
    assert far.views == near.views and far.frames.shape == near.frames.shape == (6, 8, 32, 32, 3)
    assert np.abs(near.frames.astype(int) - far.frames).max() <= 1
    by_av = decode(str(path), EIGHT, small, **{**how, "decoder": "av"})
    assert np.array_equal(by_av.frames, near.frames) and by_av.views == near.views
    one, other = followed(path), followed(path, read_in_order)
    assert same(one.reading.pictures, other.reading.pictures)
    assert np.abs(one.small[0].astype(int) - other.small[0]).mean() < 30


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
@pytest.mark.parametrize(("card", "limit"), [(False, 6 << 30), (True, -1)])
def test_a_worker_has_no_limit_of_memory_beside_a_card(card, limit):
    code = f"""
        import os, resource, torch
        from timesformer_cli.video import worker
        torch.cuda.is_available = lambda: {card}
        worker.confine_decoder(os.getppid())
        worker._make_room("av")
        assert resource.getrlimit(resource.RLIMIT_AS)[0] == {6 << 30}
        worker._make_room("torchcodec")
        print(resource.getrlimit(resource.RLIMIT_AS)[0])
    """
    if subprocess.run(["bash", "-c", "ulimit -Hv"], capture_output=True).stdout != b"unlimited\n":
        pytest.skip("memory is limited here")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{limit}\n", done.stderr


# With torchcodec ------------------------------------------------------------------------------------


def test_all_pictures_of_a_part_are_kept_as_pyavs_are(library, tmp_path):
    path = write(tmp_path / "a.mp4", moving(40), size=(64, 48), options={"g": "7"})
    small = Preprocessing(resize=32, crop=(32, 32))
    ours, theirs = (
        decode_every(
            DecodeRequest(
                path=str(path),
                sampling=EIGHT,
                preprocessing=small,
                decoder=decoder,
                start=0.3,
                end=1.0,
                every=True,
            )
        )
        for decoder in ("torchcodec", "av")
    )
    assert ours.views[0].crop == "every" and ours.views[0].times == theirs.views[0].times
    assert np.array_equal(ours.frames, theirs.frames) and ours.frames.shape[1] == 22


@needs_torchcodec
def test_real_clips_give_pyavs_pictures_or_are_declined(real_clips):
    equal = declined = 0
    for path in sorted(real_clips.iterdir()):
        if path.suffix == ".csv":
            continue
        try:
            ours = at_moments(path)
        except ReaderDeclined:
            declined += 1
            continue
        assert same(ours.pictures, at_moments(path, read=read_in_order).pictures), path
        equal += 1
    assert equal >= 17 and declined <= 9


@needs_torchcodec
@pytest.mark.parametrize("name", ["plain.mp4", "open-gop.mkv", "vp9.webm", "rotated-90.mp4"])
def test_a_followed_file_gives_every_picture_of_pyav_at_its_time(name, tmp_path):
    path = ORDINARY[name][0](tmp_path / name)
    ours, theirs = followed(path), followed(path, read_in_order)
    assert ours.times == pytest.approx(theirs.times, abs=1e-6)
    assert same(ours.reading.pictures, theirs.reading.pictures)


@needs_torchcodec
def test_a_worker_reads_with_it_and_loads_torch_only_then(tmp_path):
    path = write(tmp_path / "a.mp4", 60)
    how = Sampling(frames=4, stride=4), Preprocessing(resize=60, crop=(60, 60))
    with DecodePool(decoder="torchcodec") as pool, DecodePool(decoder="av") as other:
        (ours,) = pool.decode([os.fspath(path)], *how)
        (theirs,) = other.decode([os.fspath(path)], *how)
    assert isinstance(ours, Decoded) and ours.decoder == "torchcodec"
    assert isinstance(theirs, Decoded) and np.array_equal(ours.frames, theirs.frames)
