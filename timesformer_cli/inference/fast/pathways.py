"""The fast path of a model with two paths, which runs block by block with the slow path."""

from torch import Tensor, nn

from timesformer_cli.config import Preprocessing
from timesformer_cli.inference.fast.blocks import (
    FastEncoder,
    LayerFactory,
    join_tokens,
    split_tokens,
)
from timesformer_cli.inference.fast.patches import FROM_PIXELS
from timesformer_cli.model.encoders import FastPath


class FastPathway(nn.Module):
    """`FastPath` on joined tokens, with the fusions that feed its tokens into the slow path."""

    def __init__(
        self, source: FastPath, preprocessing: Preprocessing, make: LayerFactory, *, consume: bool
    ) -> None:
        super().__init__()
        self.every, self.mix = source.every, make.mix
        from_pixels = FROM_PIXELS[type(source.patches)]
        self.patches = from_pixels(source.patches, preprocessing, make.dtype, make.map)
        self.encoder = FastEncoder(source, make, consume=consume)
        self.fusions = nn.ModuleList(_fusion(fusion, make) for fusion in source.fusions)
        self.norm = make.copy(source.norm)

    def forward(self, slow: FastEncoder, patches: Tensor, clip: Tensor) -> tuple[Tensor, Tensor]:
        """Run both paths: the slow path's tokens `(b c d)` and the fast path's features `(b d)`.

        `patches` are those of the slow path; the fast path makes its own from the clip.
        """
        tokens, grid = slow.start(patches)
        fast, fast_grid = self.encoder.start(self.patches(clip))
        blocks = zip(slow.blocks, self.encoder.blocks, strict=True)
        for number, (block, fast_block) in enumerate(blocks):
            if number % self.every == 0:
                fuse = self.fusions[number // self.every]
                cls, own = split_tokens(tokens, grid)
                own = own + fuse(own, split_tokens(fast, fast_grid)[1], self.mix)
                tokens = join_tokens(cls, own)
            tokens, fast = block(tokens, grid), fast_block(fast, fast_grid)
        read = self.encoder.read(fast, fast_grid)
        return slow.read(tokens, grid), self.norm(read.mean(dim=1))


def _fusion(source: nn.Module, make: LayerFactory) -> nn.Module:
    """A copy of the fusion, with linear maps from the factory."""
    fusion = make.copy(source)
    for name in ("q", "kv", "proj"):
        linear = getattr(source, name)
        setattr(fusion, name, make.map(linear.weight, linear.bias))
    return fusion
