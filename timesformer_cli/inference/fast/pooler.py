"""Attentive poolers on joined tokens."""

from collections.abc import Callable
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn

from timesformer_cli.grouping import Grid
from timesformer_cli.inference.fast.blocks import FastBlock, LayerFactory
from timesformer_cli.inference.process_tuning import return_freed_memory
from timesformer_cli.model.block import Block
from timesformer_cli.model.encoders import AttentivePooler, HeadsPooler


class OneQuery(nn.Module):
    """What one learned query `(1 1 d)`, mapped already, reads from tokens, `(b d)`, by its heads.

    The query is the same for every clip, so its product with the map of the keys is known: one
    vector per head, with which tokens are compared as they are. The bias of the keys adds the same
    to all scores of a head, which softmax ignores. Values are mapped after they are mixed.
    """

    keys: Tensor
    values: Tensor
    bias: Tensor

    def __init__(
        self, q: Tensor, k: nn.Linear, v: nn.Linear, heads: int, make: LayerFactory
    ) -> None:
        super().__init__()
        q = rearrange(q.float(), "1 1 (heads k) -> heads k", heads=heads)
        key_map, value_map = (
            rearrange(part.weight, "(heads k) d -> heads k d", heads=heads) for part in (k, v)
        )
        keys = torch.einsum("h k, h k d -> d h", q, key_map.float()) * q.shape[-1] ** -0.5
        self.register_buffer("keys", keys.to(make.dtype))
        self.register_buffer("values", value_map.mT.to(make.dtype, copy=True))
        self.register_buffer("bias", v.bias.to(make.dtype, copy=True))

    def forward(self, tokens: Tensor) -> Tensor:
        seen = (tokens @ self.keys).float().softmax(dim=1).to(tokens)
        mixed = (seen.transpose(1, 2) @ tokens).unsqueeze(2) @ self.values
        read: Tensor = mixed.flatten(1) + self.bias
        return read


class FastPooler(nn.Module):
    """A pooler without the maps that its one query makes needless."""

    def __init__(
        self, source: AttentivePooler | HeadsPooler, make: LayerFactory, *, consume: bool
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for index, block in enumerate(source.blocks):
            made = FastBlock(cast(Block, block), make, last=False, consume=consume)
            self.blocks.append(made)
            if consume:  # as in the encoder: memory never holds two sets of weights
                source.blocks[index] = nn.Identity()
                return_freed_memory()
        self.read = READERS[type(source)](source, make)

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """What the head sees, `(b d)`, of all normed tokens `(b n d)`, which it changes."""
        for block in self.blocks:
            tokens = block(tokens, grid)
        read: Tensor = self.read(tokens)
        return read


class BlockReader(nn.Module):
    """The query's block of an `AttentivePooler`, `(b n d)` to `(b d)`."""

    query: Tensor

    def __init__(self, source: AttentivePooler, make: LayerFactory) -> None:
        super().__init__()
        self.norm, self.mlp_norm = make.copy(source.norm), make.copy(source.mlp_norm)
        self.register_buffer("query", source.query[0].to(make.dtype, copy=True))
        q = source.q(source.query)
        self.attend = OneQuery(q, source.k, source.v, source.config.heads, make)
        self.mlp = nn.Sequential(
            make.map(source.mlp.fc1.weight, source.mlp.fc1.bias, gelu=True),
            make.map(source.mlp.fc2.weight, source.mlp.fc2.bias),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        pooled = self.query + self.attend(self.norm(tokens))
        updated: Tensor = pooled + self.mlp(self.mlp_norm(pooled))
        return updated


class HeadsReader(nn.Module):
    """The query of a `HeadsPooler` and the norm behind it, `(b n d)` to `(b d)`."""

    def __init__(self, source: HeadsPooler, make: LayerFactory) -> None:
        super().__init__()
        heads = source.config.heads
        self.attend = OneQuery(source.scaled_query(), source.k, source.v, heads, make)
        self.proj = make.map(source.proj.weight, source.proj.bias)
        self.norm = make.copy(source.norm)

    def forward(self, tokens: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.proj(self.attend(tokens)))
        return normed


READERS: dict[type[nn.Module], Callable[..., nn.Module]] = {
    AttentivePooler: BlockReader,
    HeadsPooler: HeadsReader,
}
