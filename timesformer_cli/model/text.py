"""The text tower: token ids of a text go in, one vector of length 1 comes out (arXiv 2402.13217).

A learned token stands behind the text's own, and its last state is the vector. Letters: n texts, l
tokens, d width.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from timesformer_cli.errors import UsageError
from timesformer_cli.model.attention import TokenLinear, capped_attention
from timesformer_cli.model.rotary import LONGEST_WAVE
from timesformer_cli.text_config import TextConfig

LEAST_SQUARE = 1e-6  # added to a vector's squared length, as published


def unit(vectors: Tensor) -> Tensor:
    """The vectors `(... d)` with length 1."""
    return vectors * torch.rsqrt(vectors.square().sum(-1, keepdim=True) + LEAST_SQUARE)


class TextBlock(nn.Module):
    """Attention and an MLP, on tokens `(n l d)`; each is added to what it read."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads, self.softcap = config.heads, config.softcap
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.qkv = TokenLinear(config.dim, 3 * config.dim)
        self.proj = TokenLinear(config.dim, config.dim)
        self.mlp_norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.fc1 = TokenLinear(config.dim, config.mlp_dim)
        self.fc2 = TokenLinear(config.mlp_dim, config.dim)

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """`seen` `(n 1 l l)` says which tokens each one sees."""
        split = "n l (part heads k) -> part n heads l k"
        q, k, v = rearrange(self.qkv(self.norm(tokens)), split, part=3, heads=self.heads)
        mixed = capped_attention(q, k, v, seen, cap=self.softcap)
        tokens = tokens + self.proj(rearrange(mixed, "n heads l k -> n l (heads k)"))
        updated: Tensor = tokens + self.fc2(F.relu(self.fc1(self.mlp_norm(tokens))))
        return updated


class TextTower(nn.Module):
    """Maps token ids `(n l)` to vectors `(n d)` of length 1."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocabulary, config.dim)
        self.end = nn.Parameter(torch.empty(1, 1, config.dim))
        self.blocks = nn.ModuleList(TextBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """The vectors of texts; `mask` `(n l)` is false for padding, which changes nothing.

        Raises UsageError for more tokens than the model takes, and ids that it does not have.
        """
        length = tokens.shape[1]
        if length > self.config.length:
            raise UsageError(f"a text has {length} tokens; the model takes {self.config.length}")
        if tokens.numel() and not 0 <= int(tokens.min()) <= int(tokens.max()) < len(
            self.tokens.weight
        ):
            raise UsageError(
                f"token ids must lie from 0 to {len(self.tokens.weight) - 1}: is the tokenizer of "
                "this model?"
            )
        scale = self.config.dim**0.5
        texts = self.tokens(tokens) * scale + self._places(length).to(self.end)
        states = torch.cat([texts, (self.end * scale).expand(len(texts), -1, -1)], dim=1)
        seen = self._visible(F.pad(mask.bool(), (0, 1), value=True))
        for block in self.blocks:
            states = block(states, seen)
        return unit(self.norm(states[:, -1]))

    def _visible(self, mask: Tensor) -> Tensor:
        """Each token sees itself and those before it that are no padding."""
        length = mask.shape[1]
        before = torch.ones(length, length, dtype=torch.bool, device=mask.device).tril()
        itself = torch.eye(length, dtype=torch.bool, device=mask.device)
        return ((before & mask[:, None]) | itself)[:, None]

    def _places(self, length: int) -> Tensor:
        """Sines and cosines of a token's number, in halves; the last token has none."""
        dim = self.config.dim
        waves = 1 / LONGEST_WAVE ** (torch.arange(0, dim, 2, device="cpu") / dim)
        angles = torch.outer(torch.arange(length, device="cpu"), waves)
        return torch.cat([angles.sin(), angles.cos()], dim=1)
