"""States, which a Core ML function keeps between its runs, for `export.mil.program`: `coremltools.models.model.MLState`
in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass
class Cell:
    """One state; operators of the program read `value` and `update` it."""

    value: Tensor

    def update(self, value: Tensor) -> Tensor:
        """Replace the value, and give it."""
        self.value = value
        return value


class State:
    """All states of a function by name, in half precision as Core ML's are; zeros at first."""

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.cells = {name: Cell(torch.zeros(tuple(shape))) for name, shape in shapes.items()}

    def read_state(self, name: str) -> NDArray[np.float16]:
        """A copy of one."""
        return np.array(self.cells[name].value.numpy(), np.float16)

    def write_state(self, name: str, value: NDArray[Any]) -> None:
        """Replace one."""
        stored = torch.from_numpy(np.array(value, np.float16)).float()
        assert stored.shape == self.cells[name].value.shape, f"{name} is {tuple(self.cells[name].value.shape)}"
        self.cells[name].value = stored
