"""The machine that a measurement runs on: its name, its memory, and what else it is doing."""

import os
import platform
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from timesformer_cli.inference.fast.linear import find_linear

# Rows and columns of a matrix product that keeps a device busy, and how long it is repeated.
PRODUCT = {"cpu": 2048, "mps": 4096, "cuda": 8192}
PRODUCT_SECONDS = 0.4


def device_name(device: torch.device) -> str:
    """The name that the device's maker gave it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    for line in _lines("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown"


def free_bytes(device: torch.device) -> int | None:
    """Bytes of memory that can still be taken; None where the platform does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    limits = [int(line.split()[1]) * 1024 for line in _lines("/proc/meminfo") if "MemAvai" in line]
    try:  # a container may be given less than the machine has
        group = Path("/sys/fs/cgroup")
        limit = int((group / "memory.max").read_text())
        limits.append(limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):
        pass
    if not limits and hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(limits)) if limits else None


class ResidentGrowth:
    """How much memory this process has gained at its worst moment since this was made."""

    def __init__(self) -> None:
        self._began = None
        try:
            # 5 resets VmHWM, or a peak from before would count.
            Path("/proc/self/clear_refs").write_text("5")
            self._began = self._bytes("VmRSS:")
        except OSError:
            pass

    def growth(self) -> int | None:
        """Bytes at the peak; None where the platform does not say."""
        peak = self._bytes("VmHWM:")
        return None if self._began is None or peak is None else max(0, peak - self._began)

    @staticmethod
    def _bytes(name: str) -> int | None:
        for line in _lines("/proc/self/status"):
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        return None


def product_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product: the best of several.

    In int8 it is the product that models run there, which rounds its float32 input first. Raises
    DeviceError for a device that has none.
    """
    size = PRODUCT.get(device.type, 2048)
    left, right = torch.randn(2, size, size, device=device)
    if dtype == torch.int8:
        multiply: Callable[[], object] = partial(find_linear(device, dtype)(right, None), left)
    else:
        multiply = partial(torch.matmul, left.to(dtype), right.to(dtype))
    best, spent = float("inf"), 0.0
    with torch.inference_mode():
        multiply()  # warms up
        while spent < PRODUCT_SECONDS:
            settle(device)
            began = time.perf_counter()
            multiply()
            settle(device)
            best = min(best, time.perf_counter() - began)
            spent += time.perf_counter() - began
    return 2 * size**3 / best


def settle(device: torch.device) -> None:
    """Wait until the device has done all that it was asked to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class OtherWork:
    """The share of the machine's processor time that other processes took since this was made."""

    def __init__(self) -> None:
        self._began = self._spent()

    def share(self) -> float | None:
        """Between 0 and 1; None where the platform does not say."""
        if self._began is None or (now := self._spent()) is None:
            return None
        total, idle, own = (b - a for a, b in zip(self._began, now, strict=True))
        return min(1.0, max(0.0, (total - idle - own) / total)) if total > 0 else 0.0

    @staticmethod
    def _spent() -> tuple[float, float, float] | None:
        """Seconds of all processors, those of them that were idle, and those of this process."""
        for line in _lines("/proc/stat"):
            if line.startswith("cpu "):
                # user nice system idle iowait irq softirq steal; guests count in user already.
                ticks = [int(word) / os.sysconf("SC_CLK_TCK") for word in line.split()[1:9]]
                own = os.times()
                return sum(ticks), ticks[3] + ticks[4], own.user + own.system
        return None


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
