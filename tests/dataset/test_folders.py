"""Split and class folders as people name them, and what is a question in them."""

from pathlib import Path

import pytest

from tests.support.public_cases import public_case
from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.dataset.labelled import read_labelled_clips
from timesformer_cli.dataset.split_names import split_named
from timesformer_cli.errors import UsageError
from timesformer_cli.evaluation.run import read_evaluation_clips


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0")


def splits(folder: Path) -> set[tuple[str | None, str]]:
    return {(clip.split, clip.label) for clip in read_labelled_clips(folder)}


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train Train TRAIN training Training_Set train-set trainset train_videos"),
        ("val", "val Val valid validation VALIDATION dev val_set ValidationSet validation-data"),
        ("test", "test TEST testing Test_Set test-split testset TestSet"),
        (None, "walk eval trainer tested latest train2 set rain training-for-a-test data devil"),
    ],
)
def test_a_split_is_known_in_every_spelling(split, names):
    assert {name: split_named(name) for name in names.split()} == dict.fromkeys(
        names.split(), split
    )
    assert split_named("Test Set") == "test"


def test_the_splits_of_the_public_case():
    expected = {(split, label) for split in ("train", "val", "test") for label in ("run", "walk")}
    assert splits(public_case("data/split_validation")) == expected


@pytest.mark.parametrize("names", ["Train dev TESTING", "training Valid Test_Set", "train"])
def test_split_folders_in_other_words(tmp_path, names):
    for name in names.split():
        touch(tmp_path, f"{name}/run/1.mp4", f"{name}/train/2.mp4")  # a class may be called so here
    found = splits(tmp_path)
    assert {label for _, label in found} == {"run", "train"}
    assert [split for split, _ in sorted(found)][::2] == sorted(map(split_named, names.split()))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("test/1.mp4 walk/2.mp4 run/3.mp4", "'test' is called like a split, and 'run', 'walk'"),
        ("Training/1.mp4 car/2.mp4", "'Training' is called like a split, and 'car'"),
        ("dev/1.mp4 qa/2.mp4 ops/3.mp4", "'dev' is called like a split, and 'ops', 'qa'"),
        (
            "train/a/1.mp4 val/a/2.mp4 notes/x.txt",
            "'train', 'val' are called like splits, and 'notes'",
        ),
        ("train/a/1.mp4 __MACOSX/a/._1.mp4", "and '__MACOSX' beside it not"),
        ("train/a/1.mp4 val/a/2.mp4 annotations/3.mp4", "move 'annotations' elsewhere"),
        ("train/a/1.mp4 eval/a/2.mp4", "'eval' beside it not"),
        (
            "train/a/1.mp4 val/a/2.mp4 validation/a/3.mp4",
            "'val', 'validation' are one split in two",
        ),
        ("Train/a/1.mp4 train/a/2.mp4", "'Train', 'train' are one split"),
        ("train/1.mp4 test/2.mp4", "/test: it is called like a split and has no class folders"),
        ("train/a/1.mp4 val/x.txt", "/val: it is called like a split and has no class folders"),
        ("walk/train/1.mp4 walk/val/2.mp4 run/train/3.mp4", "/run: 'train' in it are called like"),
    ],
)
def test_what_may_be_a_split_or_a_class_is_a_question(tmp_path, names, said):
    touch(tmp_path, *names.split())
    with pytest.raises(UsageError) as caught:
        read_labelled_clips(tmp_path)
    assert said in str(caught.value) and str(tmp_path) in str(caught.value)


def test_classes_alone_are_classes(tmp_path):
    touch(tmp_path, "run/1.mp4", "walk/deep/2.mp4", "walk/notes/x.txt", ".git/train", "labels.txt")
    assert splits(tmp_path) == {(None, "run"), (None, "walk")}


def test_a_linked_class_is_read_and_a_link_to_nothing_is_said(tmp_path):
    touch(tmp_path, "far/1.mp4", "data/run/2.mp4")
    (tmp_path / "data" / "walk").symlink_to(tmp_path / "far")
    assert splits(tmp_path / "data") == {(None, "run"), (None, "walk")}
    (tmp_path / "data" / "sit").symlink_to("nowhere")
    with pytest.raises(UsageError, match="/sit: is a link to a file that does not exist"):
        read_labelled_clips(tmp_path / "data")


def test_a_class_is_the_same_in_both_unicode_forms(tmp_path):
    touch(tmp_path, "train/caf\u00e9/1.mp4", "val/cafe\u0301/2.mp4")
    assert splits(tmp_path) == {("train", "caf\u00e9"), ("val", "caf\u00e9")}


def test_a_clip_in_two_classes_by_a_link_is_said(tmp_path):
    touch(tmp_path, "run/1.mp4", "walk/2.mp4")
    (tmp_path / "walk" / "3.mp4").symlink_to("../run/1.mp4")
    with pytest.raises(UsageError, match=r"walk/3.mp4 is labelled 'run' \(as .*run/1.mp4\) and"):
        read_evaluation_clips(tmp_path)


def test_a_clip_of_one_class_by_a_link_counts_once(tmp_path):
    touch(tmp_path, "run/1.mp4")
    (tmp_path / "run" / "2.mp4").symlink_to("1.mp4")
    said: list[str] = []
    clips = read_evaluation_clips(tmp_path, note=said.append)
    assert clips == [LabelledClip(str(tmp_path / "run/1.mp4"), "run")]
    assert said == [f"{tmp_path}: 1 clip counts once, though listed again"]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("set1/run/1.mp4 set1/walk/2.mp4 set2/run/3.mp4", "outer ones ('set1', 'set2')"),
        ("run/ann/1.mp4 walk/ann/2.mp4 walk/bob/3.mp4", "inner ones ('ann', 'bob')"),
        ("all/run/1.mp4 all/walk/2.mp4", "with --labels-from parent"),
        ("train/set1/run/1.mp4 train/set2/run/2.mp4", "--labels-from grandparent"),
    ],
)
def test_folders_within_folders_are_a_question(tmp_path, names, said):
    touch(tmp_path, *names.split())
    with pytest.raises(UsageError, match="folders within folders") as caught:
        read_labelled_clips(tmp_path)
    assert said in str(caught.value)


def test_inner_folders_that_are_all_different_are_no_classes_and_a_note_says_so(tmp_path):
    touch(tmp_path, "run/ann_run/1.mp4", "walk/bob_walk/2.mp4")
    said: list[str] = []
    clips = read_labelled_clips(tmp_path, note=said.append)
    assert {clip.label for clip in clips} == {"run", "walk"}
    assert len(said) == 1 and "--labels-from parent" in said[0]


@pytest.mark.parametrize(
    ("how", "labels", "groups"),
    [
        ("parent", {"run", "walk"}, {"set1", "set2"}),
        ("grandparent", {"set1", "set2"}, {None}),
        (r"_(\w)\.mp4$", {"a", "b"}, {None}),
        (r"s.t\d", {"set1", "set2"}, {None}),
    ],
)
def test_labels_come_from_a_folder_or_a_pattern(tmp_path, how, labels, groups):
    inside = ("set1/run/1_a.mp4", "set1/walk/2_b.mp4", "set2/run/3_a.mp4")
    touch(tmp_path / "whole", *inside)
    touch(tmp_path / "split", *(f"Train/{name}" for name in inside), *(f"dev/{i}" for i in inside))
    for folder, splits_there in (("whole", {None}), ("split", {"train", "val"})):
        clips = read_labelled_clips(tmp_path / folder, labels_from=how)
        assert {clip.label for clip in clips} == labels
        assert {clip.group for clip in clips} == groups
        assert {clip.split for clip in clips} == splits_there
    grouped = read_labelled_clips(tmp_path / "whole", labels_from=how, group_by=r"set(\d)")
    assert {clip.group for clip in grouped} == {"1", "2"}


@pytest.mark.parametrize(
    ("names", "how", "said"),
    [
        ("a/1.mp4 b/2.mp4", "grandparent", "a/1.mp4: no folder of a class in"),
        ("a/1.mp4 b/2.mp4", "(", "neither parent nor grandparent, and as a pattern"),
        ("a/1.mp4 b/2.mp4", "c(.)", "matches no label in "),
        (
            "ann/train/1.mp4 ann/walk/2.mp4",
            "parent",
            "would be 'train', which is called like a split",
        ),
        ("train/a/1.mp4 other/a/2.mp4", "parent", "'train' is called like a split, and 'other'"),
    ],
)
def test_a_choice_of_labels_that_does_not_fit_is_said(tmp_path, names, how, said):
    touch(tmp_path, *names.split())
    with pytest.raises(UsageError) as caught:
        read_labelled_clips(tmp_path, labels_from=how)
    assert said in str(caught.value)


def test_folders_of_pictures_are_videos_at_a_rate(tmp_path):
    for clip in ("run/one", "walk/two", "walk/three"):
        touch(tmp_path, *(f"{clip}/{number:06d}.jpg" for number in range(3)))
    with pytest.raises(UsageError, match=r"run/one: holds pictures .*; --fps RATE"):
        read_labelled_clips(tmp_path)
    clips = read_labelled_clips(tmp_path, fps=25)
    assert {(Path(clip.path).name, clip.label, clip.fps) for clip in clips} == {
        ("one", "run", 25),
        ("two", "walk", 25),
        ("three", "walk", 25),
    }
    touch(tmp_path, "run/4.mp4", "walk/5.mp4")
    said: list[str] = []
    assert len(read_labelled_clips(tmp_path, note=said.append)) == 2
    assert len(said) == 1 and "--fps RATE" in said[0]
    (tmp_path / "t.csv").write_text("path,label\nrun/one,run\nrun/4.mp4,run\n")
    assert [clip.fps for clip in read_labelled_clips(tmp_path / "t.csv", fps=5)] == [5, None]
