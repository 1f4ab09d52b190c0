"""Split and class folders as people name them, and what is a question in them."""

from pathlib import Path

import pytest

from tests.support.public_cases import public_case
from timesformer_cli.dataset.labelled import LabelledClip, read_labelled_clips
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
