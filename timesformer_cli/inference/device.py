"""Devices and dtypes by name, what this processor can do, and errors for memory that runs out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch

from timesformer_cli.errors import DeviceError
from timesformer_cli.inference.device_names import DTYPE_NAMES, require_device_name

DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPE_NAMES}
PACKED_ROWS = 1024  # oneDNN chooses a layout for a number of tokens; the layout serves any number


def find_device(name: str) -> torch.device:
    """The device of that name; `auto` takes CUDA, then MPS, then the CPU.

    Raises UsageError for a name that is none, DeviceError for a device that is not there.
    """
    require_device_name(name)
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, number = name.partition(":")
    if kind == "cuda" and int(number or 0) >= (count := torch.cuda.device_count()):
        raise DeviceError(f"no device '{name}': this machine has {count} CUDA devices; try cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("no device 'mps' on this machine; try cpu")
    return torch.device(kind, int(number)) if number else torch.device(kind)


def find_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of that name; `auto` is bfloat16 where the hardware multiplies in it.

    Everywhere else `auto` is float32.
    """
    if name != "auto":
        return DTYPES[name]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = device.type == "cpu" and cpu_has_bfloat16()
    return torch.bfloat16 if native else torch.float32


@contextmanager
def memory_explained(device: torch.device) -> Iterator[None]:
    """Inside the block, running out of memory raises a DeviceError that says what to do."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"{device} has no memory left; try a smaller --batch-size, --dtype bfloat16, or cpu"
        ) from error


def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies in bfloat16; one that does not is 8 to 11 times slower.

    The processor must have the instructions, and oneDNN must use them: ONEDNN_MAX_CPU_ISA may
    forbid it.
    """
    # torch has no public function for this. Where a version lacks these, only speed is lost.
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    has_instructions = any(getattr(torch.cpu, check, lambda: False)() for check in checks)
    return has_instructions and packs_weights(torch.bfloat16)


def cpu_has_amx() -> bool:
    """Whether this processor multiplies tiles of bfloat16 and int8 (AMX)."""
    # torch has no public function for this. Where a version lacks it, only speed is lost.
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def slow_dtype(dtype: torch.dtype, device: torch.device) -> str | None:
    """What to say of a dtype in which this device computes far slower than in float32."""
    halves = (torch.bfloat16, torch.float16)
    if device.type != "cpu" or dtype not in halves or cpu_has_bfloat16():
        return None
    name = str(dtype).removeprefix("torch.")
    return f"this processor has no {name} and computes in it many times slower than in float32"


@cache
def packs_weights(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies here by a weight that was laid out for it beforehand.

    One small product is tried. Builds without oneDNN lack the operator, and processors without
    AVX512 refuse bfloat16 with a RuntimeError.
    """
    try:
        packed, tokens = (
            pack_weight(torch.zeros(16, 16, dtype=dtype)),
            torch.zeros(1, 16, dtype=dtype),
        )
        torch.ops.mkldnn._linear_pointwise(tokens, packed, None, "none", [], "")
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return True


def pack_weight(weight: torch.Tensor, rows: int = PACKED_ROWS) -> torch.Tensor:
    """A weight `(out in)` in the layout that oneDNN multiplies by fastest.

    Call it only where `packs_weights` says that this works.
    """
    packed: torch.Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), rows)
    return packed


def has_int8_maps(device: torch.device) -> bool:
    """Whether linear maps with 8-bit weights run there: only on a CPU with oneDNN."""
    return device.type == "cpu" and int8_pair_limit() > 0


def int8_product(weight: torch.Tensor, scales: torch.Tensor) -> Callable[..., torch.Tensor]:
    """A map from tokens, uint8 `(n in)`, to float32 `(n out)`: the product times each output's scale.

    `weight` is int8 `(out in)`; oneDNN lays it out once.
    """
    packed = torch.ops.onednn.qlinear_prepack(weight, None)
    zeros = torch.zeros(len(weight), dtype=torch.long)
    linear = torch.ops.onednn.qlinear_pointwise
    end: tuple[object, ...] = (1.0, 0, torch.float32, "none", [], "")
    return lambda tokens: linear(tokens, 1.0, 0, packed, scales, zeros, None, *end)


@cache
def int8_pair_limit() -> int:
    """The largest sum of two neighbouring weights by which the CPU multiplies 8-bit tokens right.

    254 is any sum, as weights reach 127; 0 means that there is no such product. Processors without
    VNNI add two products in 16 bits and cut off what does not fit: with two tokens of 255, sums of
    254 give 64,770, and sums of 128 give 32,640. Small products are tried.
    """
    tokens = torch.full((1, 64), 255, dtype=torch.uint8)
    # Weights whose neighbours are (0, 1) and (2, 3), whatever other two the processor might add.
    rows = {254: [[127, 127, 127, 127]], 128: [[127, 1, 127, 1], [127, 1, 1, 127]]}
    for limit, patterns in rows.items():
        weight = torch.tensor(patterns, dtype=torch.int8).repeat(16, 16)
        try:
            product = int8_product(weight, torch.ones(len(weight)))(tokens)
        except (AttributeError, NotImplementedError, RuntimeError):
            return 0
        if bool((product[0] == 255 * weight.sum(dim=1)).all()):
            return limit
    return 0


@cache
def multiplies_int8(device: torch.device) -> bool:
    """Whether the device multiplies two int8 matrices; two small ones are tried."""
    try:
        torch._int_mm(*torch.zeros(2, 32, 32, dtype=torch.int8, device=device))
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return True
