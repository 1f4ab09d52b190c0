"""Labels that a user gives, on the command line, in a file or in Python."""

import pytest

from timesformer_cli.dataset.own_labels import (
    MOST_LABELS,
    OwnLabel,
    as_own_labels,
    as_templates,
    asked_of_model,
    parse_own_labels,
)
from timesformer_cli.errors import UsageError

GIVEN = {
    "a,b": ("a", "b"),
    ' walk , "sit, or lie" ,run': ("walk", "sit, or lie", "run"),
    "one": ("one",),
    "a,,b,": ("a", "b"),
    "eat/drink": ("eat/drink",),
    "a\nb": ("a b",),
    "日本,Ärger": ("日本", "Ärger"),
}


@pytest.mark.parametrize("given", GIVEN)
def test_labels_have_commas_between_them(given):
    assert parse_own_labels(given) == tuple(OwnLabel(name) for name in GIVEN[given])


def test_without_labels_there_are_none():
    assert parse_own_labels(None) == as_own_labels(None) == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_file_has_a_label_a_line_and_texts_behind_a_tab(encoding, end, tmp_path):
    path = tmp_path / "labels"
    lines = ["fall\tsomeone falls|a person falls down ", "", "sit, or lie", " Ärger\t「怒」"]
    path.write_bytes(end.join(lines).encode(encoding))
    assert parse_own_labels(str(path)) == (
        OwnLabel("fall", ("someone falls", "a person falls down")),
        OwnLabel("sit, or lie"),
        OwnLabel("Ärger", ("「怒」",)),
    )


def test_a_folder_that_is_called_like_a_label_is_no_file(tmp_path, monkeypatch):
    (tmp_path / "walk").mkdir()
    monkeypatch.chdir(tmp_path)
    assert parse_own_labels("walk") == (OwnLabel("walk"),)


FILES = {
    "a\n\tb\n": ":2: a line is a label",
    "a\tb\tc\n": ":1: a line is a label",
    "a\tb||c\n": ":1: a line is a label",
    "a\t\nb": ":1: a line is a label",
    "\n \n": "names no label",
    "a\nb\nA\n": "'A' is there twice, also as 'a'",
    '["a", "b"]': "is JSON, not a list of labels; save one a line, as text",
    "a\0b": ":1: holds a NUL byte",
    b"a\nb\xff\n": ":2: not UTF-8 (byte 0xff); save one a line, as text (UTF-8), or convert it",
    b"PAR1": "is a Parquet file, not a list of labels",
    b"\0\0\0\x18ftypmp42\0\0": "is a video (mp4 or mov), not a list of labels",
}


@pytest.mark.parametrize("content", FILES)
def test_what_is_wrong_in_a_file_is_one_line_that_says_where(content, tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError) as caught:
        parse_own_labels(str(path))
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
    assert FILES[content] in str(caught.value)


WRONG = {
    "": "--labels names no label",
    " , ": "--labels names no label",
    "a,b,a": "--labels: 'a' is there twice",
    "walk_up,Walk Up": "'Walk Up' is there twice, also as 'walk_up'",
    "there_is.txt": "there_is.txt: there is no such file",
    "a\udcff": r"--labels: 'a\udcff' is not UTF-8",
}


@pytest.mark.parametrize("given", WRONG)
def test_what_is_wrong_on_the_command_line_is_one_line(given):
    with pytest.raises(UsageError) as caught:
        parse_own_labels(given)
    assert WRONG[given] in str(caught.value) and "\n" not in str(caught.value)


def test_a_table_is_no_file_of_labels(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("a,b\n")
    with pytest.raises(UsageError, match="one a line; save it as \\.txt"):
        parse_own_labels(str(path))


def test_python_gives_labels_or_the_texts_that_say_them():
    assert as_own_labels(["a, or b", "c"]) == (OwnLabel("a, or b"), OwnLabel("c"))
    told = {"a": "a dog", "b": ["one", "two"], "c": ()}
    expected = (OwnLabel("a", ("a dog",)), OwnLabel("b", ("one", "two")), OwnLabel("c"))
    assert as_own_labels(told) == expected


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("a,b", "labels is a list of labels; got the text 'a,b'"),
        ([], "labels names no label"),
        (["a", " "], "labels has one that is empty"),
        ({"a": ["", "b"]}, "is said by an empty text"),
        (["a", 3], "labels has 3, which is no text"),
        (["a", "a"], "labels: 'a' is there twice"),
    ],
)
def test_what_is_wrong_in_python_says_so(given, fault):
    with pytest.raises(UsageError) as caught:
        as_own_labels(given)
    assert fault in str(caught.value)


def test_many_labels_have_a_limit_that_is_said():
    assert len(as_own_labels([f"label {number}" for number in range(10_000)])) == 10_000
    with pytest.raises(UsageError, match="names 100,001 labels; the most are 100,000"):
        as_own_labels([f"label {number}" for number in range(MOST_LABELS + 1)])


def test_a_very_long_label_is_one_short_line_in_an_error():
    long = "word " * 5000
    with pytest.raises(UsageError) as caught:
        as_own_labels([long, long])
    assert len(str(caught.value)) < 120


def test_templates_say_where_the_label_goes():
    assert as_templates(None) == ()
    assert as_templates("a video of {}") == ("a video of {}",)
    assert as_templates(["{} and {x}", "so: {}", "so: {}"]) == ("{} and {x}", "so: {}")
    with pytest.raises(UsageError, match="where the label goes, as in"):
        as_templates(["{}", "a video"])


@pytest.mark.parametrize("least", [2.0, -1.5, float("nan"), float("inf")])
def test_a_similarity_lies_between_minus_one_and_one(least):
    with pytest.raises(UsageError, match="--none-below is a similarity from -1 to 1"):
        asked_of_model((), None, least)
