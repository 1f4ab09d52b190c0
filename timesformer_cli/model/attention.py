"""The only attention module: tokens attend within the groups that a grouping makes of the grid."""

# Letters here and in the rest of model/:
# b clips · c channels or class tokens · t h w patch grid · g groups · m members · k head width · d width

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from timesformer_cli.grouping import Grouping
from timesformer_cli.model.rotary import Angles
from timesformer_cli.model.routing import route_of


class TokenLinear(nn.Linear):
    """`nn.Linear` over the last axis as one matrix product with its bias.

    On more than three axes, or on strided ones, `nn.Linear` adds the bias in a second pass or
    multiplies group by group. That takes several times as long in bfloat16.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        mapped: Tensor = super().forward(tokens.flatten(0, -2))
        return mapped.view(*tokens.shape[:-1], self.out_features)


def capped_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    seen: Tensor | None = None,
    *,
    cap: float,
    dropout: float = 0.0,
) -> Tensor:
    """Attention `(n heads m k)` whose logits are bent to stay between `cap` and its negative."""
    scores = cap * torch.tanh(q @ k.transpose(-2, -1) * (q.shape[-1] ** -0.5 / cap))
    if seen is not None:
        scores = scores.masked_fill(~seen, -torch.inf)
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(v)
    return (F.dropout(weights, dropout) if dropout else weights) @ v


class GroupedAttention(nn.Module):
    """Multi-head self-attention within the groups of `grouping`.

    Takes class tokens `(b c d)` and patches `(b t h w d)` and returns their updates in the same
    shapes. The class tokens' update is None where they take no part. `frames` is a mask that only
    parity tests give: see `TimeSformer.features`.
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
        angles: Angles | None = None,
        softcap: float = 0,
    ) -> None:
        super().__init__()
        self.grouping, self.softcap = grouping, softcap
        self.route = route_of(grouping, heads, angles)
        self.attention_dropout = attention_dropout
        self.qkv = TokenLinear(dim, 3 * dim, bias=qkv_bias)
        self.proj = TokenLinear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, cls: Tensor, patches: Tensor, frames: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        t, h, w = patches.shape[1:4]
        grid = (t, h, w)
        q, k, v = self.qkv(self.route.gather(cls, patches)).chunk(3, dim=-1)
        mixed = self.route.attend(q, k, v, grid, self.mix, frames)
        return self.route.scatter(self.dropout(self.proj(mixed)), grid)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
        """The kernel, on `(n heads m k)`. `seen` masks the keys of each query; None shows all."""
        dropout = self.attention_dropout if self.training else 0.0
        if self.softcap:
            return capped_attention(q, k, v, seen, cap=self.softcap, dropout=dropout)
        return F.scaled_dot_product_attention(q, k, v, seen, dropout_p=dropout)
