"""The head in closed form, beside fits that really leave clips out."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from timesformer_cli.training.closed_head import fit_head


def problem(clips: int = 24, width: int = 7, classes: int = 3, seed: int = 0):
    random = np.random.default_rng(seed)
    known = np.arange(clips) % classes
    features = random.normal(size=(clips, width)) + 0.8 * np.eye(classes, width)[known]
    return features, np.eye(classes)[known]


def ridge(features, targets, strength, weights):
    """The definition: weighted squares, a penalty on all but the intercept."""
    middle = np.average(features, axis=0, weights=weights)
    mean = np.average(targets, axis=0, weights=weights)
    spread = (features - middle) * weights[:, None]
    gram = spread.T @ (features - middle) + strength * np.eye(features.shape[1])
    slope = np.linalg.solve(gram, spread.T @ (targets - mean))
    return slope, mean - middle @ slope


@pytest.mark.parametrize("per_group", [1, 2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("width", [7, 40])  # fewer and more numbers than clips
def test_answers_of_clips_left_out_are_those_of_fits_without_them(per_group, weighted, width):
    features, targets = problem(width=width)
    groups = [number // per_group for number in range(len(features))]
    weights = np.random.default_rng(1).uniform(0.5, 2, len(features)) if weighted else None
    head = fit_head(features, targets, groups, weights=weights)
    counts = np.ones(len(features)) if weights is None else weights / weights.mean()
    middle = np.average(features, axis=0, weights=counts)
    largest = np.linalg.svd((features - middle) * np.sqrt(counts)[:, None], compute_uv=False)[0]
    penalty = head.strength * largest**2
    answers = np.empty_like(targets)
    for group in set(groups):
        out = np.array(groups) == group
        slope, bias = ridge(features[~out], targets[~out], penalty, counts[~out])
        answers[out] = features[out] @ slope + bias
    scale = head.answers[0, 0] / answers[0, 0]
    assert_allclose(head.answers, scale * answers, rtol=1e-6, atol=1e-8)
    slope, bias = ridge(features, targets, penalty, counts)
    assert_allclose(head.weight, scale * slope.T, rtol=1e-6, atol=1e-8)
    assert_allclose(head.bias, scale * bias, rtol=1e-6, atol=1e-8)


def test_it_is_as_sure_as_it_is_right():
    """On noise it is near chance in its scores; on classes apart it is sure."""
    random = np.random.default_rng(0)
    known = np.arange(60) % 3
    noise = fit_head(random.normal(size=(60, 20)), np.eye(3)[known], range(60))
    assert noise.loss == pytest.approx(np.log(3), abs=0.15)
    apart = fit_head(
        np.eye(3)[known] + random.normal(size=(60, 3)) / 20, np.eye(3)[known], range(60)
    )
    assert apart.loss < 0.1
    assert (apart.answers.argmax(axis=1) == known).all()


def test_classes_by_themselves_have_their_own_bias():
    random = np.random.default_rng(0)
    features = random.normal(size=(80, 5))
    targets = (features[:, :2] > [0.0, 1.0]).astype(float)
    head = fit_head(features, targets, range(80))
    said = features @ head.weight.T + head.bias > 0
    assert (said == (targets > 0)).mean() > 0.9


def test_features_that_are_all_alike_say_the_shares():
    head = fit_head(np.ones((4, 3)), np.eye(2)[[0, 0, 0, 1]], range(4))
    assert np.isfinite(head.weight).all() and head.bias[0] > head.bias[1]
