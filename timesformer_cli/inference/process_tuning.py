"""The C library's allocator, told to keep what it is given back."""

import ctypes
import os
import platform

KEEP = 1 << 30  # bytes
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let large, short-lived tensors reuse memory instead of asking the kernel for it each time.

    glibc returns blocks of some megabytes at once; fetching them again, page by page, cost up to
    a third of a forward pass (docs/performance.md). Elsewhere this does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEEP)
        libc.mallopt(M_TRIM_THRESHOLD, KEEP)


def let_threads_sleep() -> None:
    """Leave the processors to the decoders; to be called before torch is imported.

    Threads of a product that wait for one another by spinning take the decoders' time: with many
    clips and a small model, a tenth of the whole.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
