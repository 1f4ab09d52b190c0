"""Named sizes of a model."""

from typing import NamedTuple


class Size(NamedTuple):
    """Width, blocks, heads and the MLP's width of a named model size, as in the ViT family."""

    dim: int
    depth: int
    heads: int
    mlp_dim: int


SIZES = {
    "tiny": Size(192, 12, 3, 768),
    "small": Size(384, 12, 6, 1536),
    "base": Size(768, 12, 12, 3072),
    "large": Size(1024, 24, 16, 4096),
    "huge": Size(1280, 32, 16, 5120),
    "giant": Size(1408, 40, 22, 6144),
}
