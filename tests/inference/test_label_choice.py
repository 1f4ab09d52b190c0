"""How a model's outputs become the scores of the labels that an answer may have."""

import numpy as np
import pytest
import torch

from tests.support.models import tiny
from timesformer_cli.config import Preprocessing, Sampling
from timesformer_cli.dataset.own_labels import as_own_labels
from timesformer_cli.errors import UsageError
from timesformer_cli.inference.label_choice import LabelChoice, choose_classes
from timesformer_cli.weights.description import Description

CLASSES = ("walk", "run", "sit", "fall", "lie")
OUTPUTS = torch.tensor([[0.4, 0.3, 0.2, 0.1, 0.0], [0.01, 0.02, 0.07, 0.3, 0.6]])


def assert_close(found: object, expected: object, rtol: float = 1.3e-6, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=rtol, atol=atol)


def described(multi_label: bool = False) -> Description:
    return Description(
        config=tiny(classes=5, multi_label=multi_label),
        labels=CLASSES,
        sampling=Sampling(frames=8, stride=1),
        preprocessing=Preprocessing(resize=64, crop=(64, 64)),
    )


def chosen(*labels: str, multi_label: bool = False, least: float | None = None) -> LabelChoice:
    return choose_classes(described(multi_label), as_own_labels(labels or None), "it", least)


def words(vectors: torch.Tensor, least: float | None = None) -> LabelChoice:
    names = tuple(f"word {number}" for number in range(len(vectors)))
    return LabelChoice(
        labels=names,
        numbers=tuple(range(len(vectors))),
        given=True,
        least=least,
        vectors=vectors / vectors.norm(dim=-1, keepdim=True),
        temperature=0.1,
    )


def test_all_classes_have_the_models_own_scores():
    choice = chosen()
    assert np.array_equal(choice.scores(OUTPUTS), OUTPUTS)
    first, *_ = choice.predictions(OUTPUTS[0], 5)
    assert (first.label, first.index, first.score, first.similarity) == ("walk", 0, 0.4, None)


def test_some_classes_share_the_answer_out_among_them():
    choice = chosen("Sit", "walk")
    expected = torch.tensor([[2 / 6, 4 / 6], [7 / 8, 1 / 8]])
    assert_close(choice.scores(OUTPUTS), expected)
    first, second = choice.predictions(OUTPUTS[0], 5)
    assert (first.label, first.index, first.score) == ("walk", 0, pytest.approx(4 / 6, abs=1e-6))
    assert (second.label, second.index, second.similarity) == ("sit", 2, pytest.approx(0.2))


def test_classes_of_a_model_of_several_labels_keep_their_scores():
    choice = chosen("sit", "walk", multi_label=True)
    assert_close(choice.scores(OUTPUTS), OUTPUTS[:, [2, 0]])


def test_classes_that_share_nothing_have_no_score():
    assert chosen("walk", "run").scores(torch.zeros(5)).tolist() == [0.0, 0.0]


def test_the_order_of_the_labels_changes_no_score():
    given = {one.label: one for one in chosen("walk", "fall", "sit").predictions(OUTPUTS[1], 3)}
    turned = {one.label: one for one in chosen("sit", "walk", "fall").predictions(OUTPUTS[1], 3)}
    assert given == turned
    vectors, clips = torch.randn(6, 16), torch.randn(4, 16)
    order = [3, 0, 5, 1, 4, 2]
    choice, other = words(vectors), words(vectors[order])
    scores = choice.scores(choice.outputs(clips))[:, order]
    assert_close(other.scores(other.outputs(clips)), scores, rtol=0, atol=1e-6)


def test_words_are_as_alike_as_their_angle_says():
    vectors, clips = torch.randn(3, 16), torch.randn(5, 16) * 7
    choice = words(vectors)
    outputs = choice.outputs(clips)
    cosines = torch.nn.functional.cosine_similarity(clips[:, None], vectors[None], dim=-1)
    assert_close(outputs, cosines)
    assert_close(choice.scores(outputs), (cosines / 0.1).softmax(-1))
    best = choice.predictions(outputs[0], 1)[0]
    assert best.similarity == pytest.approx(float(cosines[0].max()), abs=1e-6)


def test_a_clip_of_nothing_is_like_no_word():
    assert not words(torch.randn(3, 16)).outputs(torch.zeros(1, 16)).any()


@pytest.mark.parametrize(("least", "labels"), [(0.0, 3), (0.15, 2), (0.35, 1)])
def test_a_label_that_is_too_weak_is_no_answer(least, labels):
    found = chosen("walk", "sit", "fall", least=least).predictions(OUTPUTS[0], 5)
    assert [one.label for one in found] == ["walk", "sit", "fall"][:labels]


def test_without_a_strong_label_the_answer_is_none():
    (found,) = chosen("walk", "sit", least=0.41).predictions(OUTPUTS[0], 5)
    assert (found.label, found.index, found.score) == ("none", -1, 0.0)
    assert found.similarity == pytest.approx(0.4)  # how weak the best one was
    (found,) = chosen(least=0.5).predictions(OUTPUTS[0], 5)  # without labels, too
    assert (found.label, found.index) == ("none", -1)


def test_nothing_is_as_likely_as_the_best_other_class():
    choice = chosen("walk", "sit")
    shares = torch.tensor([0.3 / 0.6, 0.6 / 0.08])
    assert_close(choice.nothing(OUTPUTS), shares)
    assert not chosen().nothing(OUTPUTS).any()
    weak = chosen("walk", "sit", least=0.5).nothing(OUTPUTS)
    assert_close(weak, torch.tensor([0.5 / 0.6, 0.6 / 0.08]))


def test_nothing_is_as_likely_as_a_word_of_the_least_similarity():
    vectors, clips = torch.randn(3, 16), torch.randn(5, 16)
    outputs = words(vectors).outputs(clips)
    beside = torch.cat([outputs, torch.full((5, 1), 0.2)], dim=1)  # a fourth word that is so alike
    scores = (beside / 0.1).softmax(-1)
    nothing = words(vectors, least=0.2).nothing(outputs)
    assert_close(nothing, scores[:, 3] / (1 - scores[:, 3]))
    assert not words(vectors).nothing(outputs).any()


def test_what_the_model_has_not_is_one_line_with_what_it_has():
    with pytest.raises(UsageError) as caught:
        chosen("someone falls", "runn")
    said = str(caught.value)
    assert "\n" not in said and "'runn' (nearest: run)" in said and "its 5 are walk" in said
    assert "models that take words: videoprism-lvt-base, videoprism-lvt-large" in said
    texts = as_own_labels({"walk": "someone walks"})
    with pytest.raises(UsageError, match="'walk' is said by texts, and it reads none; models that"):
        choose_classes(described(), texts, "it")
    with pytest.raises(UsageError, match="'run' is there twice among the labels"):
        choose_classes(described(), as_own_labels(["1", "01"]), "it")
