"""A table's labels are names or numbers, all of them, and are compared in one Unicode form."""

import pytest

from tests.support.public_cases import public_case
from timesformer_cli.dataset.label_matching import match
from timesformer_cli.dataset.labelled import read_labelled_clips
from timesformer_cli.errors import UsageError


@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        ("2 0 5", "0 2 5", [1, 0, 2]),
        ("2 0 1", "run sit walk", [2, 0, 1]),
        ("1 3", "a b c 3", [1, 3]),
        ("3", "a 3 c d", [1]),
        ("RUN sit-down", "sit_down Run", [1, 0]),
        ("caf\u00e9 STRASSE", "cafe\u0301 stra\u00dfe", [0, 1]),
        ("CAFE\u0301", "caf\u00e9", [0]),
    ],
)
def test_all_are_names_or_all_are_numbers(labels, classes, numbers):
    labels = labels.split()
    assert match(labels, classes.split(), "m") == dict(zip(labels, numbers, strict=True))


@pytest.mark.parametrize(
    ("labels", "classes", "said"),
    [
        ("0 1 2 5", "0 2 5", "m has no class '1'"),
        ("1", "0 2 5", "m has no class '1'"),
        ("0 1", "7 8", "m has no class '0'"),
        ("0 run", "run walk", "m has no class '0'"),
        ("0 3", "run walk", "m has no class '3'"),
        ("0 1 3", "a 3 c d", "label '3' is the name of class 1 of m and the number of another"),
        ("1.5 0", "a b", "m has no class '1.5'"),
    ],
)
def test_a_label_that_does_not_fit_is_an_error(labels, classes, said):
    with pytest.raises(UsageError) as caught:
        match(labels.split(), classes.split(), "m")
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["eval.txt", "eval_only1.txt"])
def test_the_numbers_of_the_public_case(name):
    labels = [clip.label for clip in read_labelled_clips(public_case("train/num") / name)]
    with pytest.raises(UsageError, match="no class '1'"):
        match(labels, ("0", "2", "5"), "m")
