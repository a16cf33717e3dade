"""During a rehearsal with empty tensors, still computes what is small and depends on no weight: widths, masks,
positions, labels.

So code that asks how many patches a line has, or selects by a mask, gets the true answer. What depends on weights isn't
known: there a number (a loss, for the log) is 1, a question (is it finite?) is answered with yes, and a mask selects
every place.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from runtime.errors import OmrError

LARGEST = 2**20  # values of a tensor that is computed; pictures are larger
ATEN = torch.ops.aten


class Contents(TorchDispatchMode):
    """Keeps a real tensor for each one that is known; enter it last, above the mode that makes tensors empty."""

    def __init__(self) -> None:
        super().__init__()
        self.known = WeakTensorKeyDictionary()

    def __torch_dispatch__(self, operator: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        if operator is ATEN._local_scalar_dense.default:
            return self.number(arguments[0])
        if operator is ATEN._ctc_loss.Tensor:  # its work space is as long as the longest label
            (columns, lines, _), longest = arguments[0].shape, arguments[1].shape[1]
            return arguments[0].new_empty(lines), arguments[0].new_empty(lines, columns, 2 * longest + 1)
        if operator is ATEN.index.Tensor:
            arguments = (arguments[0], self.places(arguments[1]))
        made = operator(*arguments, **(options or {}))
        self.follow(operator, arguments, options or {}, made)
        return made

    def follow(self, operator: Any, arguments: Any, options: Any, made: Any) -> None:
        """Compute the same of what is known; what is made of anything else isn't."""
        inputs, outputs = (
            [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)] for tree in ((arguments, options), made)
        )
        small = all(output.numel() <= LARGEST for output in outputs)
        if outputs and small and all(map(self.is_known, inputs)):
            with _disable_current_modes():
                arguments, options = tree_map(self.real, (arguments, options))
                found = operator(*arguments, **options)
            for output, real in zip(outputs, tree_leaves(found), strict=True):
                self.known[output] = real
        else:
            for output in outputs:
                self.known.pop(output, None)

    def is_known(self, tensor: Tensor) -> bool:
        """Constants in the code are real tensors."""
        return tensor in self.known or not (isinstance(tensor, FakeTensor) or tensor.is_meta)

    def real(self, value: Any) -> Any:
        return self.known[value] if isinstance(value, FakeTensor) else value

    def number(self, tensor: Tensor) -> float | bool | int:
        """What a tensor of one value holds.

        Raises:
            OmrError: a whole number that depends on weights.
        """
        if tensor in self.known:
            with _disable_current_modes():
                return self.known[tensor].item()
        if tensor.dtype is torch.bool:
            return True
        if not tensor.is_floating_point():
            raise OmrError("this can't be planned: how much a step computes depends on its weights; try it instead")
        return 1.0

    def places(self, indices: list[Tensor | None]) -> list[Tensor | None]:
        """Masks as the indices of their places."""
        found: list[Tensor | None] = []
        for index in indices:
            if index is None or index.dtype is not torch.bool:
                found.append(index)
                continue
            real = self.known.get(index)
            with _disable_current_modes():
                places = None if real is None else real.nonzero(as_tuple=True)
            count = index.numel() if places is None else len(places[0])
            made = [index.new_zeros(count, dtype=torch.long) for _ in range(index.ndim)]
            if places is not None:
                self.known.update(zip(made, places, strict=True))
            found += made
        return found
