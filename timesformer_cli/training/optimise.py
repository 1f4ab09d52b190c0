"""Optimizers: which parameters decay, and how fast each layer learns."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import Tensor, nn

from timesformer_cli.training.recipe import Recipe

# Parameters of the stem, of one block, and of what comes after the blocks.
STEM, BLOCK, LAST = r"cls|positions|patches", r"blocks\.(\d+)", r"norm"
NEVER_DECAY = ("*cls", "*positions.*", "*query")


class _Layers:
    """What timm asks of a model to group its parameters by layers: stem, block by block, head."""

    def __init__(self, model: nn.Module) -> None:
        self.named_parameters: Callable[[], Iterator[tuple[str, Tensor]]] = model.named_parameters

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        # timm reads 99999 as "with the group before": the last norm learns like the last block.
        return {"stem": STEM, "blocks": [(BLOCK, None), (LAST, (99999,))]}


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimizer, each layer with its own learning rate.

    Biases, norms, positions, class tokens and a pooler's query do not decay.
    """
    if recipe.layer_decay == 1:  # timm would warn of it where there is one layer
        alike = param_groups_weight_decay(
            model, recipe.weight_decay, no_weight_decay_list=NEVER_DECAY
        )
        groups = [{**group, "lr_scale": 1.0} for group in alike]
    else:
        groups = param_groups_layer_decay(
            _Layers(model),  # type: ignore[arg-type]
            weight_decay=recipe.weight_decay,
            no_weight_decay_list=NEVER_DECAY,
            layer_decay=recipe.layer_decay,
        )
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, recipe.beta2))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of the learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_scale"]
