"""Bytes alive while a model runs: what operators returned and nothing has freed yet."""

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Inside its `with`, counts each storage that an operator returns, once, until it is freed.

    Views and in-place results share a storage, so they cost nothing more. `held` are tensors that
    exist already and count, such as the input; all others, such as the weights, do not. Memory that
    an operator takes and gives back inside itself is invisible here, such as the blocks of a fused
    kernel or a matrix library's packed copy. So the process grows by `peak` at least.
    """

    def __init__(self, *held: torch.Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._known: dict[int, weakref.finalize[..., Any]] = {}
        for tensor in held:
            self._add(tensor)

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        # Inputs that are first seen here are weights and constants; the caller counts those.
        inputs = {_storage(tensor) for tensor in tree_iter((args, kwargs)) if _is_tensor(tensor)}
        outputs = operator(*args, **(kwargs or {}))
        for tensor in tree_iter(outputs):
            if _is_tensor(tensor) and _storage(tensor) not in inputs:
                self._add(tensor)
        return outputs

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        name, size = storage._cdata, storage.nbytes()
        if name not in self._known:
            self._known[name] = weakref.finalize(storage, self._free, name, size)
            self.live += size
            self.peak = max(self.peak, self.live)

    def _free(self, name: int, size: int) -> None:
        del self._known[name]
        self.live -= size


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
