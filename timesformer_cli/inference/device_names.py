"""Names of devices and dtypes, judged without torch."""

import re

from timesformer_cli.errors import UsageError

DTYPE_NAMES = ("float32", "bfloat16", "float16", "int8")
NAMES = re.compile(r"auto|cpu|mps|cuda(:\d{1,3})?")


def require_device_name(name: str) -> None:
    """Raise UsageError for a name that is none; whether the device is there, torch knows."""
    if not NAMES.fullmatch(name):
        raise UsageError(f"no device '{name}'; give auto, cpu, cuda, cuda:<number> or mps")
