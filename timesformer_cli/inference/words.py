"""Words as classes: the texts that say each label go through the model's own text tower."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from timesformer_cli.callbacks import NoteCallback
from timesformer_cli.dataset.label_matching import shown_label
from timesformer_cli.dataset.own_labels import SLOT, OwnLabel
from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.inference.device import memory_explained
from timesformer_cli.inference.fast.model import FastModel
from timesformer_cli.inference.label_choice import LabelChoice, choose_classes, choose_own
from timesformer_cli.inference.open import describe_model
from timesformer_cli.inference.word_cache import WordKey, keep_vectors, kept_vectors
from timesformer_cli.model.network import make_head
from timesformer_cli.weights.description import Description
from timesformer_cli.weights.hub.hashed_files import digits_of
from timesformer_cli.weights.hub.intact import SNAPSHOTS
from timesformer_cli.weights.hub.locate import Located
from timesformer_cli.weights.load import load_model
from timesformer_cli.weights.tokenizer import TextTokenizer, TokenBatch
from timesformer_cli.weights.weight_files import require_weight_files

if TYPE_CHECKING:
    from timesformer_cli.inference.runnable import RunnableModel
    from timesformer_cli.inference.scorer import ScorerOptions
    from timesformer_cli.model import TimeSformer
    from timesformer_cli.model.text import TextTower

BATCH = 64  # texts that go through the tower together
MANY = 2000  # texts that take long enough to say so
NAMED = 3  # labels that a note names


def require_labels(located: Located, labels: Sequence[OwnLabel]) -> None:
    """Raise UsageError for labels that a model without a text tower has not; reads no weights."""
    described = describe_model(located)
    if described.config.text is None:
        choose_classes(described, labels, located.name)


def choose_labels(
    options: "ScorerOptions",
    name: str,
    note: NoteCallback,
    model: "TimeSformer | RunnableModel | Located",
    located: Located | None = None,
    *,
    answers: bool = True,
    multi_label: bool = False,
) -> LabelChoice:
    """What the model may answer: its classes, some of them, or words.

    `located` says where a model came from that was loaded for this alone. With `multi_label` each
    class is scored by itself, whatever the model says. Raises UsageError for that where the model
    takes words, for labels that the model has not, and, where `answers` are asked for, without any for a model that
    takes words; WeightsError where its tokenizer is missing or another model's.
    """
    described = describe_model(model) if isinstance(model, Located) else Description.of(model)
    if multi_label:
        described = described.of_several(name)
    if described.config.text is None:
        return choose_own(described, options, name)
    if not options.labels and answers:
        raise UsageError(
            f"{name} has no classes of its own; say what to look for: --labels 'a,b,c'"
        )
    if not options.labels:
        return LabelChoice(labels=(), numbers=(), given=True)
    if isinstance(model, Located):
        model, _ = load_model(model)
    return _choose_words(options, name, model, located, note)


def answer_with(model: "TimeSformer", choice: LabelChoice) -> None:
    """Make the labels that were chosen the model's classes: words by a head of their vectors.

    The softmax of its logits is then `choice.scores`. The text tower is gone.
    """
    labels, config, head = choice.labels, model.config, model.head
    thresholds = tuple(config.thresholds[number] for number in choice.numbers if config.thresholds)
    model.config = replace(
        config,
        classes=len(labels),
        thresholds=thresholds,
        text=None,
        worded=config.text is not None,
    )
    model.labels, model.text, model.tokenizer = labels, None, None
    model.head = make_head(model.config)
    with torch.no_grad():
        if choice.vectors is None:
            model.head.weight.copy_(head.weight[list(choice.numbers)])
            model.head.bias.copy_(head.bias[list(choice.numbers)])
        else:
            model.head.weight.copy_(choice.vectors / choice.temperature)
            model.head.bias.zero_()


def _choose_words(
    options: "ScorerOptions", name: str, model: Any, located: Located | None, note: NoteCallback
) -> LabelChoice:
    """The labels as words, for a model with a text tower, published or fast."""
    config, labels = model.config.text, options.labels
    tower, file = getattr(model, "text", None), getattr(model, "tokenizer", None)
    if tower is None or file is None:
        raise UsageError(f"{name} has no text tower, or no tokenizer: give the folder it came from")
    try:
        tokenizer = TextTokenizer(file, config)
    except WeightsError as error:
        raise WeightsError(located.in_words(str(error)) if located else str(error)) from error
    templates = options.templates or (config.template,)
    said = [label.prompts or tuple(_filled(label.name, templates)) for label in labels]
    # In one order, whatever the order of the labels: so their vectors are the same to the last bit.
    texts = sorted({text for each in said for text in each})
    batch = tokenizer(texts)
    if long := {text for text, cut in zip(texts, batch.cut, strict=True) if cut}:
        those = [label.name for label, each in zip(labels, said, strict=True) if long & {*each}]
        _tell_of_long(those, config.length, note)
    key = vectors = None
    if located is not None:
        digest = _digest(located)
        key = WordKey(digest=digest, tokenizer=tokenizer.content, length=config.length, texts=texts)
        vectors = kept_vectors(key, config.dim)
    if vectors is None:
        if len(texts) > MANY:
            note(f"{len(texts):,} texts go through the text tower, which takes a while")
        # A model that was loaded for this has its tower on the CPU yet.
        device = model.device if isinstance(model, FastModel) and located else tower.end.device
        with memory_explained(device):
            vectors = _vectors(tower.to(device), batch)
        if key is not None:
            keep_vectors(key, vectors)
    if located is not None and isinstance(model, FastModel):
        model.forget_text()
    place = {text: number for number, text in enumerate(texts)}
    means = [vectors[[place[text] for text in each]].mean(dim=0) for each in said]
    of_labels = torch.stack(means)
    return LabelChoice(
        labels=tuple(label.name for label in labels),
        numbers=tuple(range(len(labels))),
        given=True,
        least=options.none_below,
        vectors=of_labels / of_labels.norm(dim=-1, keepdim=True),
        temperature=config.temperature,
    )


def _digest(located: Located) -> str:
    """Which weights these are: the commit on the hub, or the SHA-256 of their files."""
    if located.path.parent.name == SNAPSHOTS:
        return located.path.name
    path = located.path
    files = require_weight_files(path) if path.is_dir() else (path,)
    return ",".join(map(digits_of, files))


def _filled(name: str, templates: Sequence[str]) -> Iterator[str]:
    return (template.replace(SLOT, name) for template in templates)


@torch.inference_mode()
def _vectors(tower: "TextTower", batch: TokenBatch) -> Tensor:
    """The texts' vectors `(n d)`, float32 on the CPU; texts of like lengths go together."""
    device, (tokens, mask, _) = tower.end.device, batch
    lengths = mask.sum(dim=1)
    order = lengths.argsort(stable=True)
    found = []
    for first in range(0, len(order), BATCH):
        rows = order[first : first + BATCH]
        longest = int(lengths[rows].max())
        some = tower(tokens[rows, :longest].to(device), mask[rows, :longest].to(device))
        found.append(some.float().cpu())
    vectors = torch.empty_like(torch.cat(found))
    vectors[order] = torch.cat(found)
    return vectors


def _tell_of_long(labels: Sequence[str], length: int, note: NoteCallback) -> None:
    named = ", ".join(f"'{shown_label(label)}'" for label in labels[:NAMED])
    more = f" and {len(labels) - NAMED} more" if len(labels) > NAMED else ""
    note(
        f"only the first {length} tokens count of the text of {named}{more}: the model reads no more"
    )
