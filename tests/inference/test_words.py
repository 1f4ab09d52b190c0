"""Words as classes, with a model whose weights were written by hand: it knows three colours."""

import json
import os
import shutil
import time
from itertools import pairwise

import pytest
import torch
from typer.testing import CliRunner

import timesformer_cli
from tests.support import words as support
from tests.support.words import COLOURS, colour_clip, colour_model
from timesformer_cli.cli.app import app
from timesformer_cli.errors import UsageError, WeightsError
from timesformer_cli.inference import word_cache
from timesformer_cli.inference.word_cache import WordKey, keep_vectors, kept_vectors
from timesformer_cli.model.text import TextTower
from timesformer_cli.weights.description import TOKENIZER

HOW = {"device": "cpu", "dtype": "float32"}
BARE = "{}"


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    return colour_model(tmp_path_factory.mktemp("colours"))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    made = {name: colour_clip(folder / f"{name}.mp4", name) for name in (*COLOURS, "black")}
    return made | {"mixed": colour_clip(folder / "mixed.mp4", "red", "black", "blue")}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of our own."""
    monkeypatch.setenv("TSF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "words"


@pytest.fixture
def towers(monkeypatch):
    """How many texts went through a text tower, a call each."""
    ran = []
    forward = TextTower.forward

    def counted(self, tokens, mask):
        ran.append(len(tokens))
        return forward(self, tokens, mask)

    monkeypatch.setattr(TextTower, "forward", counted)
    return ran


def answers(video, model, labels, **how):
    """Scores and similarities by label."""
    (result,) = timesformer_cli.classify(video, model, labels=labels, **{**HOW, **how})
    assert result.status == "ok", result
    return {one.label: (one.score, one.similarity) for one in result.predictions}


def test_a_clip_is_named_by_words(colours, videos):
    for name in COLOURS:
        found = answers(videos[name], colours, ["red", "blue", "green"], template=BARE)
        assert next(iter(found)) == name
        score, similarity = found[name]
        assert score > 0.99 and similarity > 0.9


def test_scores_are_a_softmax_of_the_similarities_at_the_models_temperature(colours, videos):
    found = answers(videos["red"], colours, ["red", "a red", "a red thing"], template=BARE)
    scores, similarities = (torch.tensor(column) for column in zip(*found.values(), strict=True))
    torch.testing.assert_close((similarities / 0.01).softmax(0), scores, rtol=0, atol=1e-4)


@pytest.mark.parametrize("views", [{}, {"clips": 2}])
def test_the_order_of_the_labels_changes_nothing(colours, videos, views):
    given = ["red", "green", "blue", "a red dog"]
    first = answers(videos["red"], colours, given, **views)
    for order in ([3, 2, 1, 0], [1, 3, 0, 2]):
        assert answers(videos["red"], colours, [given[n] for n in order], **views) == first


def test_what_is_not_there_is_none_at_the_threshold(colours, videos):
    labels, how = ["red", "green", "purple"], {"template": BARE, "none_below": 0.5}
    assert list(answers(videos["red"], colours, labels, **how)) == ["red"]
    for video in ("blue", "black"):  # neither of them is any of these
        found = answers(videos[video], colours, labels, **how)
        assert list(found) == ["none"] and found["none"][0] == 0
        assert list(answers(videos[video], colours, labels, template=BARE)) != ["none"]


def test_templates_are_averaged_and_texts_of_a_label_take_their_place(colours, videos):
    one, other = "{}", "so {} a thing"
    by = [
        answers(videos["red"], colours, ["red"], template=each)["red"][1] for each in (one, other)
    ]
    mean = answers(videos["red"], colours, ["red"], template=[one, other])["red"][1]
    assert min(by) < mean < max(by)
    said = {"crimson": ["red", "so red a thing"], "sky": "blue"}
    found = answers(videos["red"], colours, said, template="{} {} {}")
    assert found["crimson"][1] == mean and next(iter(found)) == "crimson"


def test_the_models_own_template_is_the_default(colours, videos):
    given = answers(videos["red"], colours, ["red"])
    assert given == answers(videos["red"], colours, ["red"], template="a video of {}.")
    assert given != answers(videos["red"], colours, ["red"], template=BARE)


def test_texts_go_through_the_tower_once(colours, videos, cache, towers):
    labels = ["red", "green", "a blue one"]
    first = answers(videos["red"], colours, labels)
    assert towers == [3]
    assert answers(videos["red"], colours, labels) == first
    assert answers(videos["blue"], colours, labels[::-1]).keys() == first.keys()
    assert towers == [3] and len(list(cache.iterdir())) == 1
    answers(videos["red"], colours, labels, template=BARE)
    answers(videos["red"], colours, labels[:2])
    assert towers == [3, 3, 2]


def test_another_models_words_are_its_own(colours, videos, cache, towers, tmp_path):
    answers(videos["red"], colours, ["red", "blue"])
    other = tmp_path / "other"
    shutil.copytree(colours, other)
    answers(videos["red"], other, ["red", "blue"])
    assert towers == [2]  # the same weights, elsewhere
    (other / "model.safetensors").unlink()
    model = timesformer_cli.load_model(colours)
    with torch.no_grad():
        model.text.tokens.weight[2] *= -1
    support.save_model(model, other)
    assert answers(videos["red"], other, ["red", "blue"]) != answers(
        videos["red"], colours, ["red", "blue"]
    )
    assert towers == [2, 2]
    content = json.loads((other / TOKENIZER).read_text())
    content["model"]["vocab"] |= {"red": 3, "green": 2}
    (other / TOKENIZER).write_text(json.dumps(content))
    answers(videos["red"], other, ["red", "blue"])
    assert towers == [2, 2, 2]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content[:-4] + b"\0\0\0\0",
        lambda content: content + b"more",
        lambda content: b"not such a file" * 20,
    ],
    ids=["empty", "half", "bits", "longer", "foreign"],
)
def test_a_damaged_entry_is_made_again(damage, colours, videos, cache, towers):
    first = answers(videos["red"], colours, ["red", "blue"])
    (entry,) = cache.iterdir()
    entry.write_bytes(damage(entry.read_bytes()))
    for _ in range(2):
        assert answers(videos["red"], colours, ["red", "blue"]) == first
    assert towers == [2, 2]


def test_an_entry_of_other_words_is_not_taken(colours, videos, cache, towers):
    answers(videos["red"], colours, ["red", "blue"])
    (entry,) = cache.iterdir()
    answers(videos["red"], colours, ["red", "green"])
    (other,) = set(cache.iterdir()) - {entry}
    shutil.copy(other, entry)
    assert next(iter(answers(videos["blue"], colours, ["red", "blue"]))) == "blue"
    assert towers == [2, 2, 2]


def key(number: int, texts: int = 1) -> WordKey:
    return WordKey(digest=str(number), tokenizer=b"", length=8, texts=["text"] * texts)


def test_the_cache_is_bounded_and_keeps_what_was_used_last(cache, monkeypatch):
    monkeypatch.setattr(word_cache, "MOST_ENTRIES", 3)
    for number in range(3):
        keep_vectors(key(number), torch.ones(1, 4))
        path = word_cache._place(key(number))
        os.utime(path, (1000 + number, 1000 + number))
    assert kept_vectors(key(0), 4) is not None  # it is used now
    keep_vectors(key(3), torch.ones(1, 4))
    there = [kept_vectors(key(number), 4) is not None for number in range(4)]
    assert there == [True, False, True, True]
    monkeypatch.setattr(word_cache, "MOST_BYTES", 3000)
    time.sleep(0.01)
    keep_vectors(key(4, 200), torch.ones(200, 1))
    assert sum(path.stat().st_size for path in cache.iterdir()) <= 3000
    keep_vectors(key(5, 500), torch.ones(500, 1))  # more than half of all
    assert kept_vectors(key(5, 500), 1) is None


def test_a_cache_that_cannot_be_written_is_none(colours, videos, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TSF_CACHE", str(tmp_path / "file"))
    assert next(iter(answers(videos["blue"], colours, ["red", "blue"]))) == "blue"


def test_a_loaded_model_takes_words_too(colours, videos):
    labels = ["red", "green", "blue"]
    expected = answers(videos["green"], colours, labels)
    how = {"device": "auto", "dtype": "auto"}
    model = timesformer_cli.load_model(colours)
    assert answers(videos["green"], model, labels, **how) == expected
    fast = timesformer_cli.load_model(colours, **HOW)
    assert answers(videos["green"], fast, labels, **how) == expected
    assert answers(videos["green"], fast, labels[::-1], **how) == expected


def test_a_classifier_keeps_the_words(colours, videos, cache, towers):
    with timesformer_cli.Classifier(colours, labels=["red", "blue"], **HOW) as classify:
        for name in ("red", "blue", "red"):
            (result,) = classify(videos[name])
            assert result.predictions[0].label == name
    assert towers == [2]


def test_a_timeline_says_when(colours, videos):
    how = {"labels": ["red", "blue", "green"], "template": BARE, "cuts": False, **HOW}
    segments = timesformer_cli.timeline(videos["mixed"], colours, none_below=0.5, **how).segments()
    assert [segment.label for segment in segments] == ["red", "blue"]
    assert segments[0].end < segments[1].start  # the black between them is none
    assert all(segment.similarity > 0.5 for segment in segments)
    every = timesformer_cli.timeline(videos["mixed"], colours, **how).segments()
    assert all(a.end == b.start for a, b in pairwise(every))


def test_several_devices_give_the_same_answers(colours, videos):
    labels = ["red", "green", "blue"]
    assert answers(videos["blue"], colours, labels, device="cpu,cpu") == answers(
        videos["blue"], colours, labels
    )


def test_10_000_labels_are_no_more_than_some_batches(colours, videos, cache, towers, caplog):
    labels = [f"a red thing {number}" for number in range(9_999)] + ["blue"]
    found = answers(videos["blue"], colours, labels, template=BARE)
    assert "10,000 texts go through the text tower" in caplog.text
    assert next(iter(found)) == "blue" and sum(towers) == 10_000
    assert answers(videos["blue"], colours, labels, template=BARE) == found
    assert sum(towers) == 10_000


def test_a_label_of_5000_words_is_cut_with_a_note(colours, videos, caplog):
    long = "red " * 5000
    found = answers(videos["red"], colours, [long, "blue"], template=BARE)
    assert "only the first 16 tokens count of the text of 'red red" in caplog.text
    assert next(iter(found)) == long.strip()


def test_without_labels_there_is_nothing_to_answer(colours, videos):
    with pytest.raises(
        UsageError, match="has no classes of its own; say what to look for: --labels"
    ):
        next(timesformer_cli.classify(videos["red"], colours, **HOW))
    with pytest.raises(UsageError, match="has no classes of its own"):
        timesformer_cli.timeline(videos["red"], colours, **HOW).segments()


def test_a_tokenizer_that_is_missing_or_foreign_is_one_line(colours, videos, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(colours, folder)
    for content, fault in (
        (None, f"{folder}: no tokenizer.json in it, without which the model reads no words"),
        ("{}", f"{folder / TOKENIZER}: is no tokenizer"),
    ):
        (folder / TOKENIZER).unlink()
        if content is not None:
            (folder / TOKENIZER).write_text(content)
        with pytest.raises(WeightsError) as caught:
            next(timesformer_cli.classify(videos["red"], folder, labels=["red"], **HOW))
        assert str(caught.value).startswith(fault) and "\n" not in str(caught.value)
        (folder / TOKENIZER).touch()
    support.word_tokenizer(folder, [f"word{number}" for number in range(400)])
    with pytest.raises(WeightsError, match="has 402 tokens, and the model's text tower 5: it is"):
        next(timesformer_cli.classify(videos["red"], folder, labels=["red"], **HOW))


def test_a_model_of_its_own_classes_reads_no_words(model_folder, videos):
    with pytest.raises(
        UsageError, match=r"has no class 'red' .*its 5 are a, b, c, .*; models that"
    ):
        next(timesformer_cli.classify(videos["red"], model_folder, labels=["red", "a"], **HOW))
    with pytest.raises(UsageError, match="reads no words; leave out --template"):
        next(
            timesformer_cli.classify(
                videos["red"], model_folder, labels=["a"], template=BARE, **HOW
            )
        )
    whole = answers(videos["red"], model_folder, None)
    some = answers(videos["red"], model_folder, ["b", "d"])
    both = whole["b"][0] + whole["d"][0]
    for label in "bd":
        score, similarity = some[label]
        assert score == pytest.approx(whole[label][0] / both, abs=1e-5)
        assert similarity == pytest.approx(whole[label][0], abs=1e-6)


def test_a_saved_model_has_its_tokenizer(colours, videos, tmp_path):
    support.save_model(timesformer_cli.load_model(colours), tmp_path / "copy")
    labels = ["red", "blue"]
    assert answers(videos["red"], tmp_path / "copy", labels) == answers(
        videos["red"], colours, labels
    )


def test_vectors_of_a_video_need_no_words(colours, videos):
    from timesformer_cli.inference.classify import ClassifyOptions
    from timesformer_cli.library.embed import embed_videos
    from timesformer_cli.video import VideoPath

    options = ClassifyOptions(model=str(colours), **HOW)
    (result,) = embed_videos([VideoPath(str(videos["red"]))], options)
    (embedding,) = result.embeddings
    assert embedding.predictions == () and embedding.vector.argmax() == 0
    ran = CliRunner().invoke(
        app,
        ["embed", str(videos["red"]), "-m", str(colours), "--every", "0.3", "--format", "jsonl"],
    )
    assert ran.exit_code == 0, ran.output
    embeddings = json.loads(ran.stdout)["embeddings"]
    assert len(embeddings) > 1 and not any(each["predictions"] for each in embeddings)
