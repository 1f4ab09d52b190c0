"""Segments against every sequence of labels, tried one by one."""

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from timesformer_cli.inference.label_choice import LabelChoice
from timesformer_cli.timelines.refine import refine_segments
from timesformer_cli.timelines.results import Segment
from timesformer_cli.timelines.segments import (
    LEAST,
    NOTHING,
    SegmentRules,
    automatic_price,
    best_path,
    paths_of_several,
    segments_of,
)
from timesformer_cli.video.windows import Shot

LABELS = ("a", "b", "c")
ALL = LabelChoice.of_all(LABELS)
ONLY_B = LabelChoice(labels=("b",), numbers=(1,), given=True)


def rows(*pairs: tuple[str, float]) -> np.ndarray:
    """Scores of windows: so much for one label, the rest shared out."""
    scores = np.empty((len(pairs), 3), np.float32)
    for row, (label, score) in zip(scores, pairs, strict=True):
        row[:] = (1 - score) / 2
        row[LABELS.index(label)] = score
    return scores


def path_of(outputs: np.ndarray, choice: LabelChoice | None = None, **rules: float) -> np.ndarray:
    """The best path through a model's outputs."""
    choice, of_model = choice or ALL, torch.from_numpy(outputs)
    nothing = choice.nothing(of_model)
    return best_path(choice.scores(of_model), nothing, SegmentRules(**rules))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.floats(0, 6), st.integers(0, 1000))
def test_the_path_is_the_best_of_all_paths(windows, price, seed):
    scores = np.random.default_rng(seed).dirichlet([0.4] * 3, windows).astype(np.float32)
    found = path_of(scores, price=price)

    def worth(path: tuple[int, ...]) -> float:
        evidence = sum(
            np.log(max(float(row[label]), LEAST)) for row, label in zip(scores, path, strict=True)
        )
        return float(evidence) - price * sum(a != b for a, b in pairwise(path))

    best = max(worth(path) for path in product(range(3), repeat=windows))
    assert worth(tuple(found)) == pytest.approx(best, abs=1e-4)


def test_without_a_price_each_window_has_its_best_label():
    scores = rows(("a", 0.5), ("b", 0.6), ("a", 0.5))
    assert list(path_of(scores, price=0)) == [0, 1, 0]


def test_a_price_swallows_one_doubtful_window():
    scores = rows(("a", 0.9), ("a", 0.9), ("b", 0.5), ("a", 0.9))
    assert list(path_of(scores, price=4)) == [0, 0, 0, 0]


def test_what_is_below_the_threshold_is_nothing():
    scores = rows(("a", 0.9), ("a", 0.4), ("b", 0.4), ("b", 0.9))
    path = path_of(scores, price=0, threshold=0.5)
    assert list(path) == [0, NOTHING, NOTHING, 1]


def test_a_threshold_does_not_swallow_two_sure_labels_with_a_dear_change_between():
    scores = rows(*[("a", 0.96)] * 4, *[("b", 0.96)] * 4)
    path = path_of(scores, price=8.4, threshold=0.6)
    assert list(path) == [0] * 4 + [1] * 4


def test_one_weak_window_within_a_sure_stretch_is_no_gap():
    scores = rows(("a", 0.9), ("a", 0.9), ("a", 0.55), ("a", 0.9), *[("a", 0.2)] * 9)
    path = path_of(scores, price=2, threshold=0.6)
    assert list(path) == [0] * 4 + [NOTHING] * 9


def test_only_the_labels_that_count_are_found():
    scores = rows(("a", 0.9), ("b", 0.8), ("c", 0.8))
    assert list(path_of(scores, ONLY_B, price=0)) == [NOTHING, 0, NOTHING]


def test_the_price_grows_with_the_windows_that_overlap():
    assert automatic_price(2.0, 1.0) == 2 * automatic_price(2.0, 2.0)
    assert automatic_price(2.0, 9.0) == automatic_price(2.0, 2.0)


def test_segments_reach_to_the_ends_of_their_shot_and_meet_between_centres():
    scores = rows(("a", 0.9), ("a", 0.8), ("b", 0.9), ("b", 0.7))
    first, second = segments_of(
        Shot(10.0, 20.0), 3, [11.0, 13.0, 15.0, 17.0], scores, ALL, SegmentRules(price=1)
    )
    assert (first.start, first.end, second.start, second.end) == (10.0, 14.0, 14.0, 20.0)
    assert (first.label, first.index, first.windows, first.shot) == ("a", 0, 2, 3)
    assert first.score == pytest.approx(0.85) and first.peak == pytest.approx(0.9)
    assert second.runner_up is not None and second.runner_up.label in "ac"


def test_nothing_leaves_a_gap():
    scores = rows(("a", 0.9), ("b", 0.3), ("a", 0.9))
    found = segments_of(
        Shot(0.0, 6.0), 0, [1.0, 3.0, 5.0], scores, ALL, SegmentRules(price=0, threshold=0.5)
    )
    assert [(segment.start, segment.end) for segment in found] == [(0.0, 2.0), (4.0, 6.0)]


def test_a_shot_without_windows_has_no_segments():
    none = np.empty((0, 3), np.float32)
    assert segments_of(Shot(0.0, 1.0), 0, [], none, ALL, SegmentRules(price=1)) == []


def segment(start: float, end: float, index: int, shot: int = 0) -> Segment:
    return Segment(start, end, LABELS[index], index, 0.9, 0.9, None, 3, shot)


@pytest.mark.parametrize("truth", [4.05, 4.4, 4.99, 5.3, 5.9])
def test_a_change_is_found_to_a_quarter_of_the_hop(truth):
    asked = []

    def scores_at(centre: float) -> dict[int, float]:
        asked.append(centre)
        return {0: 0.9, 1: 0.1, 2: 0.0} if centre < truth else {0: 0.1, 1: 0.9, 2: 0.0}

    first, second = refine_segments([segment(0, 5, 0), segment(5, 9, 1)], scores_at, 2.0)
    assert first.end == second.start and abs(first.end - truth) <= 0.5 / 2 + 1e-9
    assert len(asked) == 2


def test_a_cut_and_a_gap_stay_where_they_are():
    def never(centre: float) -> dict[int, float]:
        raise AssertionError(centre)

    across = [segment(0, 5, 0), segment(5, 9, 1, shot=1)]
    apart = [segment(0, 4, 0), segment(5, 9, 1)]
    assert refine_segments(across, never, 2.0) == across
    assert refine_segments(apart, never, 2.0) == apart


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.floats(0, 4), st.floats(0.1, 0.9), st.integers(0, 1000))
def test_a_label_of_several_is_on_where_that_explains_its_scores_best(windows, price, least, seed):
    scores = np.random.default_rng(seed).random((windows, 3), np.float32)
    rules = SegmentRules(price=price, thresholds=(least,) * 3)
    found = {int(path.max()): path for path in paths_of_several(scores, rules)}

    def worth(label: int, on: tuple[bool, ...]) -> float:
        held = [
            float(p) if here else 1 - float(p) for p, here in zip(scores[:, label], on, strict=True)
        ]
        fair = [least if here else 1 - least for here in on]
        odds = sum(np.log(max(p, LEAST) / q) for p, q in zip(held, fair, strict=True))
        return float(odds) - price * sum(a != b for a, b in pairwise(on))

    for label in range(3):
        best = max(worth(label, on) for on in product((False, True), repeat=windows))
        path = found.get(label, np.full(windows, NOTHING))
        assert worth(label, tuple(path == label)) == pytest.approx(best, abs=1e-4)


def test_labels_of_several_overlap_and_have_no_runner_up():
    scores = np.array([[0.9, 0.1, 0.2], [0.8, 0.7, 0.4], [0.1, 0.9, 0.3]], np.float32)
    rules = SegmentRules(price=0.1, thresholds=(0.5, 0.5, 0.25))
    found = segments_of(Shot(0, 6), 0, [1, 3, 5], scores, ALL, rules)
    told = [(one.label, one.start, one.end, one.windows) for one in found]
    assert told == [("a", 0, 4, 2), ("b", 2, 6, 2), ("c", 2, 6, 2)]
    assert all(one.runner_up is None for one in found)
    assert found[0].score == pytest.approx(0.85)
