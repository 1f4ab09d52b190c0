"""A model's own tokenizer: the tokens of transformers, and what is no tokenizer of the model's."""

import json

import pytest

from tests.support.tokenizers import bytepair_tokenizer, sentencepiece_tokenizer, strings
from timesformer_cli.errors import WeightsError
from timesformer_cli.text_config import TextConfig
from timesformer_cli.weights.description import TOKENIZER
from timesformer_cli.weights.tokenizer import TextTokenizer

MAKERS = {"VideoPrism": sentencepiece_tokenizer, "X-CLIP": bytepair_tokenizer}


def config(vocabulary, length):
    return TextConfig(dim=8, depth=1, heads=1, mlp_dim=8, vocabulary=vocabulary, length=length)


@pytest.fixture(scope="module", params=MAKERS)
def made(request, tmp_path_factory):
    """A folder with a tokenizer, and transformers' own reading of it."""
    pytest.importorskip("sentencepiece")
    folder = tmp_path_factory.mktemp(request.param)
    return folder, MAKERS[request.param](folder)


@pytest.mark.parametrize("length", [64, 7])
def test_tokens_are_those_of_transformers_on_1000_texts(made, length):
    folder, theirs = made
    texts = strings()
    assert len(texts) == 1000 and len(set(texts)) > 950
    ours = TextTokenizer(folder / TOKENIZER, config(len(theirs), length))
    batch = ours(texts)
    assert batch.tokens.shape[1] == length  # some text is as long
    for text, tokens, mask, cut in zip(texts, *batch, strict=True):
        expected = theirs(text, truncation=True, max_length=length)
        assert tokens[mask].tolist() == expected["input_ids"], text
        assert mask.tolist() == [True] * int(mask.sum()) + [False] * int((~mask).sum())
        whole = theirs(text, truncation=False)["input_ids"]
        assert cut == (len(whole) > length), text
    assert any(batch.cut) and not all(batch.cut)


def test_the_texts_hold_many_tokens_and_few_unknown_ones(made):
    """So that the comparison above says something."""
    folder, theirs = made
    batch = TextTokenizer(folder / TOKENIZER, config(len(theirs), 64))(strings())
    used = batch.tokens[batch.mask].unique()
    assert len(used) > 200


def test_what_is_no_tokenizer_of_the_model_is_one_line(made, tmp_path):
    folder, theirs = made
    size = len(theirs)
    whole = (folder / TOKENIZER).read_text(encoding="utf-8")
    (tmp_path / "vocab.json").write_text("{}")
    faults = (
        ("no tokenizer.json in it (vocab.json alone is not read)", None),
        ("is no tokenizer", whole[: len(whole) // 2]),
        ("is no tokenizer (", "{}"),
        ("is no tokenizer", json.dumps({"id2label": {}})),
        (f"has {size:,} tokens, and the model's text tower {size + 1000:,}: it is another", whole),
    )
    for fault, content in faults:
        if content is not None:
            (tmp_path / TOKENIZER).write_text(content, encoding="utf-8")
        with pytest.raises(WeightsError) as caught:
            TextTokenizer(tmp_path / TOKENIZER, config(size + 1000, 64))
        assert fault in str(caught.value) and "\n" not in str(caught.value)
    (tmp_path / TOKENIZER).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(WeightsError, match="is no tokenizer"):
        TextTokenizer(tmp_path / TOKENIZER, config(size, 64))
    (tmp_path / TOKENIZER).unlink()
    (tmp_path / TOKENIZER).mkdir()
    with pytest.raises(WeightsError, match="is a folder"):
        TextTokenizer(tmp_path / TOKENIZER, config(size, 64))


def test_a_token_that_the_tower_has_not_is_another_models(made):
    folder, theirs = made
    ours = TextTokenizer(folder / TOKENIZER, config(len(theirs) - 250, 64))
    with pytest.raises(WeightsError, match="another model's"):
        ours(strings())
