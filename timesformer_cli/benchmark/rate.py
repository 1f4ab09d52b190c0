"""The rate of this machine's matrix products: measured once, and kept in tsf's cache folder.

It is measured again where the processor, the threads, torch or the visible devices are others, and
where other programs kept the processors busy the last time.
"""

import json
import os
import platform
from contextlib import suppress
from dataclasses import asdict
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from timesformer_cli.cost.rate import BUSY, MachineRate
from timesformer_cli.errors import TsfError
from timesformer_cli.files import replace_file

NAME = "machine.json"
VARIABLES = ("TSF_DEVICE", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "ONEDNN_MAX_CPU_ISA")


def machine_rate(cache: Path) -> MachineRate | None:
    """The rate, from the cache folder or, the first time, measured in a second or two.

    None where torch cannot be used.
    """
    cache = cache.expanduser()
    if (kept := _kept(cache / NAME)) is not None:
        return kept
    try:
        rate = _measured()
    except (ImportError, RuntimeError, TsfError):
        return None
    keep_rate(cache, rate)
    return rate


def keep_rate(cache: Path, rate: MachineRate) -> None:
    """Keep what was measured; a folder that cannot be written to only costs the next call its time."""
    cache = cache.expanduser()
    content = {"machine": _machine(), "rate": asdict(rate)}
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
        replace_file(cache / NAME, (json.dumps(content, indent=2) + "\n").encode())


def _kept(file: Path) -> MachineRate | None:
    """What was kept of this machine; None where that is nothing, of another, or spoilt."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        rate = MachineRate(**found["rate"])
        sound = found["machine"] == _machine() and rate.gflops > 0 and (rate.busy or 0) <= BUSY
        return rate if sound else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _machine() -> dict[str, str]:
    """What decides the rate, as far as it can be told without torch."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = ""
    said = {name: os.environ.get(name, "") for name in VARIABLES}
    return {
        "node": platform.node(),
        "machine": platform.machine(),
        "processors": str(os.cpu_count()),
        "torch": torch,
        **said,
    }


def _measured() -> MachineRate:
    from timesformer_cli.benchmark.machine import OtherWork, device_name, product_flops
    from timesformer_cli.inference.device import find_device, find_dtype

    device = find_device(os.environ.get("TSF_DEVICE", "auto").split(",")[0])
    dtype = find_dtype("auto", device)
    others = OtherWork()
    flops = product_flops(device, dtype)
    return MachineRate(
        device=str(device),
        title=device_name(device),
        dtype=str(dtype).removeprefix("torch."),
        gflops=round(flops / 1e9, 1),
        busy=others.share() if device.type == "cpu" else None,
        measured=date.today().isoformat(),
    )
