"""Decoded frames on disk: the same clips with and without, within a bound, whatever happens to it."""

import os
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.dataset.test_shards import shard
from tests.support import clips
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.video import DecodePool, VideoPath
from timesformer_cli.video import frame_cache as module
from timesformer_cli.video.frame_cache import FrameCache
from timesformer_cli.video.messages import DecodeRequest
from timesformer_cli.video.sample import Jitter

SIZE = Preprocessing(resize=36, crop=(32, 32))
STRIDED, SPREAD = Sampling(frames=4, stride=8), Sampling(frames=4, stride=None)
RANDOM = np.random.default_rng(0)
JITTERS = [Jitter(tuple(RANDOM.random(4)), 0.8 + 0.4 * RANDOM.random()) for _ in range(5)]
JITTERS += [Jitter((0.0,) * 4), Jitter((1.0,) * 4)]


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> list[VideoPath]:
    """Videos of several kinds, parts of them, pictures, and a member of a tar file."""
    folder = tmp_path_factory.mktemp("videos")
    plain = clips.write(folder / "plain.mp4", 70)
    uneven = clips.write(
        folder / "uneven.mkv", 60, pts=lambda n: n * n * 3, time_base=Fraction(1, 1000)
    )
    turned = clips.write(folder / "turned.mp4", 40, rotation=90)
    old = clips.write(folder / "old.avi", 50)  # its times run backwards: it has B-frames
    stream = clips.write(folder / "stream.ts", 50, codec="mpeg2video")
    alone = clips.write(folder / "alone.mp4", 1)
    pictures = folder / "pictures"
    pictures.mkdir()
    for number in range(20):
        Image.fromarray(clips.barcode(number)).save(pictures / f"{number:03}.png")
    tar = shard(folder / "s.tar", ("a.mp4", plain.read_bytes()))
    place = tar.read_bytes().index(plain.read_bytes())
    from timesformer_cli.video.tar_members import tar_members

    with tar.open("rb") as file:
        (member,) = tar_members(file, tar.stat().st_size, lambda _: True)
    assert member.part.offset == place
    whole = [str(path) for path in (plain, uneven, turned, old, stream, alone)]
    return [
        *map(VideoPath, whole),
        VideoPath(str(plain), start=0.51, end=1.72),
        VideoPath(str(old), start=0.3),
        VideoPath(str(uneven), start=1.0, end=6.0),
        VideoPath(str(pictures), fps=10.0),
        VideoPath(str(pictures), fps=10.0, start=0.55, end=1.3),
        VideoPath(f"{tar}/a.mp4", member=(str(tar), *member.part)),
    ]


def decoded(pool, videos, sampling=STRIDED, jitters=(None,), crops=0):
    listed = [(video, jitter) for video in videos for jitter in jitters]
    videos, jitters = zip(*listed, strict=True)
    return [
        outcome if isinstance(outcome, VideoError) else outcome.frames
        for outcome in pool.decode(videos, sampling, SIZE, crops=crops, jitters=jitters)
    ]


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.frames"))


def same(one, other) -> bool:
    pairs = zip(one, other, strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


def test_clips_are_the_same_bit_for_bit_with_and_without(videos, tmp_path, monkeypatch):
    with DecodePool(1) as plain, DecodePool(1, cache=FrameCache(tmp_path, 1 << 30)) as kept:
        for sampling in (STRIDED, SPREAD):
            wanted = decoded(plain, videos, sampling, JITTERS)
            assert same(decoded(kept, videos, sampling, JITTERS), wanted)  # some hits already
        # Of a part of a file whose times run backwards, nothing is certain enough.
        assert len(entries(tmp_path)) == len(videos) - 1, "one serves any moment and sampling"
        middles = decoded(plain, videos, crops=1)
        assert same(decoded(kept, videos, crops=1), middles)
        assert len(entries(tmp_path)) == 2 * len(videos) - 1
    few, count = [], len(JITTERS)
    for number, video in enumerate(videos):
        if not (video.path.endswith("old.avi") and video.start):
            few.append((video, wanted[number * count : (number + 1) * count]))
    with DecodePool(1, cache=FrameCache(tmp_path, 1 << 30)) as kept:  # as in the next run
        monkeypatch.setattr(kept, "_run", lambda *_: pytest.fail("decoded"))
        for video, frames in few:
            assert same(decoded(kept, [video], SPREAD, JITTERS), frames)
        assert same(decoded(kept, videos, crops=1), middles)


def test_what_is_not_as_it_was_written_is_decoded_again(videos, tmp_path):
    video = videos[:1]
    with DecodePool(1, cache=FrameCache(tmp_path, 1 << 30)) as pool:
        wanted = decoded(pool, video, jitters=JITTERS)
        (entry,) = entries(tmp_path)
        whole = entry.read_bytes()
        for spoil in (
            lambda data: data[:-1],
            lambda data: data[:20],
            lambda data: b"",
            lambda data: data + b"x",
            lambda data: data[:60] + b"x" + data[61:],
            lambda data: data[:-40_000] + b"\0" * 40_000,
            lambda data: b"x" * len(data),
        ):
            entry.write_bytes(spoil(whole))
            assert same(decoded(pool, video, jitters=JITTERS), wanted)
            assert entries(tmp_path) == [entry] and entry.read_bytes() == whole


def test_another_file_or_size_under_the_same_name_is_another_entry(tmp_path):
    path, folder = tmp_path / "a.mp4", tmp_path / "cache"
    with DecodePool(1, cache=FrameCache(folder, 1 << 30)) as pool, DecodePool(1) as plain:
        for number, frames in enumerate((40, 41), start=1):
            clips.write(path, frames)
            video = [VideoPath(str(path))]
            assert same(
                decoded(pool, video, SPREAD, JITTERS), decoded(plain, video, SPREAD, JITTERS)
            )
            assert len(entries(folder)) == number
        larger = Preprocessing(resize=40, crop=(32, 32))
        (outcome,) = pool.decode(video, SPREAD, larger, crops=0, jitters=JITTERS[:1])
        assert outcome.frames.shape[2] == 40 and len(entries(folder)) == 3


def test_what_cannot_be_kept_whole_is_decoded_as_ever(videos, tmp_path):
    folder = tmp_path / "cache"
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0\0\0\x18ftypmp42 and no more than that")
    listed = [VideoPath(str(broken)), VideoPath(str(tmp_path / "none.mp4"))]
    listed.append(videos[0]._replace(start=60.0))  # behind the end
    large = Preprocessing(resize=1500, crop=(32, 32))
    with DecodePool(1, cache=FrameCache(folder, 1 << 30)) as pool, DecodePool(1) as plain:
        one, other = (decoded(each, listed, SPREAD, JITTERS[:2]) for each in (pool, plain))
        assert [str(error) for error in one] == [str(error) for error in other]
        one, other = (
            [
                found.frames
                for found in each.decode(videos[:1], SPREAD, large, crops=0, jitters=JITTERS)
            ]
            for each in (pool, plain)
        )
        assert same(one, other) and entries(folder) == []


def test_it_stays_within_its_bound_and_the_oldest_go(tmp_path):
    folder, said = tmp_path / "cache", list[str]()
    made = [VideoPath(str(clips.write(tmp_path / f"{n}.mp4", 30 + n))) for n in range(8)]
    with DecodePool(1, cache=FrameCache(folder, 1 << 30)) as pool:
        decoded(pool, made[:1], jitters=JITTERS[:1])
    (first,) = entries(folder)
    limit = int(first.stat().st_size * 4.2)
    os.utime(first, (1, 1))
    foreign = folder / "notes.txt"
    foreign.write_bytes(b"x" * limit)
    half = first.with_name(f".{first.name}.77.part")
    half.write_bytes(b"x" * 1000)
    os.utime(half, (1, 1))

    def total() -> int:
        return sum(path.stat().st_size for path in folder.rglob("*.frames*"))

    cache = FrameCache(folder, limit, said.append)
    asked = DecodeRequest(
        path=made[0].path, sampling=SPREAD, preprocessing=SIZE, crops=0, jitter=JITTERS[0]
    )
    assert cache.asking(asked, "key").every
    with DecodePool(1, cache=cache) as pool:
        decoded(pool, made[1:5], jitters=JITTERS[:1])
        assert total() <= limit and not first.exists() and not half.exists()
        assert len(entries(folder)) == 3, "what this run has used stays"
        before = entries(folder)
        for _ in range(2):
            decoded(pool, made[1:], jitters=JITTERS[:1])
            assert entries(folder) == before
    assert said == [
        f"{folder}: is full; what finds no room in it is decoded in every epoch (--cache-size allows "
        "more)"
    ]
    assert not cache.asking(asked, "key").every, "all pictures are read only to be kept"
    assert foreign.exists()
    time.sleep(0.01)
    with DecodePool(1, cache=FrameCache(folder, limit)) as pool:  # another run, of other videos
        decoded(pool, made[5:], jitters=JITTERS[:1])
    assert total() <= limit and len(entries(folder)) == 3 and not set(before) & set(entries(folder))
    FrameCache(folder, limit // 3)
    assert len(entries(folder)) == 1


def test_two_runs_share_it(videos, tmp_path):
    with DecodePool(1) as plain:
        wanted = decoded(plain, videos, jitters=JITTERS[:4])
    found = {}

    def run(number: int) -> None:
        with DecodePool(2, cache=FrameCache(tmp_path, 1 << 30)) as pool:
            found[number] = decoded(pool, videos, jitters=JITTERS[:4])

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same(found[0], wanted) and same(found[1], wanted)
    assert len(entries(tmp_path)) == len(videos) - 1
    assert not list(tmp_path.rglob("*.part"))


def test_a_full_disk_is_said_once_and_costs_nothing_else(videos, tmp_path, monkeypatch):
    said: list[str] = []

    def full(*_, **how):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "replacing", full)
    with DecodePool(1, cache=FrameCache(tmp_path, 1 << 30, said.append)) as pool:
        outcomes = decoded(pool, videos[:3], jitters=JITTERS[:2])
    assert all(isinstance(outcome, np.ndarray) for outcome in outcomes)
    assert said == [
        f"{tmp_path}: cannot be written (No space left on device); no more frames are kept"
    ]


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot be a folder"):
        FrameCache(tmp_path / "file", 1 << 30)
