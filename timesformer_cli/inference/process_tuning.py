"""Settings of the whole process: what the allocator keeps, and how OpenMP's threads wait."""

import ctypes
import gc
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager

KEEP = 1 << 30  # bytes
LARGE = 4 << 20  # bytes
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # numbers of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let large, short-lived tensors reuse memory instead of asking the kernel for it each time.

    glibc gives freed blocks of some megabytes back to the kernel at once. Fetching them again, page
    by page, cost up to a third of a forward pass (docs/performance.md). With another C library this
    does nothing.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_THRESHOLD, KEEP)
        libc.mallopt(M_TRIM_THRESHOLD, KEEP)


def return_freed_memory() -> None:
    """Give what is free in glibc's heap back to the kernel, also between blocks that are in use.

    Laying a model's weights out for the processor leaves a third of their size in such gaps: 8 MB
    for each 25 MB block of V-JEPA 2 large in bfloat16.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


def collect_memory() -> None:
    """Free what only refers to itself, such as a traced graph, and give it back to the kernel."""
    gc.collect()
    return_freed_memory()


@contextmanager
def large_tensors_apart() -> Iterator[None]:
    """Inside the block, tensors above LARGE are given back to the kernel as soon as they are freed.

    In a heap that is kept, what a network remembers of each block for a backward pass lies between
    large tensors that are freed, and no later one fits the gaps (docs/explain.md has the numbers).
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    return_freed_memory()
    ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)
    try:
        yield
    finally:
        keep_freed_memory()


def use_threads(threads: int | None) -> None:
    """Let models compute on so many processors, here and in child processes; None changes nothing.

    OpenMP reads its variable when torch is imported, and onnxruntime's file asks for it.
    """
    if threads is None:
        return
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def let_threads_sleep(*, soon: bool = True) -> None:
    """Leave the processors to others while threads wait; call this before torch is imported.

    OpenMP's threads wait for one another by spinning, which takes time from the decoders: with many
    clips and a small model a tenth of the whole. Where `soon` is false, nothing of ours works beside
    the model: threads then spin for some ten microseconds first. GNU's own ten milliseconds took
    twice the processor time of the whole command on a busy machine (docs/performance.md). Variables
    that the user has set are kept.
    """
    if soon:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    elif "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
