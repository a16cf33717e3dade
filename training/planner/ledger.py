"""Counts the bytes of all tensors that exist while PyTorch runs, and keeps the account of the fullest moment.

It works below autograd, so it sees everything that the forward pass, the backward pass and the optimizer allocate. A
storage is counted once, however many tensors share it, until the last of them is gone. What kernels allocate and free
internally isn't seen.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# In the order in which they are printed.
PARTS = ("parameters", "gradients", "optimizer", "averages", "half_copies", "batch", "activations", "passing")


class Ledger(TorchDispatchMode):
    """Accounts by part.

    Args:
        bytes_of: (operator, tensor it made) -> bytes; the tensor's own by default.

    Attributes:
        now: bytes of each part at this moment.
        fullest: the same at the moment since `begin` when all together were most.
    """

    def __init__(self, bytes_of: Callable[[Any, Tensor], int] | None = None) -> None:
        super().__init__()
        self.bytes_of = bytes_of or (lambda _operator, tensor: tensor.untyped_storage().nbytes())
        self.part_of: dict[int, str] = {}  # by the storage's address
        self.size_of: dict[int, int] = {}
        self.now: Counter[str] = Counter()
        self.fullest: Counter[str] = Counter()

    def begin(self) -> None:
        """Forget the fullest moment so far."""
        self.fullest = Counter(self.now)

    def __torch_dispatch__(self, operator: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        made = operator(*arguments, **(options or {}))
        part = "passing"
        if operator is torch.ops.aten._to_copy.default and self.known(arguments[0]) == "parameters":
            part = "half_copies"
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self.book(tensor, part, operator)
        if self.now.total() > self.fullest.total():
            self.fullest = Counter(self.now)
        return made

    def known(self, tensor: Tensor) -> str | None:
        """The part that a tensor is booked under."""
        return self.part_of.get(tensor.untyped_storage()._cdata)

    def book(self, tensor: Tensor, part: str, operator: Any = None) -> None:
        """Book a new tensor; one whose storage is known stays where it is, at the size it has by now."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, self.bytes_of(operator, tensor)
        if key not in self.part_of:
            self.part_of[key], self.size_of[key] = part, 0
            weakref.finalize(storage, self.write_off, key).atexit = False
        self.now[self.part_of[key]] += size - self.size_of[key]
        self.size_of[key] = size

    def move(self, tensor: Tensor, part: str, only: str | None = None) -> None:
        """Book a tensor under another part, if it was under `only`."""
        self.book(tensor, part)
        key = tensor.untyped_storage()._cdata
        before = self.part_of[key]
        if only is None or before == only:
            self.now[before] -= self.size_of[key]
            self.now[part] += self.size_of[key]
            self.part_of[key] = part

    def write_off(self, key: int) -> None:
        self.now[self.part_of.pop(key)] -= self.size_of.pop(key)

    def move_all(self, tensors: Iterable[Tensor], part: str) -> None:
        for tensor in tensors:
            self.move(tensor, part)

    def watch_gradients(self, model: nn.Module) -> None:
        """Book each parameter's gradient as a gradient, as soon as it exists."""

        def arrived(parameter: Tensor) -> None:
            if parameter.grad is not None:
                self.move(parameter.grad, "gradients")

        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.register_post_accumulate_grad_hook(arrived)

    def keeping(self) -> torch.autograd.graph.saved_tensors_hooks:
        """A context in which what the forward pass keeps for the backward pass is booked as activations."""

        def keep(tensor: Tensor) -> Tensor:
            self.move(tensor, "activations", only="passing")
            return tensor.detach()  # the tensor itself would hold the node that holds it, and never go

        return torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
