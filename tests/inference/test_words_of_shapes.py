"""A model trained here on coloured shapes that move: combinations that it never saw, by their words."""

import numpy as np
import pytest

import timesformer_cli
from tests.support import clips
from tests.support.moving_shapes import (
    COMBINATIONS,
    FRAMES,
    HELD_OUT,
    SIZE,
    caption,
    pictures,
    train_shapes,
)

EACH = 4  # clips of each combination
LEAST = 0.95


def test_what_is_held_out_has_every_colour_shape_and_motion_known():
    known = [each for each in COMBINATIONS if each not in HELD_OUT]
    assert len(HELD_OUT) == len(COMBINATIONS) // 4
    for place in range(3):
        assert {each[place] for each in known} == {each[place] for each in HELD_OUT}


@pytest.mark.slow  # it trains for some 20 s of one processor
def test_held_out_combinations_are_named_by_their_words(tmp_path):
    train_shapes(tmp_path / "model")
    pick, videos = np.random.default_rng(7), {}
    for combination in HELD_OUT:
        for number in range(EACH):
            path = tmp_path / f"{'_'.join(combination)}_{number}.mp4"
            frames = pictures(combination, pick, size=4 * SIZE)
            clips.write(path, frames, fps=30, size=(4 * SIZE, 4 * SIZE), options={"crf": "12"})
            videos[str(path)] = caption(combination)
    how = {"template": "{}", "device": "cpu", "dtype": "float32", "frames": FRAMES, "top_k": 40}
    words = [caption(each) for each in COMBINATIONS]
    results = list(timesformer_cli.classify([*videos], tmp_path / "model", labels=words, **how))
    right = [result.predictions[0].label == videos[result.video] for result in results]
    assert sum(right) / len(right) >= LEAST, right

    # The order of the labels changes no score.
    turned = list(
        timesformer_cli.classify([*videos], tmp_path / "model", labels=words[::-1], **how)
    )
    for first, second in zip(results, turned, strict=True):
        assert {p.label: (p.score, p.similarity) for p in first.predictions} == {
            p.label: (p.score, p.similarity) for p in second.predictions
        }

    # Asked for what is red alone, a clip of another colour is none, at a threshold that half of the
    # clips give and the other half are tried with.
    red = [word for word in words if " red " in word]
    best = list(timesformer_cli.classify([*videos], tmp_path / "model", labels=red, **how))
    fits = [(result.predictions[0].similarity, videos[result.video] in red) for result in best]
    least = (
        min(fit for fit, there in fits[::2] if there) + max(f for f, t in fits[::2] if not t)
    ) / 2
    asked = list(
        timesformer_cli.classify([*videos], tmp_path / "model", labels=red, none_below=least, **how)
    )
    expected = [label if label in red else "none" for label in videos.values()]
    answered = [result.predictions[0].label for result in asked]
    right = [a == b for a, b in zip(answered[1::2], expected[1::2], strict=True)]
    assert sum(right) / len(right) >= LEAST, [*zip(answered, expected, strict=True)]
    assert "none" in expected[1::2] and {*expected[1::2]} & {*red}
