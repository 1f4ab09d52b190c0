"""Second transformers: over class tokens, over patches, and a path that sees every frame."""

from dataclasses import replace

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from timesformer_cli.config import ModelConfig
from timesformer_cli.grouping import Grouping
from timesformer_cli.model.attention import TokenLinear
from timesformer_cli.model.block import Block, Mlp, make_blocks
from timesformer_cli.model.patches import EMBEDDINGS
from timesformer_cli.model.positions import POSITIONS
from timesformer_cli.model.regroup import group
from timesformer_cli.model.routing import Mix, by_head
from timesformer_cli.schemes import PoolerKind

SOFTPLUS_UNIT = 1.442695041  # 1 / softplus(0), to the digits of the published code


class FrameEncoder(nn.Module):
    """Maps one token per frame, `(b t d)`, to one per clip, `(b 1 d)`.

    The second transformer of ViViT's model 2 (arXiv 2103.15691, section 3.3).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.cls = nn.Parameter(torch.empty(1, 1, config.dim))
        self.positions = POSITIONS[config.positions](config)
        self.blocks = make_blocks(config)

    def forward(self, frames: Tensor) -> Tensor:
        cls, patches = self.positions(
            self.cls.expand(len(frames), -1, -1), rearrange(frames, "b t d -> b t 1 1 d")
        )
        for block in self.blocks:
            cls, patches = block(cls, patches)
        clip: Tensor = cls
        return clip


class TimeEncoder(nn.Module):
    """Lets each place see itself in all frames: patches `(b t h w d)` to the same.

    The second transformer of VideoPrism (arXiv 2402.13217), on the normed patches of the first.
    """

    cls = None

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.positions = POSITIONS[config.positions](config)
        self.blocks = make_blocks(config)

    def forward(self, patches: Tensor) -> Tensor:
        cls = patches.new_zeros(len(patches), 0, self.config.dim)
        cls, patches = self.positions(cls, self.norm(patches))
        for block in self.blocks:
            cls, patches = block(cls, patches)
        return patches


class AttentivePooler(nn.Module):
    """Maps patches `(b t h w d)` to one token per clip, `(b d)`.

    Patches attend to one another, then one learned query reads them. As in V-JEPA 2, the query's
    block has no norm of the query, and no map of what the query read (arXiv 2506.09985).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.blocks = nn.ModuleList(
            Block(config, number, drop_path=0.0) for number in range(config.depth - 1)
        )
        self.query = nn.Parameter(torch.empty(1, 1, config.dim))
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.q = TokenLinear(config.dim, config.dim)
        self.k = TokenLinear(config.dim, config.dim)
        self.v = TokenLinear(config.dim, config.dim)
        self.mlp_norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.mlp = Mlp(config)

    def forward(self, patches: Tensor) -> Tensor:
        cls = patches.new_zeros(len(patches), 0, self.config.dim)
        for block in self.blocks:
            cls, patches = block(cls, patches)
        return self.read(patches.flatten(1, 3), self.mix)

    def read(self, tokens: Tensor, mix: Mix) -> Tensor:
        """What the query makes of all tokens `(b n d)`, `(b d)`."""
        normed = self.norm(tokens)[:, None]
        q = self.q(self.query).expand(len(tokens), -1, -1)[:, None]
        pooled = (
            self.query + by_head(q, self.k(normed), self.v(normed), self.config.heads, mix)[:, 0]
        )
        updated: Tensor = pooled + self.mlp(self.mlp_norm(pooled))
        return updated[:, 0]

    def mix(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
        """The kernel, with dropout in training."""
        dropout = self.config.attention_dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, seen, dropout_p=dropout)


class HeadsPooler(nn.Module):
    """Maps patches `(b t h w d)` to one token per clip, `(b d)`, with a norm of its own.

    Patches attend to one another, then one learned query reads them with wide heads, whose channels
    each have a learned scale. The query's token is not added (VideoPrism, arXiv 2402.13217).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width = config.mlp_dim // config.heads
        self.blocks = nn.ModuleList(
            Block(config, number, drop_path=0.0) for number in range(config.depth - 1)
        )
        self.query = nn.Parameter(torch.empty(1, 1, config.dim))
        self.scale = nn.Parameter(torch.zeros(width))
        self.q, self.k, self.v = (TokenLinear(config.dim, width * config.heads) for _ in range(3))
        self.proj = TokenLinear(width * config.heads, config.dim)
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)

    def forward(self, patches: Tensor) -> Tensor:
        cls = patches.new_zeros(len(patches), 0, self.config.dim)
        for block in self.blocks:
            cls, patches = block(cls, patches)
        tokens = patches.flatten(1, 3)[:, None]
        q = self.scaled_query().expand(len(tokens), -1, -1)[:, None]
        mixed = by_head(q, self.k(tokens), self.v(tokens), self.config.heads, self.mix)
        normed: Tensor = self.norm(self.proj(mixed[:, 0, 0]))
        return normed

    def scaled_query(self) -> Tensor:
        """The mapped query `(1 1 d)`, each channel of a head by its scale, 1 for a scale of 0."""
        scale = F.softplus(self.scale) * SOFTPLUS_UNIT
        q: Tensor = self.q(self.query)
        return q * scale.repeat(self.config.heads)

    def mix(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None = None) -> Tensor:
        """The kernel, with dropout in training."""
        dropout = self.config.attention_dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, seen, dropout_p=dropout)


POOLERS: dict[PoolerKind, type[AttentivePooler | HeadsPooler]] = {
    "block": AttentivePooler,
    "heads": HeadsPooler,
}

State = tuple[Tensor, Tensor]  # class tokens (b c d) and patches (b t h w d) of the fast path


class Fusion(nn.Module):
    """Cross-attention: each slow patch queries the fast patches of its own place and time."""

    def __init__(self, config: ModelConfig, fast: ModelConfig, grouping: Grouping) -> None:
        super().__init__()
        self.heads = fast.heads
        self.grouping = replace(grouping, factors=(("f", config.tubelet // fast.tubelet),))
        self.norm = nn.LayerNorm(config.dim, eps=config.norm_eps)
        self.fast_norm = nn.LayerNorm(fast.dim, eps=fast.norm_eps)
        self.q = TokenLinear(config.dim, fast.dim)
        self.kv = TokenLinear(fast.dim, 2 * fast.dim)
        self.proj = TokenLinear(fast.dim, config.dim)

    def forward(
        self, slow: Tensor, fast: Tensor, mix: Mix = F.scaled_dot_product_attention
    ) -> Tensor:
        """The update of slow patches `(b t h w d)`; fast ones have more frames, a smaller `d`."""
        k, v = group(self.kv(self.fast_norm(fast)), self.grouping).chunk(2, dim=-1)
        q = rearrange(self.q(self.norm(slow)), "b t h w d -> b (t h w) 1 d")
        mixed = by_head(q, k, v, self.heads, mix).view(*slow.shape[:-1], -1)
        update: Tensor = self.proj(mixed)
        return update

    def zero_new_passes(self) -> None:
        """Make the fusion add nothing, so that training begins with two separate paths."""
        nn.init.zeros_(self.proj.weight)


class FastPath(nn.Module):
    """A whole narrow transformer that the slow path reads; it never reads the slow path.

    The slow path looks at it before its first block and before every `fuse_every`-th block after.
    """

    def __init__(self, config: ModelConfig, fast: ModelConfig, grouping: Grouping) -> None:
        super().__init__()
        self.config = fast
        self.every = config.scheme.fuse_every
        self.patches = EMBEDDINGS[fast.embedding](fast)
        self.cls = nn.Parameter(torch.empty(1, 1, fast.dim))
        self.positions = POSITIONS[fast.positions](fast)
        self.blocks = make_blocks(fast)
        self.fusions = nn.ModuleList(
            Fusion(config, fast, grouping) for _ in range(0, config.depth, self.every)
        )
        self.norm = nn.LayerNorm(fast.dim, eps=fast.norm_eps)

    def start(self, clip: Tensor) -> State:
        """The fast path's tokens before its first block."""
        cls, patches = self.positions(self.cls.expand(clip.shape[0], -1, -1), self.patches(clip))
        return cls, patches

    def forward(self, number: int, slow: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the slow patches for their block `number`, and the fast path after its own."""
        cls, patches = state
        if number % self.every == 0:
            slow = slow + self.fusions[number // self.every](slow, patches)
        return slow, self.blocks[number](cls, patches)

    def read(self, state: State) -> Tensor:
        """What the head sees of the fast path, `(b d)`."""
        features: Tensor = self.norm(state[0].mean(dim=1))
        return features
