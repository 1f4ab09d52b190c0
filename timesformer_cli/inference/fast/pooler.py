"""The attentive pooler on joined tokens."""

import torch
from einops import rearrange
from torch import Tensor, nn

from timesformer_cli.grouping import Grid
from timesformer_cli.inference.fast.blocks import FastBlock, LayerFactory
from timesformer_cli.model.encoders import AttentivePooler


class FastPooler(nn.Module):
    """`AttentivePooler` without the maps that its one query makes needless.

    The query is the same for every clip, so its product with the map of the keys is known: one
    vector per head, with which tokens are compared as they are. The bias of the keys adds the same
    to all scores of a head, which softmax ignores. Values are mapped after they are mixed.
    """

    query: Tensor
    keys: Tensor
    values: Tensor
    bias: Tensor

    def __init__(self, source: AttentivePooler, make: LayerFactory, *, consume: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        for index, block in enumerate(source.blocks):
            self.blocks.append(FastBlock(block, make, last=False))  # type: ignore[arg-type]
            if consume:  # as in the encoder: memory never holds two sets of weights
                source.blocks[index] = nn.Identity()
        self.norm, self.mlp_norm = make.copy(source.norm), make.copy(source.mlp_norm)
        heads = source.config.heads
        q = rearrange(source.q(source.query).float(), "1 1 (heads k) -> heads k", heads=heads)
        key_map, value_map = (
            rearrange(part.weight, "(heads k) d -> heads k d", heads=heads)
            for part in (source.k, source.v)
        )
        keys = torch.einsum("h k, h k d -> d h", q, key_map.float()) * q.shape[-1] ** -0.5
        self.register_buffer("query", source.query[0].to(make.dtype, copy=True))
        self.register_buffer("keys", keys.to(make.dtype))
        self.register_buffer("values", value_map.mT.to(make.dtype, copy=True))
        self.register_buffer("bias", source.v.bias.to(make.dtype, copy=True))
        self.mlp = nn.Sequential(
            make.map(source.mlp.fc1.weight, source.mlp.fc1.bias, gelu=True),
            make.map(source.mlp.fc2.weight, source.mlp.fc2.bias),
        )

    def forward(self, tokens: Tensor, grid: Grid) -> Tensor:
        """What the head sees, `(b d)`, of all normed tokens `(b n d)`, which it changes."""
        for block in self.blocks:
            tokens = block(tokens, grid)
        normed = self.norm(tokens)
        seen = (normed @ self.keys).float().softmax(dim=1).to(normed)
        mixed = (seen.transpose(1, 2) @ normed).unsqueeze(2) @ self.values
        pooled = self.query + mixed.flatten(1) + self.bias
        updated: Tensor = pooled + self.mlp(self.mlp_norm(pooled))
        return updated
