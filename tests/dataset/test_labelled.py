"""Labelled clips read from folders and tables, split, and jittered in time."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.dataset.labelled import class_names, read_labelled_clips
from timesformer_cli.dataset.splits import split_clips
from timesformer_cli.errors import UsageError
from timesformer_cli.training.clips import TrainingClip, TrainingClips, draws_held
from timesformer_cli.video import VideoPath
from timesformer_cli.video.sample import Jitter, plan_clips, span


def table(folder: Path, content: str | bytes, name: str = "clips.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\0")
    return path


def test_a_folder_a_class(tmp_path):
    for name in ("wave, slowly/a.mp4", "wave, slowly/deep/b.MP4", "saut à la corde/c.avi"):
        touch(tmp_path / name)
    touch(tmp_path / "wave, slowly" / "notes.txt")
    touch(tmp_path / ".hidden" / "d.mp4")
    items = read_labelled_clips(tmp_path)
    assert Counter(item.label for item in items) == {"wave, slowly": 2, "saut à la corde": 1}
    assert {item.split for item in items} == {None}


def test_folders_of_splits(tmp_path):
    for name in ("train/a/1.mp4", "train/b/2.mp4", "val/a/3.mp4", "test/b/4.mp4"):
        touch(tmp_path / name)
    found = {(item.label, item.split) for item in read_labelled_clips(tmp_path)}
    assert found == {("a", "train"), ("b", "train"), ("a", "val"), ("b", "test")}


def test_an_empty_class_is_said(tmp_path):
    touch(tmp_path / "a" / "1.mp4")
    (tmp_path / "b").mkdir()
    with pytest.raises(UsageError, match=r"/b: is a directory without videos"):
        read_labelled_clips(tmp_path)


def test_a_folder_without_classes_is_said(tmp_path):
    touch(tmp_path / "1.mp4")
    with pytest.raises(UsageError, match="each class"):
        read_labelled_clips(tmp_path)


def test_a_table_with_bom_crlf_quotes_and_unicode(tmp_path):
    text = 'path,label,split,group\r\n"a, b.mp4","Wäsche, nass",train,s1\r\nc.mp4,x y,val,\r\n\r\n'
    items = read_labelled_clips(table(tmp_path, b"\xef\xbb\xbf" + text.encode()))
    assert items == [
        LabelledClip(str(tmp_path / "a, b.mp4"), "Wäsche, nass", "train", "s1"),
        LabelledClip(str(tmp_path / "c.mp4"), "x y", "val", None),
    ]


def test_tabs_and_other_columns(tmp_path):
    items = read_labelled_clips(
        table(tmp_path, "label\tcamera\tpath\nrun\tleft\t/x/1.mp4\n", "a.tsv")
    )
    assert items == [LabelledClip("/x/1.mp4", "run")]


def test_a_group_is_a_column_a_folder_or_a_pattern(tmp_path):
    path = table(tmp_path, "path,label,Scene\nd/7_1.mp4,a,one\nd/8_2.mp4,b,two\n")
    assert [item.group for item in read_labelled_clips(path, group_by="scene")] == ["one", "two"]
    assert [item.group for item in read_labelled_clips(path, group_by="folder")] == [
        str(tmp_path / "d")
    ] * 2
    assert [item.group for item in read_labelled_clips(path, group_by=r"(\d)_\d\.mp4")] == [
        "7",
        "8",
    ]
    with pytest.raises(UsageError, match="neither a column nor in"):
        read_labelled_clips(path, group_by="nowhere")
    with pytest.raises(UsageError, match="no column of that name"):
        read_labelled_clips(path, group_by="(")


def test_a_list_of_paths_and_numbers(tmp_path):
    path = table(tmp_path, "clips/a b.mp4 1\r\nc.mp4 0\r\n", "val.txt")
    items = read_labelled_clips(path, labels=("sit", "stand"))
    assert [(Path(item.path).name, item.label) for item in items] == [
        ("a b.mp4", "stand"),
        ("c.mp4", "sit"),
    ]
    assert class_names(read_labelled_clips(table(tmp_path, "a 10\nb 9\n", "k.txt"))) == ("9", "10")
    with pytest.raises(UsageError, match=r"val.txt:1: class 1 of 1"):
        read_labelled_clips(path, labels=("sit",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label\na.mp4,x,y\n", r":2: 3 cells under 2 headings"),
        ("path,label\na.mp4,\n", r":2: no label"),
        ("path,label\n,x\n", r":2: no path"),
        ("path,colour\na.mp4,x\n", r":1: no column 'label'; there are path, colour"),
        ("path,label,split\na.mp4,x,holdout\n", r":2: split 'holdout'"),
        ("a.mp4 walking\n", r":1: neither a heading"),
        ('path,label\n"a.mp4,x\n', r":2: "),
        (b"path,label\na.mp4,\xff\n", r":2: not UTF-8"),
        ("path,label\n", r"no clips"),
        ("", r"no clips"),
    ],
)
def test_what_is_wrong_in_a_table_is_said_with_its_line(tmp_path, content, message):
    with pytest.raises(UsageError, match=message):
        read_labelled_clips(table(tmp_path, content))


def test_a_missing_table_is_said(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_labelled_clips(tmp_path / "none.csv")


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8)), min_size=1, max_size=60),
    st.floats(0, 0.9),
    st.integers(0, 5),
)
def test_no_group_is_split_and_no_class_is_lost(clips, fraction, seed):
    items = [LabelledClip(str(n), label, None, f"{g}") for n, (label, g) in enumerate(clips)]
    found = split_clips(items, fraction, seed)
    assert [(one.path, one.label) for one in found] == [(one.path, one.label) for one in items]
    sides = {one.group: one.split for one in found}
    assert all(one.split == sides[one.group] for one in found)
    assert {one.label for one in found if one.split == "train"} == {one.label for one in items}


def test_a_split_is_stratified_and_the_same_again():
    items = [LabelledClip(f"{label}{n}", label) for label in "ab" for n in range(20)]
    found = split_clips(items, 0.25, seed=3)
    assert Counter(one.label for one in found if one.split == "val") == {"a": 5, "b": 5}
    assert split_clips(items, 0.25, seed=3) == found
    assert split_clips(items, 0.25, seed=4) != found


def test_a_split_that_is_there_is_kept():
    items = [LabelledClip("1", "a", "train"), LabelledClip("2", "a", "val"), LabelledClip("3", "a")]
    assert [one.split for one in split_clips(items, 0.5, seed=0)] == ["train", "val", "train"]


def test_a_class_of_one_clip_stays_in_training():
    items = [LabelledClip("1", "a"), *(LabelledClip(f"b{n}", "b") for n in range(10))]
    assert split_clips(items, 0.5, seed=0)[0].split == "train"


@given(
    st.floats(0.05, 60),
    st.integers(1, 16),
    st.sampled_from([None, 1, 4, 32]),
    st.floats(0, 1),
    st.floats(0.5, 2),
)
def test_a_jittered_clip_lies_within_its_video(duration, frames, stride, offset, pace):
    sampling = Sampling(frames=frames, stride=stride)
    (clip,) = plan_clips(duration, sampling, jitter=Jitter((offset,) * frames, pace)).clips
    assert len(clip.times) == frames
    assert all(0 <= moment <= duration for moment in clip.times)
    assert list(clip.times) == sorted(clip.times)


def test_jitter_moves_the_start_and_the_pace():
    sampling = Sampling(frames=8, stride=4)
    (clip,) = plan_clips(10.0, sampling, jitter=Jitter((1.0,) * 8, 2.0)).clips
    assert clip.end == pytest.approx(10.0)
    assert clip.end - clip.start == pytest.approx(2 * span(sampling))
    (uniform,) = plan_clips(
        8.0, Sampling(frames=4, stride=None), jitter=Jitter((0, 0.5, 1, 0.5))
    ).clips
    assert uniform.times == pytest.approx((0, 3, 6, 7))


class Pool:
    """Answers every request with its own moments, and remembers them."""

    def __init__(self):
        self.asked = []

    def decode(self, paths, sampling, preprocessing, crops, *, jitters, ahead):
        for path, jitter in zip(paths, jitters, strict=True):
            self.asked.append((path, jitter))
            yield SimpleNamespace(frames=np.array([jitter.offsets]))


@pytest.mark.parametrize(("draws", "decoded"), [(2, 6), (None, 15)])
def test_small_data_is_decoded_once_a_draw(draws, decoded):
    def make() -> TrainingClips:
        return TrainingClips(
            pool=Pool(),
            examples=[TrainingClip(VideoPath(f"{n}.mp4"), 0) for n in range(3)],
            sampling=Sampling(frames=4, stride=2),
            preprocessing=Preprocessing(resize=8, crop=(8, 8)),
            pace=1.25,
            draws=draws,
        )

    clips, later = make(), make()
    seen = [dict(clips.read(clips.order(epoch), epoch)) for epoch in range(5)]
    assert len(clips.pool.asked) == decoded
    assert not np.array_equal(seen[0][0], seen[1][0])
    assert np.array_equal(seen[0][0], seen[2][0]) == (draws == 2)
    assert np.array_equal(dict(later.read([1], 4))[1], seen[4][1])  # whatever was read before
    assert all(0.8 <= jitter.pace <= 1.25 for _, jitter in clips.pool.asked)


def test_only_what_fits_is_held():
    assert draws_held(100 << 20) == 8
    assert draws_held(1 << 30) is None
