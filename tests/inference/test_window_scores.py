"""Windows that share frames get the scores that they get alone."""

import numpy as np
import pytest
import torch

from tests.support.models import TYPED, randomised, tiny
from timesformer_cli.inference.fast.model import make_fast
from timesformer_cli.inference.predictor import Predictor
from timesformer_cli.inference.window_scores import WindowScorer
from timesformer_cli.schemes import SCHEMES
from timesformer_cli.video.sample import Clip
from timesformer_cli.video.stream import StreamedWindow
from timesformer_cli.video.windows import Window

FRAMES, HOP = 8, 2
PICTURES = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)


def windows() -> list[StreamedWindow]:
    """Eight frames each, two on from one to the next; only new frames are told, old ones dropped."""
    told: set[int] = set()
    made = []
    for first in range(0, len(PICTURES) - FRAMES + 1, HOP):
        numbers = tuple(range(first, first + FRAMES))
        fresh = {number: PICTURES[number] for number in numbers if number not in told}
        told |= fresh.keys()
        window = Window(Clip(first, first + 1, numbers), numbers, oldest=first + HOP)
        made.append(StreamedWindow(window, fresh))
    return made


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("scheme", [*SCHEMES, *TYPED.values()])
def test_each_window_has_the_scores_that_it_has_alone(scheme, batch_size):
    model = randomised(tiny(attention=scheme))
    predictor = Predictor(make_fast(model, torch.device("cpu"), torch.float32))
    scorer = WindowScorer(predictor, batch_size)
    made = windows()
    scores = np.concatenate([scorer.score(made[i : i + 4]).scores for i in range(0, len(made), 4)])
    for row, window in zip(scores, made, strict=True):
        alone = PICTURES[list(window.window.frames)][None]
        np.testing.assert_allclose(row, predictor.start(alone)().scores[0], atol=1e-6, rtol=0)


def test_a_stem_over_frames_is_never_shared():
    model = randomised(tiny(embedding="conv-stem"))
    fast = make_fast(model, torch.device("cpu"), torch.float32)
    assert not fast.frames_start_alone
    scorer = WindowScorer(Predictor(fast), 2)
    made = windows()
    alone = Predictor(fast).start(PICTURES[None, :FRAMES])().scores[0]
    np.testing.assert_allclose(scorer.score(made[:2]).scores[0], alone, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("scheme", "calls"), [("space", 8 + 2), ("divided", 2 * 8)])
def test_what_frames_give_alone_is_computed_once(scheme, calls, monkeypatch):
    """In `space` a second window costs its new frames only; in `divided` all of its frames."""
    model = randomised(tiny(attention=scheme))
    fast = make_fast(model, torch.device("cpu"), torch.float32)
    seen = []
    encoder = fast.encoders[0]
    blocks = encoder.blocks[0].forward

    def counted(tokens, grid):
        seen.append(len(tokens) * grid[0])
        return blocks(tokens, grid)

    monkeypatch.setattr(encoder.blocks[0], "forward", counted)
    scorer = WindowScorer(Predictor(fast), 8)
    made = windows()
    scorer.score(made[:1])
    scorer.score(made[1:2])
    assert sum(seen) == calls


def test_no_more_is_kept_than_later_windows_can_have():
    fast = make_fast(randomised(tiny()), torch.device("cpu"), torch.float32)
    scorer = WindowScorer(Predictor(fast), 4)
    for window in windows():
        scorer.score([window])
        assert len(scorer._pixels) <= FRAMES - HOP and len(scorer._frames._units) <= FRAMES - HOP
