"""From words to scores as transformers computes them: tokens, text vectors, similarities, softmax."""

import pytest
import torch
from torch.testing import assert_close

from tests.model.test_relatives import clips
from tests.support.tokenizers import sentencepiece_tokenizer
from tests.weights.test_videoprism_folders import save_words
from timesformer_cli.callbacks import ignore_note
from timesformer_cli.dataset.own_labels import as_own_labels
from timesformer_cli.inference.classify import ClassifyOptions
from timesformer_cli.inference.words import choose_labels
from timesformer_cli.weights.load import load_path

LABELS = ("someone falls", "Zoë opens the door 😀", "running", "a dog and " * 40)
EXACT = {"rtol": 1e-5, "atol": 1e-5}


@pytest.mark.parametrize("template", [None, "{}", "two people: {}!"])
def test_words_have_the_similarities_of_transformers(template, tmp_path):
    pytest.importorskip("sentencepiece")
    tokenizer = sentencepiece_tokenizer(tmp_path)
    theirs = save_words(tmp_path, text={"vocab_size": len(tokenizer)})
    model, _ = load_path(tmp_path)
    options = ClassifyOptions(
        labels=as_own_labels(LABELS), templates=() if template is None else (template,)
    )
    choice = choose_labels(options, "it", ignore_note, model)
    texts = [(template or "a video of {}.").format(label.strip()) for label in LABELS]
    given = tokenizer(
        texts, padding="max_length", truncation=True, max_length=64, return_tensors="pt"
    )
    clip = clips(3, 4, 3, 36, 36)
    with torch.no_grad():
        expected = theirs(clip, **given)
        assert_close(choice.vectors, expected.text_embeds, **EXACT)
        cosines = expected.video_embeds @ expected.text_embeds.T
        outputs = choice.outputs(model.features(clip))
    assert_close(outputs, cosines, **EXACT)
    scores = torch.from_numpy(choice.scores(outputs))
    assert_close(scores, (cosines / 0.01).softmax(-1), rtol=0, atol=1e-3)
    assert cosines.std() > 1e-3
