"""A model's own tokenizer: from texts to the token ids that its text tower reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from timesformer_cli.errors import WeightsError
from timesformer_cli.files import regular_file
from timesformer_cli.text_config import TextConfig
from timesformer_cli.weights.description import LARGEST_JSON

# Other files of a tokenizer, which older code reads, and transformers writes into a tokenizer.json.
OLDER = ("spiece.model", "sentencepiece.model", "tokenizer.model", "vocab.json", "merges.txt")
# A tower may have rows for more or fewer tokens than its tokenizer: T5's family has a hundred that no
# text becomes.
SPARE = 256


class TokenBatch(NamedTuple):
    """Texts as token ids."""

    tokens: Tensor  # int64 (n l), zeros behind a text's end
    mask: Tensor  # bool (n l), true where a token is the text's
    cut: tuple[bool, ...]  # for each text, whether its end was left out


class TextTokenizer:
    """Turns texts into token ids, as the `tokenizer.json` of a model folder says."""

    def __init__(self, file: Path, config: TextConfig) -> None:
        """Read the file; raises WeightsError where it is missing, broken, or of another model."""
        from tokenizers import Tokenizer

        self.file, self.config = file, config
        self.content = _content(file)
        try:
            self._tokenizer = Tokenizer.from_str(self.content.decode("utf-8"))
        except Exception as error:  # the package raises nothing narrower
            first = str(error).partition("\n")[0]
            raise WeightsError(f"{file}: is no tokenizer ({first})") from error
        size = self._tokenizer.get_vocab_size()
        if abs(size - config.vocabulary) > SPARE:
            raise WeightsError(
                f"{file}: has {size:,} tokens, and the model's text tower {config.vocabulary:,}: it is "
                "another model's"
            )
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(config.length)

    def __call__(self, texts: Sequence[str]) -> TokenBatch:
        """The tokens of texts; one that is longer than the model reads loses its end.

        Raises WeightsError for a token that the model has not.
        """
        encoded = self._tokenizer.encode_batch(list(texts))
        longest = max((len(each.ids) for each in encoded), default=0)
        tokens = torch.zeros(len(encoded), longest, dtype=torch.int64)
        mask = torch.zeros(len(encoded), longest, dtype=torch.bool)
        for row, each in enumerate(encoded):
            tokens[row, : len(each.ids)] = torch.tensor(each.ids, dtype=torch.int64)
            mask[row, : len(each.ids)] = True
        if tokens.numel() and (most := int(tokens.max())) >= self.config.vocabulary:
            raise WeightsError(
                f"{self.file}: its token {most:,} is none of the {self.config.vocabulary:,} of the "
                "model's text tower: it is another model's"
            )
        return TokenBatch(tokens, mask, tuple(bool(each.overflowing) for each in encoded))


def _content(file: Path) -> bytes:
    """The bytes of the file; raises WeightsError that says what stands in its place."""
    try:
        with regular_file(file) as (stream, _):
            content = stream.read(LARGEST_JSON + 1)
    except FileNotFoundError as error:
        older = [name for name in OLDER if file.with_name(name).exists()]
        there = f" ({', '.join(older)} alone is not read)" if older else ""
        raise WeightsError(
            f"{file.parent}: no {file.name} in it{there}, without which the model reads no words; "
            "it is published beside the weights, and transformers writes it: "
            "AutoTokenizer.from_pretrained(ID).save_pretrained(FOLDER)"
        ) from error
    except OSError as error:
        raise WeightsError(f"{file}: {error.strerror}") from error
    if len(content) > LARGEST_JSON:
        raise WeightsError(f"{file}: more than {LARGEST_JSON:,} bytes are too many for it")
    return content
