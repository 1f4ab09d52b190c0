"""The only attention: tokens attend within the groups that a sentence makes of the grid."""

# Letters here and in the rest of model/:
# b clips · c channels or class tokens · t h w patch grid · g groups · m members · k head width · d width

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from timesformer_cli.model.linear import TokenLinear
from timesformer_cli.schemes import Grouping

Grid = Sequence[int]  # frames, rows and columns of patches


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
        q, k, v = self.qkv(self.gather(cls, patches)).chunk(3, dim=-1)
        return self.scatter(self.dropout(self.proj(self.attend(q, k, v))), patches.shape[1:4])

    def gather(self, cls: Tensor, patches: Tensor) -> Tensor:
        """Class tokens and patches as `(b g m d)`, the class token first in every group."""
        grouped = rearrange(patches, self.grouping.gather, **self._lengths(patches.shape[1:4]))
        if self.grouping.cls == "absent":
            return grouped
        return torch.cat([self.gather_class(cls, grouped.shape[1]), grouped], dim=2)

    def gather_class(self, cls: Tensor, groups: int) -> Tensor:
        """Class tokens `(b c d)` as the groups see them, `(b g 1 d)`."""
        if self.grouping.cls == "shared":
            cls = cls.expand(-1, groups, -1)
        return cls.unsqueeze(2)

    def scatter(self, tokens: Tensor, grid: Grid) -> tuple[Tensor | None, Tensor]:
        """The inverse of `gather`; what the groups made of a shared class token is averaged."""
        lengths = self._lengths(grid)
        if self.grouping.cls == "absent":
            return None, rearrange(tokens, self.grouping.scatter, **lengths)
        patches = rearrange(tokens[:, :, 1:], self.grouping.scatter, **lengths)
        return self.scatter_class(tokens[:, :, 0]), patches

    def scatter_class(self, cls: Tensor) -> Tensor:
        """Class tokens of the groups `(b g d)` as those of the clip, `(b c d)`."""
        return cls.mean(dim=1, keepdim=True) if self.grouping.cls == "shared" else cls

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Softmax attention in each group: queries, keys and values `(b g m d)` to `(b g m d)`."""
        # Groups join the batch: the fused kernels take four axes, and only those.
        groups = q.shape[1]
        split = "b g m (heads k) -> (b g) heads m k"
        q, k, v = (rearrange(part, split, heads=self.heads) for part in (q, k, v))
        return rearrange(self.mix(q, k, v), "(b g) heads m k -> b g m (heads k)", g=groups)

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """The kernel: `(n heads m k)` each."""
        dropout = self.attention_dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)

    def _lengths(self, grid: Grid) -> dict[str, int]:
        t, h, w = grid
        return self.grouping.lengths((t, h, w))
