"""Randomness as a function of what it is for, so that nothing of it has to be remembered."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

ORDER, TIME, LOOK, STEP = range(1, 5)  # what a draw is for: the first number of its seed


def generator(*numbers: int) -> np.random.Generator:
    """NumPy's generator for these numbers."""
    return np.random.default_rng(list(numbers))


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Inside, torch, NumPy and Python draw what these numbers say; after it, as if nothing was."""
    words = np.random.SeedSequence(list(numbers)).generate_state(2)
    python, legacy = random.getstate(), np.random.get_state()
    cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    with torch.random.fork_rng([torch.cuda.current_device()] if cuda else []):
        # torch.manual_seed would store the stack each time, for a CUDA that may never be used.
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
