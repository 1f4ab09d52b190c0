"""What an answer may be: every class of a model, some of them, or words that a user gives.

A model gives one output for each of its classes, its score; or for each of the words, how alike the
clip and the words are (a cosine). From these come the scores, which say how the labels share the
answer out among them, and the similarity, which says how well each fits by itself: the cosine, or the
model's score among all its classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from timesformer_cli.dataset.label_matching import match
from timesformer_cli.dataset.own_labels import OwnLabel
from timesformer_cli.errors import UsageError
from timesformer_cli.inference.outputs import Floats, as_floats, softmax
from timesformer_cli.results import IF_ANY
from timesformer_cli.weights.catalogue import models_with_words

if TYPE_CHECKING:
    from torch import Tensor

    from timesformer_cli.weights.description import Description

    Outputs = Tensor | npt.ArrayLike  # of a model, on the CPU

NONE, NO_CLASS = "none", -1  # the label of an answer that is too weak, and its number
LEAST_LENGTH = 1e-12  # of a vector that is brought to length 1
MOST_ODDS = 1e6  # of "none" against a label: no single window rules a label out


class ChoiceOptions(Protocol):
    """The options that say what an answer may be."""

    @property
    def labels(self) -> tuple[OwnLabel, ...]: ...

    @property
    def templates(self) -> tuple[str, ...]: ...

    @property
    def none_below(self) -> float | None: ...


@dataclass(frozen=True, slots=True)
class Prediction:
    """One label with its score (softmax, or sigmoid of a multi-label model), averaged over the views."""

    label: str
    index: int  # among the model's classes, or among the words that were given; -1 is none of them
    score: float
    # How well it fits by itself; None where no labels were given.
    similarity: float | None = field(default=None, metadata=IF_ANY)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelChoice:
    """The labels of an answer, and how a model's outputs become their scores."""

    labels: tuple[str, ...]
    numbers: tuple[int, ...]  # of the labels, as `Prediction.index` has them
    given: bool = False  # whether a user chose them
    shared: bool = True  # whether the scores of chosen labels add up to 1
    least: float | None = None  # a label that is less similar is none
    vectors: "Tensor | None" = None  # of words, each of length 1: float32 (labels d)
    temperature: float = 1.0  # of words

    @classmethod
    def of_all(cls, classes: Sequence[str], least: float | None = None) -> "LabelChoice":
        """Every class of a model."""
        return cls(labels=tuple(classes), numbers=tuple(range(len(classes))), least=least)

    def outputs(self, features: "Tensor") -> "Tensor":
        """How alike clips and words are `(b labels)`, from what the video tower gives `(b d)`."""
        assert self.vectors is not None
        given = features.float()
        unit = given / given.norm(dim=-1, keepdim=True).clamp(min=LEAST_LENGTH)
        alike: Tensor = unit @ self.vectors.to(given.device).T
        return alike

    def scores(self, outputs: "Outputs") -> Floats:
        """The labels' scores `(... labels)`, from a model's outputs."""
        given = as_floats(outputs)
        if self.vectors is not None:
            return softmax(given / np.float32(self.temperature))
        return self._of_labels(given) / self._weight(given)[..., None]

    def similarity(self, outputs: "Outputs") -> Floats:
        """How well each label fits by itself `(... labels)`."""
        given = as_floats(outputs)
        return given if self.vectors is not None else self._of_labels(given)

    def nothing(self, outputs: "Outputs") -> Floats:
        """What "none of these" would score beside the labels `(...)`; 0 where that cannot be.

        It is as likely as the best class that was not chosen, and as a label of the least similarity.
        """
        least, given = 0.0 if self.least is None else self.least, as_floats(outputs)
        if self.vectors is not None:
            if self.least is None:
                return np.zeros(given.shape[:-1], np.float32)
            scaled = given / np.float32(self.temperature)
            highest = scaled.max(axis=-1)
            every = highest + np.log(np.exp(scaled - highest[..., None]).sum(axis=-1))
            # Bounded before the power, which could be too large for a float.
            odds = np.minimum(least / self.temperature - every, math.log(MOST_ODDS))
            return as_floats(np.exp(odds))
        others = sorted({*range(given.shape[-1])} - {*self.numbers})
        best = given[..., others].max(axis=-1) if others else np.zeros(given.shape[:-1])
        return as_floats(np.minimum(np.maximum(best, least) / self._weight(given), MOST_ODDS))

    def predictions(self, outputs: "Outputs", top_k: int) -> tuple[Prediction, ...]:
        """The best labels of one clip, from its outputs; `none` alone where all are too weak."""
        scores, similarity = self.scores(outputs), self.similarity(outputs).tolist()
        best = np.argsort(-scores, kind="stable")[:top_k].tolist()
        found = [
            (similarity[at], self._prediction(at, float(scores[at]), similarity[at])) for at in best
        ]
        if self.least is None:
            return tuple(prediction for _, prediction in found)
        kept = tuple(prediction for fit, prediction in found if fit >= self.least)
        return kept or (Prediction(NONE, NO_CLASS, 0.0, found[0][1].similarity),)

    def _prediction(self, at: int, score: float, similarity: float) -> Prediction:
        fit = round(similarity, 6) if self.given else None
        return Prediction(self.labels[at], self.numbers[at], round(score, 6), fit)

    def _of_labels(self, outputs: Floats) -> Floats:
        return outputs[..., list(self.numbers)] if self.given else outputs

    def _weight(self, outputs: Floats) -> Floats:
        """What the labels score together, where their scores are made to add up to 1; else 1."""
        if not (self.given and self.shared):
            return np.ones(outputs.shape[:-1], np.float32)
        least = np.float32(1 / MOST_ODDS**2)
        return as_floats(np.maximum(self._of_labels(outputs).sum(axis=-1), least))


def choose_own(described: "Description", options: "ChoiceOptions", name: str) -> LabelChoice:
    """The labels that the options ask for, of a model that has classes and reads no words.

    Raises UsageError for templates, and as `choose_classes` does.
    """
    if options.templates:
        raise UsageError(f"{name} has its own classes and reads no words; leave out --template")
    return choose_classes(described, options.labels, name, options.none_below)


def choose_classes(
    described: "Description", labels: Sequence[OwnLabel], name: str, least: float | None = None
) -> LabelChoice:
    """The labels among a model's own classes, or all of them.

    Raises UsageError for a label that is none of them, and for texts that stand for labels, and says
    which models take words.
    """
    multi = described.config.multi_label
    if not labels:
        return LabelChoice.of_all(described.labels, least)
    words = f"models that take words: {', '.join(models_with_words())}"
    if said := [label.name for label in labels if label.prompts]:
        raise UsageError(f"{name}: '{said[0]}' is said by texts, and it reads none; {words}")
    found = match([label.name for label in labels], described.labels, name, words)
    numbers = tuple(found[label.name] for label in labels)
    if len(set(numbers)) < len(numbers):
        twice = next(number for number in numbers if numbers.count(number) > 1)
        raise UsageError(f"'{described.labels[twice]}' is there twice among the labels")
    return LabelChoice(
        labels=tuple(described.labels[number] for number in numbers),
        numbers=numbers,
        given=True,
        shared=not multi,
        least=least,
    )
