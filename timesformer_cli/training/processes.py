"""The processes that train together: those that torchrun started, or this one alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that train together."""

    rank: int = 0  # its number among all, over all machines
    count: int = 1  # of all of them
    local_rank: int = 0  # its number on its machine

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0

    def share(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model, wrapped so that its gradients are averaged over all processes."""
        if self.count == 1:
            return model
        devices = [device] if device.type == "cuda" else None
        return nn.parallel.DistributedDataParallel(model, device_ids=devices)

    def sum(self, values: list[float]) -> list[float]:
        """Each of the values added up over all processes."""
        return [sum(column) for column in zip(*self.gather(values), strict=True)]

    def gather(self, value: Any) -> list[Any]:
        """The value of each process, by rank; all of them must call this."""
        if self.count == 1:
            return [value]
        values = [None] * self.count
        dist.all_gather_object(values, value)
        return values


@contextmanager
def processes(device_type: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, for the length of the block."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield Processes()
        return
    numbers = [int(os.environ.get(name, 0)) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")]
    dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    try:
        yield Processes(*numbers)
    finally:
        dist.destroy_process_group()
