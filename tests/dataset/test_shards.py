"""Labelled clips in tar files: what WebDataset writes, and what else may lie in one."""

import gc
import io
import json
import os
import shutil
import tarfile
import warnings
from pathlib import Path

import pytest

from tests.support import clips
from timesformer_cli.dataset.labelled import read_labelled_clips
from timesformer_cli.dataset.shards import joined_names, plain_name, shards_at
from timesformer_cli.errors import UsageError, VideoError
from timesformer_cli.video.safe_file import VideoFile
from timesformer_cli.video.tar_members import TarPart

VIDEO = b"\0\0\0\x18ftypmp42 and so on, of which nobody reads more here"


def shard(path: Path, *members: tuple[str, bytes | str] | tarfile.TarInfo) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for one in members:
            if isinstance(one, tarfile.TarInfo):
                tar.addfile(one)
                continue
            name, content = one
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def read(source: Path, **how):
    said: list[str] = []
    return read_labelled_clips(source, note=said.append, **how), said


def content(clip) -> bytes:
    name, *part = clip.member
    with VideoFile(name, TarPart(*part)) as file:
        return file.read_at(0, file.size)


def test_what_webdataset_writes_is_read_as_webdataset_reads_it(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    pattern = str(tmp_path / "train-%03d.tar")
    with webdataset.ShardWriter(pattern, maxcount=4, verbose=0) as sink:
        for number in range(10):
            beside = {"cls": number % 3} if number % 2 else {"json": {"label": f"n{number}"}}
            folder = "é/" if number > 5 else ""
            sink.write(
                {"__key__": f"{folder}{number:06d}", "mp4": VIDEO + bytes([number]), **beside}
            )
    names = [str(path) for path in sorted(tmp_path.glob("*.tar"))]
    wanted = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its files open
        for sample in webdataset.WebDataset(names, shardshuffle=False):
            label = (
                sample["cls"].decode() if "cls" in sample else json.loads(sample["json"])["label"]
            )
            wanted.append((f"{sample['__url__']}/{sample['__key__']}.mp4", label, sample["mp4"]))
        gc.collect()
    for source in (tmp_path / "train-{000..002}.tar", tmp_path, Path(joined_names(names))):
        found, said = read(source)
        assert [(clip.path, clip.label, content(clip)) for clip in found] == wanted
        assert {clip.split for clip in found} == {"train"} and not said


def test_what_a_json_says_of_its_video(tmp_path):
    said = {"Category": "Run", "start_time": "0:01", "end": 2.5, "split": "valid", "actor": 7}
    path = shard(
        tmp_path / "a.tar",
        ("x.mp4", VIDEO),
        ("x.json", json.dumps({**said, "fps": 3})),
        ("y.mp4", VIDEO),
        ("y.json", '"Walk"'),
        ("z.left.MP4", VIDEO),
        ("z.right.mp4", VIDEO),
        ("z.cls", "5\n"),
        ("z.right.txt", " six "),
        ("z.txt", "not read"),
        ("._z.mp4", VIDEO),
        ("readme.md", "words"),
    )
    (x, y, left, right), notes = read(path, group_by="actor")
    assert (x.label, x.start, x.end, x.split, x.group) == ("Run", 1.0, 2.5, "val", "7")
    assert (y.label, y.start, y.end, y.split) == ("Walk", 0.0, None, None)
    assert (left.label, right.label) == ("5", "5")
    assert notes == [f"{path}: not used: .txt beside .cls (2), 'fps' in .json (1)"]
    (*_, right), _ = read(path, group_by="folder")
    assert right.group == str(path)


def test_several_labels(tmp_path):
    path = shard(
        tmp_path / "a.tar",
        *((f"{name}.mp4", VIDEO) for name in "abc"),
        ("a.txt", "run|walk"),
        ("b.json", '{"labels": ["walk", "jump"]}'),
        ("c.json", '{"labels": []}'),
    )
    found, _ = read(path, multi_label=True)
    assert [clip.classes for clip in found] == [("run", "walk"), ("walk", "jump"), ()]
    found, said = read(path)
    assert [clip.label for clip in found] == ["run|walk"]
    assert f"left out: {path}/b.mp4: has 2 labels; --multi-label reads them" in said


def link(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize(
    ("members", "fault"),
    [
        ([("../b.mp4", VIDEO)], "/../b.mp4: its name leads out of its tar file"),
        ([("/b.mp4", VIDEO)], "//b.mp4: its name leads out of its tar file"),
        ([link("b.mp4", tarfile.SYMTYPE)], "/b.mp4: is no plain file in its tar file"),
        ([link("b.cls", tarfile.LNKTYPE)], "/b.cls: is no plain file in its tar file"),
        ([link("b.mp4", tarfile.CHRTYPE)], "/b.mp4: is no plain file in its tar file"),
        ([("b.mp4", b"")], "/b.mp4: is empty (0 bytes)"),
        ([("b.mp4", VIDEO)], "/b.mp4: a video without a label (.cls, .txt or .json)"),
        ([("b.cls", "1")], "/b.cls: a label without a video"),
        ([("b.mp4", VIDEO), ("b.cls", "1"), ("b.mp4", VIDEO)], "/b.mp4: is in its tar file twice"),
        ([("b.mp4", VIDEO), ("b.cls", "1"), ("b.cls", "2")], "/b.cls: is in its tar file twice"),
        ([("b.mp4", VIDEO), ("b.cls", " \n")], "/b.mp4: its label is empty"),
        ([("b.mp4", VIDEO), ("b.txt", "a\nb")], "/b.txt: has several lines, and a label is one"),
        ([("b.mp4", VIDEO), ("b.txt", b"\xff\xfe")], "/b.txt: is not UTF-8"),
        ([("b.mp4", VIDEO), ("b.json", "{")], "/b.json: is no JSON ("),
        ([("b.mp4", VIDEO), ("b.json", "[" * 60_000)], "/b.json: is no JSON ("),
        ([("b.mp4", VIDEO), ("b.json", '{"label": null}')], "/b.json: a label is a text or a number"),
        ([("b.mp4", VIDEO), ("b.json", '{"label": "x", "end": -1}')], "/b.json: end is -1"),
        ([("b.mp4", VIDEO), ("b.json", '{"label": "x", "start": 2, "end": 1}')], "its part ends at 1 s"),
        ([("b.mp4", VIDEO), ("b.json", '{"class": 1, "target": 2}')], "may each be the label"),
        ([("b.mp4", VIDEO), ("b.txt", b"x" * (1 << 17))], "/b.txt: has more than 64 KB"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named_and_the_others_go_on(tmp_path, members, fault):
    path = shard(tmp_path / "s.tar", ("a.mp4", VIDEO), ("a.cls", "0"), *members)
    (clip,), said = read(path)
    assert clip.path == f"{path}/a.mp4"
    told = [line for line in said if fault in line]
    assert len(told) == 1 and told[0].startswith(f"left out: {path}"), said
    assert "\n" not in told[0]
    assert list(tmp_path.iterdir()) == [path]


def test_of_a_cut_tar_file_and_of_none_at_all_the_others_are_read(tmp_path):
    whole = shard(tmp_path / "0.tar", ("a.cls", "0"), ("a.mp4", VIDEO))
    cut = shard(tmp_path / "1.tar", ("a.cls", "1"), ("a.mp4", VIDEO), ("b.cls", "1"))
    cut.write_bytes(cut.read_bytes()[:2300])
    (tmp_path / "2.tar").write_bytes(os.urandom(5000))
    found, said = read(tmp_path)
    assert [clip.file for clip in found] == [str(whole), str(cut)]
    assert f"left out: {cut}: is cut short; members before that are read" in said
    assert any(
        line.startswith(f"left out: {tmp_path}/2.tar: is no plain tar file") for line in said
    )


def test_what_changed_since_it_was_listed_is_not_read(tmp_path):
    path = shard(tmp_path / "s.tar", ("a.mp4", VIDEO), ("a.cls", "0"))
    (clip,), _ = read(path)
    path.write_bytes(path.read_bytes()[:530])
    with pytest.raises(VideoError, match="cut short"):
        content(clip)
    shard(path, ("b.mp4", VIDEO), ("b.cls", "1"))
    with pytest.raises(VideoError, match="is another one than when it was listed"):
        content(clip)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(VideoError, match="not a regular file"):
        content(clip)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_of_long_names_are_read_whoever_wrote_them(tmp_path, format):
    stem = "/".join("é" * 20 for _ in range(3 if format == tarfile.USTAR_FORMAT else 8))
    with tarfile.open(tmp_path / "s.tar", "w", format=format) as tar:
        for name, data in ((f"./{stem}.mp4", VIDEO), (f"./{stem}.txt", b"run")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    (clip,), said = read(tmp_path / "s.tar")
    assert (clip.label, content(clip), said) == ("run", VIDEO, [])


def test_splits_are_in_the_names_of_tar_files_or_of_their_folders(tmp_path):
    member = ("a.mp4", VIDEO), ("a.cls", "0")
    for name in (
        "x/train-000.tar",
        "x/Val_00.tar",
        "y/training/0.tar",
        "y/dev/0.tar",
        "z/set-1.tar",
    ):
        shard(tmp_path / name, *member)
    for folder, splits in (("x", {"train", "val"}), ("y", {"train", "val"}), ("z", {None})):
        assert {clip.split for clip in read(tmp_path / folder)[0]} == splits
    shard(tmp_path / "x" / "more.tar", *member)
    with pytest.raises(
        UsageError, match=r"train-000.tar is called like a split|Val_00.tar is called"
    ):
        read(tmp_path / "x")


def test_a_folder_of_classes_stays_one(tmp_path):
    shard(tmp_path / "all.tar", ("a.mp4", VIDEO), ("a.cls", "0"))
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "batch.png").write_bytes(b"")
    assert [clip.file for clip in read(tmp_path)[0]] == [str(tmp_path / "all.tar")]
    shutil.rmtree(tmp_path / "runs")
    for label in ("run", "walk"):
        (tmp_path / label).mkdir()
        clips.write(tmp_path / label / "a.mp4", 4)
    found, said = read(tmp_path)
    assert [clip.label for clip in found] == ["run", "walk"]
    assert said == [
        f"{tmp_path}: tar files beside folders of videos are not read ({tmp_path}/all.tar)"
    ]


def test_names_in_braces(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a-008", "a-009", "a-010", "b"):
        shard(tmp_path / f"{name}.tar", ("a.mp4", VIDEO), ("a.cls", "0"))

    def named(text):
        return [str(path) for path, _ in shards_at(Path(text), lambda _: None)]

    three = ["a-008.tar", "a-009.tar", "a-010.tar"]
    assert named("a-{008..010}.tar") == three
    assert named("{a-008,b}.tar") == ["a-008.tar", "b.tar"]
    assert joined_names(three) == "a-0{08..10}.tar" and named("a-0{08..10}.tar") == three
    assert joined_names(["b.tar", "a-008.tar"]) == "{b,a-008}.tar"
    assert joined_names(["b.tar", "b.tar"]) == "b.tar"
    assert plain_name(Path("s/train-{000..009}.tar")) == "train"
    assert plain_name(Path("s/{0..9}.tar")) == "s" and plain_name(Path("clips.csv")) == "clips"
    for text, message in (
        ("a-{008..011}.tar", r"a-011.tar: does not exist"),
        ("a-{0..999999999}.tar", "means 1,000,000,000 tar files"),
        ("{0..999}{0..999}.tar", "means 1,000,000 tar files"),
    ):
        with pytest.raises(UsageError, match=message):
            named(text)
    (tmp_path / "c.tar.gz").write_bytes(b"")
    with pytest.raises(UsageError, match=r"unpack it to c\.tar "):
        named("c.tar.gz")
    for names, message in (
        (["a.csv", "b.tar"], "is no tar file"),
        (["a,b.tar", "c.tar"], "a comma"),
    ):
        with pytest.raises(UsageError, match=message):
            joined_names(names)
