"""The measuring process: it says what it runs on, takes one job, answers and ends.

Its parent is `measurer`.
"""

import os
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import torch

from timesformer_cli.benchmark import machine
from timesformer_cli.benchmark.measure import Job, measure
from timesformer_cli.children import die_with, receive, send, take_pipes
from timesformer_cli.config import ModelConfig
from timesformer_cli.errors import TsfError
from timesformer_cli.inference.device import find_device, find_dtype

SLACK = 512 << 20  # bytes of address space for threads and libraries, on top of the limit
# What torch's RuntimeErrors say when memory is refused: they have no type of their own on the CPU.
MEMORY_WORDS = (
    "allocate memory",
    "not enough memory",
    "bad_alloc",
    "could not create a primitive",  # oneDNN, when its scratch space is refused
    "could not execute a primitive",
)


def main(parent: int, device: str, dtype: str) -> None:
    """Send a greeting, take one job, send the answer."""
    requests, replies = take_pipes()
    die_with(parent)
    try:
        place = find_device(device)
        kind = find_dtype(dtype, place)
    except TsfError as error:
        send(replies, {"error": type(error).__name__, "message": str(error)})
        return
    send(replies, _greeting(place, kind))
    with suppress(EOFError):  # the parent may need no more than the greeting
        job, _ = receive(requests)
        send(replies, _answer(job, place, kind))


def _greeting(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    return {
        "device": str(device),
        "device_name": machine.device_name(device),
        "dtype": str(dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "free_bytes": machine.free_bytes(device),
    }


def _answer(job: dict[str, Any], device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    limit = job.pop("limit_bytes")
    config = ModelConfig.from_dict(job.pop("config"))
    try:
        flops = machine.product_flops(device, dtype)
        _confine(limit, device)
        done = measure(Job(config=config, device=device, dtype=dtype, **job), flops)
        return {"status": "ok", **asdict(done)}
    except Exception as error:
        if _is_memory(error):
            return {"status": "oom", "reason": "ran out of memory"}
        first = (str(error).strip().splitlines() or [""])[0]
        return {"status": "failed", "reason": f"{type(error).__name__}: {first:.200}"}


def _is_memory(error: BaseException) -> bool:
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in MEMORY_WORDS)
    )


def _confine(limit: int | None, device: torch.device) -> None:
    """Limit the memory that this process can take beside what it has; `limit` is in bytes.

    A row may need more than was predicted. It then fails here and does not fill the machine's
    swap.
    """
    if limit is None:
        return
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), device)
        return
    try:
        import resource

        with open("/proc/self/statm") as file:
            mapped = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        allowed = mapped + limit + SLACK
        soft = allowed if hard == resource.RLIM_INFINITY else min(allowed, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    except (ImportError, AttributeError, ValueError, OSError):
        pass  # other platforms than Linux have no such limit; the row runs without one
