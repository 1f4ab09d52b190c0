"""Several labels a clip: how they are written and read, and how well scores agree with them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timesformer_cli.dataset.clip import LabelledClip
from timesformer_cli.dataset.labelled import read_labelled_clips
from timesformer_cli.dataset.multi_label import (
    average_precision,
    best_threshold,
    join_labels,
    score_labels,
    seem_several,
    split_labels,
)
from timesformer_cli.dataset.splits import split_clips
from timesformer_cli.errors import UsageError


def counted_precision(truth, scores) -> float:
    """Average precision by its definition, one threshold after another."""
    total, before, area = sum(truth), 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        said = [score >= threshold for score in scores]
        right = sum(t and s for t, s in zip(truth, said, strict=True))
        recall = right / total
        area += (recall - before) * right / sum(said)
        before = recall
    return area


def drawn(clips: int, classes: int, seed: int, steps: int = 0):
    """A truth in which each class has a clip, and scores that know something of it."""
    random = np.random.default_rng(seed)
    truth = random.random((clips, classes)) < 0.3
    truth[random.integers(clips, size=classes), np.arange(classes)] = True
    scores = np.clip(0.3 * truth + 0.7 * random.random((clips, classes)), 0, 1)
    return truth, np.round(scores * steps) / steps if steps else scores


@pytest.mark.parametrize("steps", [0, 5])  # with 5, many scores are equal
@pytest.mark.parametrize("seed", range(3))
def test_mean_average_precision_is_that_of_the_definition(seed, steps):
    truth, scores = drawn(60, 4, seed, steps)
    found = score_labels(truth, scores, tuple("abcd"))
    expected = [counted_precision(truth[:, n], scores[:, n]) for n in range(4)]
    assert [row.average_precision for row in found.classes] == pytest.approx(expected, abs=1e-12)
    assert found.mean_average_precision == pytest.approx(np.mean(expected), abs=1e-12)


@pytest.mark.parametrize("steps", [0, 5])
def test_mean_average_precision_and_f1_are_those_of_scikit_learn(steps):
    metrics = pytest.importorskip("sklearn.metrics")
    truth, scores = drawn(80, 6, 7, steps)
    found = score_labels(truth, scores, tuple("abcdef"), [0.4] * 6)
    expected = metrics.average_precision_score(truth, scores, average="macro")
    assert found.mean_average_precision == pytest.approx(expected, abs=1e-12)
    said = scores >= 0.4
    assert found.f1 == pytest.approx(metrics.f1_score(truth, said, average="macro"), abs=1e-12)
    assert found.exact == pytest.approx(metrics.accuracy_score(truth, said), abs=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 10)), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_no_threshold_has_a_higher_f1(rows):
    truth = np.array([has for has, _ in rows])
    scores = np.array([score / 10 for _, score in rows])
    if not truth.any():
        assert best_threshold(truth, scores) == 0.5
        return

    def f1(threshold):
        said = scores >= threshold
        return 2 * (said & truth).sum() / (said.sum() + truth.sum())

    best = f1(best_threshold(truth, scores))
    assert best == pytest.approx(max(f1(each / 20) for each in range(22)))


def test_a_threshold_of_many_lies_nearest_to_a_half():
    truth = np.array([True, True, False, False])
    assert best_threshold(truth, np.array([0.9, 0.8, 0.3, 0.1])) == pytest.approx(0.55)
    assert best_threshold(truth[:2], np.array([0.2, 0.1])) == pytest.approx(0.05)


def test_a_class_that_no_clip_has_counts_in_no_mean():
    truth = np.array([[True, False], [False, False]])
    found = score_labels(truth, np.array([[0.9, 0.9], [0.1, 0.1]]), ("a", "b"), [0.5, 0.5])
    assert (found.mean_average_precision, found.f1, found.exact) == (1.0, 1.0, 0.5)
    none = found.classes[1]
    assert (none.clips, none.average_precision, none.recall, none.f1) == (0, None, None, None)
    assert none.precision == 0.0
    assert average_precision(truth[:0, 0], np.empty(0)) is None


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("run", ("run",)),
        ("run|walk", ("run", "walk")),
        (" run | walk ", ("run", "walk")),
        ("run|run", ("run",)),
        (r"on\|off", ("on|off",)),
        (r"on\|off|run", ("on|off", "run")),
        (r"C:\new|b", (r"C:\new", "b")),
        ("a||b", ("a", "", "b")),
    ],
)
def test_a_bar_parts_labels_and_one_behind_a_backslash_belongs_to_a_name(text, labels):
    assert split_labels(text) == labels
    assert split_labels(join_labels(labels)) == labels


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        (("run", "walk"), None),
        (("on|off", "up|down"), None),
        (("run", "run|walk"), "run|walk"),
        (("red|left", "red|right"), "red|right"),
    ],
)
def test_labels_that_seem_to_be_several_are_seen(labels, named):
    assert seem_several(labels) == named


def read(folder, text, **how):
    """What a table of that text says: the labels of each clip, and the notes."""
    table, notes = folder / "clips.csv", []
    table.write_text(text, encoding="utf-8")
    found = read_labelled_clips(table, multi_label=True, note=notes.append, **how)
    return {Path(clip.path).name: clip.classes for clip in found}, notes, found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,label\na.mp4,run|walk\nb.mp4,walk\n", {"a": ("run", "walk"), "b": ("walk",)}),
        ("path,label\na.mp4,run\nb.mp4,walk\na.mp4,walk\n", {"a": ("run", "walk"), "b": ("walk",)}),
        ("path;label\na.mp4;on\\|off|run\n", {"a": ("on|off", "run")}),
        ("path,label\na.mp4,1.0|2.0\nb.mp4,2\n", {"a": ("1", "2"), "b": ("2",)}),
        ("path,run,walk\na.mp4,1,1\nb.mp4,0,0\n", {"a": ("run", "walk"), "b": ()}),
        (
            "video;split;run;on|off\na.mp4;train;1.0;0\nb.mp4;val;0;1\n",
            {"a": ("run",), "b": ("on|off",)},
        ),
        ("file\trun\twalk\na.mp4\tTrue\tFalse\n", {"a": ("run",)}),
        ("a.mp4 3\nb.mp4 4\na.mp4 4\n", {"a": ("3", "4"), "b": ("4",)}),
    ],
)
def test_a_table_says_several_labels_in_any_of_these_forms(tmp_path, text, expected):
    found, notes, _ = read(tmp_path, text)
    assert found == {f"{name}.mp4": labels for name, labels in expected.items()}
    again = [note for note in notes if "more labels of clips" in note]
    assert bool(again) == (text.count("a.mp4") > 1)


def test_columns_without_0_and_1_are_named_and_splits_and_groups_are_kept(tmp_path):
    text = "path,fps,run,walk,scene,split\na.mp4,25,1,1,x,train\nb.mp4,30,0,1,y,val\n"
    found, notes, rows = read(tmp_path, text, group_by="scene")
    assert found == {"a.mp4": ("run", "walk"), "b.mp4": ("walk",)}
    assert len(notes) == 1 and notes[0].endswith("columns without 0 and 1 are no classes: fps")
    assert [(row.split, row.group) for row in rows] == [("train", "x"), ("val", "y")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("path,run,walk\na.mp4,1,0\nb.mp4,3,0\n", "clips.csv:3: '3' under 'run', a class"),
        (
            "path,run,walk\na.mp4,1,0\nb.mp4,0,\n",
            "clips.csv:3: '' under 'walk', a class; write 0 or 1",
        ),
        ("path,run,walk\na.mp4,1,0\nb.mp4,0,2\n", "clips.csv:3: '2' under 'walk', a class"),
        ("path,run,run\na.mp4,1,0\n", "'run' heads several columns"),
        ("path,run,\na.mp4,1,0\n", "a column of 0 and 1 has no name"),
        ("path,fps\na.mp4,25\n", "no column 'label', and none of 0 and 1"),
        ("path,label\na.mp4,run||walk\n", "clips.csv:2: an empty label in 'run||walk'"),
        ("path,label\na.mp4,\n", "clips.csv:2: no label"),
        ("path,run,walk\na.mp4,1,0\na.mp4,0,1\n", "is labelled 'run' and 'walk'"),
    ],
)
def test_what_is_no_label_is_said_with_its_place(tmp_path, text, words):
    with pytest.raises(UsageError) as refusal:
        read(tmp_path, text)
    assert words in str(refusal.value) and "\n" not in str(refusal.value)


def test_folders_give_a_clip_all_labels_under_which_it_lies(tmp_path):
    for place in ("run/a.mp4", "walk/b.mp4", "run|jump/c.mp4"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(place.encode())
    (tmp_path / "walk" / "again.mp4").symlink_to(tmp_path / "run" / "a.mp4")
    notes: list[str] = []
    found = read_labelled_clips(tmp_path, multi_label=True, note=notes.append)
    labels = {Path(clip.path).name: set(clip.classes) for clip in found}
    assert labels == {"a.mp4": {"run", "walk"}, "b.mp4": {"walk"}, "c.mp4": {"run", "jump"}}
    assert len(notes) == 1 and "1 more labels" in notes[0]


def test_without_the_option_a_bar_is_a_name_and_a_note_says_so(tmp_path):
    table, notes = tmp_path / "clips.csv", []
    table.write_text("path,label\na.mp4,run|walk\nb.mp4,walk\n")
    found = read_labelled_clips(table, note=notes.append)
    assert [clip.classes for clip in found] == [("run|walk",), ("walk",)]
    assert len(notes) == 1 and "'run|walk' is one class of that name; --multi-label" in notes[0]
    table.write_text("path,run,walk\na.mp4,0,1\n")
    with pytest.raises(
        UsageError, match=r"no column 'label'.*--multi-label reads a column of 0 and 1"
    ):
        read_labelled_clips(table)


def test_every_class_keeps_clips_on_both_sides_of_the_split():
    labels = [("red", "left"), ("red",), ("left",), ()] * 10
    clips = [
        LabelledClip(f"{n}.mp4", join_labels(each), labels=each) for n, each in enumerate(labels)
    ]
    halves = split_clips(clips, 0.25, seed=0)
    for name in ("red", "left"):
        held = sum(name in clip.classes for clip in halves if clip.split == "val")
        assert 4 <= held <= 6, name
    assert sum(not clip.classes for clip in halves if clip.split == "val") in (2, 3)
