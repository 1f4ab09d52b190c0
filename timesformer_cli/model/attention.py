"""The only attention: tokens attend within the groups that a sentence makes of the grid."""

# Letters here and in the rest of model/:
# b clips · c channels or class tokens · t h w patch grid · g groups · m members · k head width · d width

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from timesformer_cli.model.linear import TokenLinear
from timesformer_cli.schemes import Grouping


class GroupedAttention(nn.Module):
    """Multi-head self-attention within the groups of `grouping`.

    Maps class tokens `(b c d)` and patches `(b t h w d)` to their updates of the same shapes; the
    class tokens come back as None where they take no part.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        grouping: Grouping,
        *,
        qkv_bias: bool = True,
        attention_dropout: float = 0.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.grouping = grouping
        self.attention_dropout = attention_dropout
        self.qkv = TokenLinear(dim, 3 * dim, bias=qkv_bias)
        self.proj = TokenLinear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, cls: Tensor, patches: Tensor) -> tuple[Tensor | None, Tensor]:
        _, t, h, w, _ = patches.shape
        lengths = self.grouping.lengths((t, h, w))
        tokens = rearrange(patches, self.grouping.gather, **lengths)
        if self.grouping.cls != "absent":
            tokens = torch.cat([self._in_groups(cls, tokens.shape[1]), tokens], dim=2)
        tokens = self.dropout(self.proj(self._attend(self.qkv(tokens))))
        if self.grouping.cls == "absent":
            return None, rearrange(tokens, self.grouping.scatter, **lengths)
        update, tokens = tokens[:, :, 0], tokens[:, :, 1:]
        if self.grouping.cls == "shared":
            update = update.mean(dim=1, keepdim=True)
        return update, rearrange(tokens, self.grouping.scatter, **lengths)

    def _in_groups(self, cls: Tensor, groups: int) -> Tensor:
        """Class tokens `(b c d)` as the first member of every group, `(b g 1 d)`."""
        if self.grouping.cls == "shared":
            cls = cls.expand(-1, groups, -1)
        return cls.unsqueeze(2)

    def _attend(self, qkv: Tensor) -> Tensor:
        # Groups join the batch: the fused kernels take four axes, and only those.
        q, k, v = rearrange(
            qkv, "b g m (three heads k) -> three (b g) heads m k", three=3, heads=self.heads
        ).unbind()
        dropout = self.attention_dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        return rearrange(mixed, "(b g) heads m k -> b g m (heads k)", g=qkv.shape[1])
