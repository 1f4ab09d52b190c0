"""One transformer block: the scheme's attention passes, then the MLP."""

import torch
from torch import Tensor, nn

from timesformer_cli.config import ModelConfig
from timesformer_cli.model.attention import GroupedAttention
from timesformer_cli.model.linear import TokenLinear
from timesformer_cli.schemes import Grouping


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
    """Norm, grouped attention, and, before every pass but the last, one more linear map.

    That map is the published `temporal_fc`, zero at the start so that training begins at the
    image model (arXiv 2102.05095, section 4.1 and its code).
    """

    def __init__(self, config: ModelConfig, grouping: Grouping, *, last: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.attention = GroupedAttention(
            config.dim,
            config.heads,
            grouping,
            qkv_bias=config.qkv_bias,
            attention_dropout=config.attention_dropout,
            dropout=config.dropout,
        )
        self.fc = None if last else TokenLinear(config.dim, config.dim)

    def forward(self, cls: Tensor, patches: Tensor) -> tuple[Tensor | None, Tensor]:
        """Updates of class tokens `(b c d)` and patches `(b t h w d)`."""
        update, patches = self.attention(self.norm(cls), self.norm(patches))
        if self.fc is not None:
            patches = self.fc(patches)
            update = None if update is None else self.fc(update)
        return update, patches


class Mlp(nn.Module):
    """Two linear maps with a GELU between."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.fc1 = TokenLinear(config.dim, config.mlp_dim)
        self.activation = nn.GELU()
        self.fc2 = TokenLinear(config.mlp_dim, config.dim)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.dropout(self.activation(self.fc1(tokens)))
        output: Tensor = self.dropout(self.fc2(hidden))
        return output


class Block(nn.Module):
    """Attention passes in the scheme's order, then the MLP; each a residual."""

    def __init__(self, config: ModelConfig, drop_path: float) -> None:
        super().__init__()
        *extra, last = config.scheme.passes
        self.passes = nn.ModuleList(
            AttentionPass(config, grouping, last=False) for grouping in extra
        )
        self.passes.append(AttentionPass(config, last, last=True))
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.mlp = Mlp(config)
        self.drop_path = DropPath(drop_path)

    def forward(self, cls: Tensor, patches: Tensor) -> tuple[Tensor, Tensor]:
        for attend in self.passes:
            cls, patches = self._add(cls, patches, *attend(cls, patches))
        return self._add(cls, patches, self.mlp(self.norm(cls)), self.mlp(self.norm(patches)))

    def _add(
        self, cls: Tensor, patches: Tensor, cls_update: Tensor | None, update: Tensor
    ) -> tuple[Tensor, Tensor]:
        cls_update, update = self.drop_path(cls_update, update)
        return cls if cls_update is None else cls + cls_update, patches + update
