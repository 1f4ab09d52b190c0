"""One transformer block: the scheme's attention passes, then the MLP."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from timesformer_cli.config import ModelConfig
from timesformer_cli.grouping import Grouping
from timesformer_cli.model.attention import GroupedAttention, TokenLinear
from timesformer_cli.model.rotary import angles_of


class DropPath(nn.Module):
    """Stochastic depth: in training, a clip's residual update is dropped as a whole."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, cls: Tensor | None, patches: Tensor) -> tuple[Tensor | None, Tensor]:
        if not self.training or self.rate == 0:
            return cls, patches
        kept = torch.rand(patches.shape[0], device=patches.device) >= self.rate
        scale = kept.to(patches.dtype) / (1 - self.rate)
        patches = patches * scale.view(-1, 1, 1, 1, 1)
        return None if cls is None else cls * scale.view(-1, 1, 1), patches


class AttentionPass(nn.Module):
    """Norm, grouped attention and, where `bridged`, one more linear map.

    That map is the published `temporal_fc`. It is zero at the start, so that training begins at the
    image model (arXiv 2102.05095, section 4.1 and its code).
    """

    def __init__(self, config: ModelConfig, grouping: Grouping, *, bridged: bool) -> None:
        super().__init__()
        self.token_shift = config.token_shift
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.attention = GroupedAttention(
            config.dim,
            config.heads,
            grouping,
            qkv_bias=config.qkv_bias,
            attention_dropout=config.attention_dropout,
            dropout=config.dropout,
            angles=angles_of(config),
            softcap=config.scheme.softcap,
        )
        self.fc = TokenLinear(config.dim, config.dim) if bridged else None

    def forward(
        self, cls: Tensor, patches: Tensor, frames: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Return the updates of class tokens `(b c d)` and patches `(b t h w d)`."""
        patches = self.norm(patches)
        if self.token_shift:
            patches = shift_tokens(patches)
        update, patches = self.attention(self.norm(cls), patches, frames)
        if self.fc is not None:
            patches = self.fc(patches)
            update = None if update is None else self.fc(update)
        return update, patches


class Geglu(nn.Module):
    """The first half of the channels, gated by a GELU of the second (arXiv 2002.05202)."""

    def forward(self, hidden: Tensor) -> Tensor:
        values, gates = hidden.chunk(2, dim=-1)
        return values * F.gelu(gates)


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "gelu": nn.GELU,
    "gelu-tanh": partial(nn.GELU, approximate="tanh"),
    "geglu": Geglu,
}


class Mlp(nn.Module):
    """Two linear maps with an activation between."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        scheme = config.scheme
        self.fc1 = TokenLinear(config.dim, scheme.activation_inputs * config.mlp_dim)
        self.activation = ACTIVATIONS[scheme.activation]()
        self.fc2 = TokenLinear(config.mlp_dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.dropout(self.activation(self.fc1(tokens)))
        output: Tensor = self.dropout(self.fc2(hidden))
        return output


class Block(nn.Module):
    """Attention passes in the scheme's order, then the MLP; each is added to what it read."""

    def __init__(self, config: ModelConfig, number: int, drop_path: float) -> None:
        super().__init__()
        *extra, last = config.scheme.passes_of(number)
        # A single pass is the image model's own: `zero_new_passes` must leave it alone.
        self.bridged = config.scheme.bridged or not extra
        self.token_shift = config.token_shift
        self.passes = nn.ModuleList(
            AttentionPass(config, grouping, bridged=self.bridged) for grouping in extra
        )
        self.passes.append(AttentionPass(config, last, bridged=False))
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.mlp = Mlp(config)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, cls: Tensor, patches: Tensor, frames: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        for attend in self.passes:
            cls, patches = self._add(cls, patches, *attend(cls, patches, frames))
        normed = self.norm(patches)
        if self.token_shift:
            normed = shift_tokens(normed)
        return self._add(cls, patches, self.mlp(self.norm(cls)), self.mlp(normed))

    def zero_new_passes(self) -> None:
        """Make the passes that an image model lacks add nothing: training begins at that model."""
        for attend in cast(Iterable[AttentionPass], self.passes):
            if attend.fc is not None:
                nn.init.zeros_(attend.fc.weight)
            # Without extra maps it is the temporal pass that starts at zero (arXiv 2103.15691).
            elif not self.bridged and attend.attention.grouping.mixes_time:
                nn.init.zeros_(attend.attention.proj.weight)

    def _add(
        self, cls: Tensor, patches: Tensor, cls_update: Tensor | None, update: Tensor
    ) -> tuple[Tensor, Tensor]:
        cls_update, update = self.drop_path(cls_update, update)
        return cls if cls_update is None else cls + cls_update, patches + update


def make_blocks(config: ModelConfig) -> nn.ModuleList:
    """All blocks of a transformer; their drop-path rates rise evenly from 0 to the highest."""
    # On the CPU even where the model is made on another device: "meta" has no values to list.
    rates = torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()
    return nn.ModuleList(Block(config, number, rate) for number, rate in enumerate(rates))


def checkpoint_gradients(blocks: Iterable[nn.Module]) -> None:
    """Let each block drop its activations and compute them again in the backward pass."""
    for block in blocks:
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def shift_tokens(patches: Tensor) -> Tensor:
    """Take a third of the channels from the next frame and a third from the previous one.

    Patches are `(b t h w d)`; zeros stand for frames beyond the clip. As in lucidrains'
    TimeSformer.
    """
    third = patches.shape[-1] // 3
    following, own, previous = (patches[..., n * third : (n + 1) * third] for n in range(3))
    following = F.pad(following[:, 1:], (0, 0, 0, 0, 0, 0, 0, 1))
    previous = F.pad(previous[:, :-1], (0, 0, 0, 0, 0, 0, 1, 0))
    return torch.cat([following, own, previous, patches[..., 3 * third :]], dim=-1)
