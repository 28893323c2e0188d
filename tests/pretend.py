"""A device that is none, to see on any machine what a GPU would have to be given, and when it would
have to be waited for.

Its tensors say that they lie on "meta", which torch never computes on, and hold tensors of the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
DEVICE = torch.device("meta")
# What a GPU cannot be asked for without waiting: a number, or a result whose size is not known.
_WAITING = {
    aten._local_scalar_dense,
    aten.nonzero,
    aten.masked_select,
    aten._unique2,
    aten.unique_dim,
    aten.unique_consecutive,
    aten.equal,
    aten.bincount,
}
_INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


class Remote(torch.Tensor):
    """A tensor of the device. `held`: what it is, on the CPU."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Remote:
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        made.held = held
        return made  # type: ignore[no-any-return]

    @classmethod
    def __torch_dispatch__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise AssertionError(f"{function} works on the device where nobody looks")


class Pretended(TorchDispatchMode):
    """Within the block, in this thread, there is such a device.

    waits: the operations for which a host would wait for a GPU; uploads: copies from the host.
    AssertionError where tensors of both sides meet in an operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self.uploads = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        packet = function.overloadpacket
        tensors = [t for t in _pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        remote = [t for t in tensors if isinstance(t, Remote)]
        assert all(t.device.type == "cpu" for t in tensors if not isinstance(t, Remote)), function
        target = kwargs.get("device")
        there = bool(remote) if target is None else torch.device(target) == DEVICE
        if packet in (aten._to_copy, aten.copy_):
            self._copied(packet, args, kwargs, bool(remote), there)
        elif remote:
            local = [t for t in tensors if not isinstance(t, Remote) and t.dim()]
            assert not local or not remote, f"{function} mixes tensors of the host and the device"
            self._look(packet, args)
        if there and "device" in kwargs:
            kwargs["device"] = torch.device("cpu")
        made = function(*_map(args, _held), **_map(kwargs, _held))
        if not there:
            return made
        known = {id(t.held): t for t in remote}
        return _map(made, lambda t: known[id(t)] if id(t) in known else Remote(t))

    def _copied(self, packet: Any, args: Any, kwargs: Any, remote: bool, there: bool) -> None:
        source = args[1] if packet is aten.copy_ else args[0]
        goal = isinstance(args[0], Remote) if packet is aten.copy_ else there
        blocking = not (args[2:3] == (True,) or kwargs.get("non_blocking", False))
        if isinstance(source, Remote) and not goal:
            self.waits.append("download")
        elif goal and not isinstance(source, Remote) and source.dim():
            self.uploads += 1
            if blocking:
                self.waits.append("upload that waits")

    def _look(self, packet: Any, args: Any) -> None:
        masks = packet in _INDEXING and any(
            i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1]
        )
        sized = packet is aten.repeat_interleave and isinstance(args[-1], torch.Tensor)
        if packet in _WAITING or masks or sized:
            self.waits.append(str(packet))


def _held(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.held if isinstance(tensor, Remote) else tensor


def _map(tree: Any, work: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    return _pytree.tree_map(lambda x: work(x) if isinstance(x, torch.Tensor) else x, tree)
