"""Made clips of which only the order in time tells the class: who can learn them."""

from dataclasses import dataclass, replace

import pytest
import torch

from tests.support.models import TYPED, tiny
from timesformer_cli.model import TimeSformer
from timesformer_cli.schemes import RELATIVES
from timesformer_cli.training.loop import Training
from timesformer_cli.training.processes import Processes
from timesformer_cli.training.randomness import ORDER, generator, seeded
from timesformer_cli.training.recipe import PRESETS
from timesformer_cli.training.state import Settings, TrainingCallbacks
from timesformer_cli.typed.schemes import find_scheme

FRAMES, SIDE = 4, 32
RECIPE = replace(
    PRESETS["modern"],
    epochs=10,
    learning_rate=1e-3,
    average=None,
    layer_decay=1.0,
    drop_path=0.0,
    mixed=0.0,
    label_smoothing=0.0,
)


@dataclass
class Ordered:
    """Noise that grows brighter frame by frame; every clip is there twice, once backwards.

    The frames alone say nothing, as both classes have the same. They are faint, or the positions
    in time would be drowned for many epochs.
    """

    count: int
    first: int = 0

    def __len__(self):
        return self.count

    def order(self, epoch):
        return generator(0, ORDER, epoch).permutation(self.count).tolist()

    def stream(self, indices, epoch):
        for index in indices:
            made = torch.Generator().manual_seed(self.first + index // 2)
            clip = 0.025 * torch.randn(FRAMES, 3, SIDE, SIDE, generator=made)
            clip += 0.05 * torch.linspace(-1, 1, FRAMES).view(-1, 1, 1, 1)
            yield (clip.flip(0) if index % 2 else clip), index % 2


def learned(attention: str) -> float:
    """Accuracy on clips never seen, after some seconds of training."""
    with seeded(0):
        config = tiny(attention=attention, frames=FRAMES, height=SIDE, width=SIDE, classes=2)
        model = TimeSformer(config)
    settings = Settings(recipe=RECIPE, classes=2, batch_size=16)
    training = Training(model, settings, Processes(), TrainingCallbacks())
    training.run(Ordered(256), None)
    return training.validate(Ordered(200, first=10_000)).accuracy


SLOW = [
    pytest.param(name, marks=pytest.mark.slow)
    for name in ("joint", "sparse", "axial", *RELATIVES, *TYPED.values())
]


@pytest.mark.parametrize("attention", ["divided", "space", *SLOW])
def test_what_sees_time_learns_the_order_and_what_does_not_never_will(attention):
    accuracy = learned(attention)
    if find_scheme(attention).sees_time:
        assert accuracy >= 0.95
    else:
        assert 0.4 <= accuracy <= 0.6
