"""What a checkpoint may name beside tensors, and the empty stand-ins that are made for it.

Training code stores its options and counters beside the weights. None of them is needed, so none of
the classes is ever imported or called: torch is given a stand-in for each name.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any


class _Left:
    """Takes whatever a pickle gives to the real class, and keeps nothing of it."""

    def __new__(cls, *arguments: Any, **named: Any) -> "_Left":
        return object.__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


class _Table:
    """Makes a plain dictionary: torch fills no other kind, and weights may lie in it."""

    def __new__(cls, *arguments: Any) -> "OrderedDict[Any, Any]":  # type: ignore[misc]
        return OrderedDict()


_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
_NUMBERS = "Bool Int8 Int16 Int32 Int64 UInt8 UInt16 UInt32 UInt64 Float16 Float32 Float64".split()
_LEFT = (
    "argparse.Namespace",  # plain attributes; the official VideoMAE and MAE store one as `args`
    "types.SimpleNamespace",
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in _PATHS),
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *("numpy.dtype", "numpy.ndarray", "_codecs.encode"),
    *(f"numpy.{name.lower()}" for name in _NUMBERS),
    *(f"numpy.dtypes.{name}DType" for name in _NUMBERS),
    *(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in ("list", "int", "float", "str")),
    *("datetime.datetime", "datetime.timedelta", "datetime.date", "typing.Any", "decimal.Decimal"),
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    *("omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata", "omegaconf.nodes.AnyNode"),
    "mmengine.logging.history_buffer.HistoryBuffer",
)  # fmt: skip
_TABLES = (
    *("collections.defaultdict", "builtins.dict", "__builtin__.dict"),
    *("yacs.config.CfgNode", "fvcore.common.config.CfgNode", "easydict.EasyDict", "addict.addict.Dict"),
    *("lightning.fabric.utilities.data.AttributeDict", "lightning_fabric.utilities.data.AttributeDict"),
    *("pytorch_lightning.utilities.parsing.AttributeDict", "mmengine.config.config.ConfigDict"),
)  # fmt: skip
STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    *((_Left, name) for name in _LEFT),
    *((_Table, name) for name in _TABLES),
]
