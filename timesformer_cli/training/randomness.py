"""Randomness as a function of its purpose, so that no generator's state has to be remembered.

Each draw is seeded by numbers that say what it is for: the seed of the training, the purpose, then
an epoch, a step or a clip. What was drawn before does not matter.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

ORDER, TIME, LOOK, STEP = range(1, 5)  # purposes of draws, each next to the seed


def generator(*numbers: int) -> np.random.Generator:
    """A NumPy generator that is seeded by these numbers."""
    return np.random.default_rng(list(numbers))


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Inside the block, torch, NumPy and Python draw from seeds made of these numbers.

    After it they go on as if the block had drawn nothing. More than one is seeded, because
    torchvision draws from torch's generator and timm's mixup from NumPy's.
    """
    words = np.random.SeedSequence(list(numbers)).generate_state(2)
    python, legacy = random.getstate(), np.random.get_state()
    cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng([torch.cuda.current_device()] if cuda else []):
        # torch.manual_seed would store a stack trace each time, for a CUDA that may never be used.
        torch.default_generator.manual_seed(int(words[0]))
        if cuda:
            torch.cuda.manual_seed(int(words[0]))
        np.random.seed(int(words[1]))
        random.seed(int(words[1]))
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
