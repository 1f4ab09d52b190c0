"""Which of torch's attention kernels runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch.nn.attention import SDPBackend, sdpa_kernel

FUSED = [
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.CUDNN_ATTENTION,
]


@contextmanager
def attention_kernel(name: str) -> Iterator[None]:
    """Inside, attention runs on that kernel: `math`, `fused`, or `auto`, which is torch's choice."""
    if name == "auto":
        yield
    else:
        with sdpa_kernel([SDPBackend.MATH] if name == "math" else FUSED):
            yield
