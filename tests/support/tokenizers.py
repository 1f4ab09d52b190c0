"""Tokenizers as the published models have them, on a small vocabulary made here."""

import io
import random
from pathlib import Path

WORDS = (
    "a video of someone falls sits down stands up opens the door red green blue square disc cross moves "
    "left right up down playing drums flute running walking cooking in kitchen with two people and dog"
).split()
CORPUS = (
    "Zoë naïve café crème brûlée über Straße façade señor São Łódź smörgåsbord coöperate fiancé\n"
    "One hundred twenty-three 1234567890 (brackets) [square] {curly} 'single' \"double\" #hash @at\n"
    "The quick brown fox jumps over the lazy dog; it's, that's, we'll, they've, I'd: don't!\n"
)


def corpus(lines=400):
    """Sentences of these words, and the project's own pages."""
    pick = random.Random(0)
    made = [" ".join(pick.choices(WORDS, k=pick.randint(3, 9))) for _ in range(lines)]
    pages = sorted((Path(__file__).parents[2] / "docs").glob("*.md"))[:4]
    return CORPUS * 8 + "\n".join(made + [page.read_text(encoding="utf-8") for page in pages])


def strings(count=1000):
    """Texts that people write, and some that they do not: accents, emoji, empty, 200 words."""
    pick = random.Random(1)
    odd = [
        "",
        " ",
        "\t\n ",
        "a",
        "A VIDEO OF A DOG.",
        "  two  spaces  and\ttab  ",
        "café cafe\u0301 \ufb01nd \uff46\uff55\uff4c\uff4c \u2167 \xbd \ufdfa",
        "😀 👩‍👩‍👧 🏳️‍🌈 ❤️ 🇩🇪",
        "日本語の動画 한국어 видео فيديو וידאו हिन्दी",
        "</s> <pad> <unk> <extra_id_0> <|endoftext|> <|startoftext|>",
        "▁under▁score",
        "zero\u200bwidth\u00adsoft\ufeffmark\u2028line",
        "\x00\x01\x7f\x85\u202e",
        "don't I'm we'll they've 'S 'T",
        " ".join(WORDS * 10)[:1200],
        " ".join(pick.choices(WORDS, k=200)),
        "x" * 500,
        "1234567890 3.14 1,000,000 €5 50%",
    ]
    letters = "abcdefghijklmnopqrstuvwxyzäöüßéèêñçøåłčABCXYZ 0123456789.,;:!?'\"-_/()[]{}<>|@#€😀🎥日本дом"
    for _ in range(count - len(odd)):
        words = pick.choices(WORDS, k=pick.randint(0, 20))
        words += [
            "".join(pick.choices(letters, k=pick.randint(1, 9))) for _ in range(pick.randint(0, 4))
        ]
        pick.shuffle(words)
        odd.append(pick.choice((" ", " ", "  ", ", ")).join(words))
    return odd


def sentencepiece_tokenizer(folder, size=900):
    """VideoPrism's: a SentencePiece vocabulary with T5's rules, saved by transformers in a folder."""
    import sentencepiece
    from transformers.models.videoprism.tokenization_videoprism import VideoPrismTokenizer

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus().splitlines()),
        model_writer=model,
        vocab_size=size,
        model_type="unigram",
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "spiece.model"
    source.write_bytes(model.getvalue())
    read = VideoPrismTokenizer.convert_to_native_format(vocab_file=str(source), extra_ids=100)
    tokenizer = VideoPrismTokenizer(
        vocab=read["vocab"],
        extra_ids=100,
        _spm_precompiled_charsmap=read.get("_spm_precompiled_charsmap"),
    )
    tokenizer._tokenizer.post_processor = None
    source.unlink()
    tokenizer.save_pretrained(folder)
    return VideoPrismTokenizer.from_pretrained(folder)


def bytepair_tokenizer(folder, size=900):
    """X-CLIP's: CLIP's byte pairs, saved by transformers in a folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    bpe.train_from_iterator(corpus().lower().splitlines(), trainer)
    folder.mkdir(parents=True, exist_ok=True)
    bpe.model.save(str(folder))
    vocabulary = bpe.get_vocab()
    merges = [
        tuple(line.split(" "))
        for line in (folder / "merges.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#version")
    ]
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges)
    tokenizer.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)
