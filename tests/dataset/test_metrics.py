"""Metrics against their definitions, worked by hand or by the long way."""

from collections import Counter
from fractions import Fraction
from itertools import product
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesformer_cli.dataset import metrics

# Three classes, six videos: class 0 right twice of three, class 1 never of two, class 2 always.
CONFUSION = Counter({(0, 0): 2, (0, 1): 1, (1, 0): 1, (1, 2): 1, (2, 2): 1})
PAIRS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=60)


def test_recall_and_precision_of_a_worked_case():
    assert metrics.recall(CONFUSION) == {0: 2 / 3, 1: 0, 2: 1}
    assert metrics.precision(CONFUSION) == {0: 2 / 3, 1: 0, 2: 1 / 2}
    assert metrics.mean_class_accuracy(CONFUSION) == pytest.approx(5 / 9)


def test_classes_without_videos_do_not_lower_the_mean_class_accuracy():
    assert metrics.mean_class_accuracy({(0, 0): 3, (1, 1): 1, (1, 7): 1}) == 0.75


@given(PAIRS)
def test_recall_and_precision_are_what_counting_gives(pairs):
    confusion = Counter(pairs)
    recall, precision = metrics.recall(confusion), metrics.precision(confusion)
    assert set(recall) == {label for label, _ in pairs}
    assert set(precision) == {guess for _, guess in pairs}
    for one in recall:
        mine = [guess == one for label, guess in pairs if label == one]
        assert recall[one] == sum(mine) / len(mine)
    for one in precision:
        mine = [label == one for label, guess in pairs if guess == one]
        assert precision[one] == sum(mine) / len(mine)


@pytest.mark.parametrize(
    ("right", "total", "bounds"),
    [
        # Newcombe (1998), Statistics in Medicine 17:857, table I, method 3.
        (81, 263, (0.2553, 0.3662)),
        (15, 148, (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1611)),
        (1, 29, (0.0061, 0.1718)),
        (20, 20, (0.8389, 1.0)),
    ],
)
def test_the_interval_is_wilsons(right, total, bounds):
    assert metrics.interval(right, total) == pytest.approx(bounds, abs=5e-5)


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_mirrors(counts):
    right, total = counts
    low, high = metrics.interval(right, total)
    assert 0 <= low <= right / total <= high <= 1
    mirrored = metrics.interval(total - right, total)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_calibration_error_of_a_worked_case():
    # Bins of 1/15: (12/15, 13/15] holds two, (6/15, 7/15] one, (14/15, 1] one.
    confidences, right = [0.85, 0.81, 0.45, 1.0], [True, False, True, True]
    expected = (abs(1 - 1.66) + abs(1 - 0.45) + 0) / 4
    assert metrics.calibration_error(confidences, right) == pytest.approx(expected)


def test_a_confidence_on_an_edge_belongs_to_the_bin_below():
    assert metrics.calibration_error([1 / 15, 0.05], [True, False]) == pytest.approx(
        abs(1 - 1 / 15 - 0.05) / 2
    )


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80))
def test_calibration_error_is_the_sum_over_bins(pairs):
    confidences, right = zip(*pairs, strict=True)
    expected = 0.0
    for number in range(15):
        inside = [
            (confidence, hit)
            for confidence, hit in pairs
            if number < confidence * 15 <= number + 1 or (number == 0 and confidence == 0)
        ]
        if inside:
            accuracy = sum(hit for _, hit in inside) / len(inside)
            confidence = sum(confidence for confidence, _ in inside) / len(inside)
            expected += len(inside) / len(pairs) * abs(accuracy - confidence)
    assert metrics.calibration_error(confidences, right) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("counts", "p_value"),
    [((0, 0), 1.0), ((1, 0), 1.0), ((6, 0), 2 / 64), ((4, 12), 5034 / 65536), ((5, 5), 1.0)],
)
def test_mcnemar_of_worked_cases(counts, p_value):
    assert metrics.mcnemar(*counts) == pytest.approx(p_value)


def test_mcnemar_counts_the_outcomes_at_least_as_uneven():
    for first, second in product(range(9), repeat=2):
        total = first + second
        uneven = sum(
            comb(total, heads)
            for heads in range(total + 1)
            if abs(2 * heads - total) >= abs(first - second)
        )
        assert metrics.mcnemar(first, second) == float(Fraction(uneven, 2**total))


def test_mcnemar_of_many_videos_is_no_overflow():
    assert 0 < metrics.mcnemar(4800, 5200) < 1e-4
    assert metrics.mcnemar(10_000, 10_000) == 1
