"""Runs a saved Core ML program without Apple's runtime, to check that a package computes what PyTorch computes.

Core ML runs only on Apple's systems. This file reads the operators (MIL) and weights back from the package and
evaluates them one after the other in PyTorch. That checks graph and weights, not Apple's kernels: values that the
program holds in half precision are rounded after every operator, while sums inside an operator are computed in fp32.

    run = Program(Path("encode_448.fp16.mlpackage"))
    outputs = run({"image": image, "valid_width": width})

Like `coremltools.models.CompiledMLModel` it has `predict` and, for functions that hold states, `make_state`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import torch
from coremltools.converters.mil.frontend.milproto.load import load
from coremltools.converters.mil.mil import types
from numpy.typing import NDArray
from torch import Tensor

from runtime.errors import BundleError

from ..files import opened_once
from .operators import OPERATORS
from .state import State

EXTRA = "coreml"


def constant(value: Any) -> Any:
    """A constant of the program: texts as they are, numbers as tensors of fp32, int64 or truth values."""
    if isinstance(value, (str, np.str_)):
        return str(value)
    array = np.asarray(value)
    wide = {"f": np.float32, "b": np.bool_}.get(array.dtype.kind, np.int64)
    return torch.from_numpy(np.array(array, wide))


@opened_once
def package(path: Path) -> tuple[Mapping[str, Any], dict[str, str]]:
    """A package's functions by name, and its metadata.

    Raises:
        BundleError: it can't be read.
    """
    try:
        model = ct.models.MLModel(str(path), skip_model_load=True)
        proto = model.get_spec()
        functions = load(proto, proto.specificationVersion, model.weights_dir).functions
    except (RuntimeError, OSError, KeyError) as error:
        raise BundleError(f"{path} is no package of an ML Program ({error}); export it again") from error
    return functions, dict(proto.description.metadata.userDefined)


class Program:
    """One function of a package.

    Raises:
        BundleError: the package can't be read, lacks the function, or this holds an operator that isn't in OPERATORS.
    """

    def __init__(self, path: Path, function: str = "main") -> None:
        functions, self.metadata = package(path)
        if function not in functions:
            raise BundleError(f"{path} holds no graph {function} (known: {', '.join(functions)}); export it again")
        self.function = functions[function]
        self.operations = [op for op in self.function.operations if op.op_type != "const"]
        self.constants = {
            op.outputs[0].name: constant(op.outputs[0].val) for op in self.function.operations if op.op_type == "const"
        }
        self.states = {name: var.shape for name, var in self.function.inputs.items() if types.is_state(var._sym_type)}
        if unknown := sorted(set(self.operators()) - set(OPERATORS)):
            raise BundleError(
                f"{path.name} holds {unknown[0]}, which can't be evaluated here; add it to export/mil/operators.py"
            )

    def operators(self) -> Counter[str]:
        """How often each operator occurs in the program."""
        return Counter(op.op_type for op in self.operations)

    def make_state(self) -> State:
        """States of zeros."""
        return State(self.states)

    def predict(self, inputs: Mapping[str, NDArray[Any]], state: State | None = None) -> dict[str, NDArray[Any]]:
        """A call, by the name that Core ML gives it."""
        return self(inputs, state)

    @torch.inference_mode()
    def __call__(self, inputs: Mapping[str, NDArray[Any]], state: State | None = None) -> dict[str, NDArray[Any]]:
        """Outputs by name; half precision comes out as fp32.

        Args:
            inputs: by name.
            state: of `make_state`, changed in place; where the function holds states.
        """
        values = {**self.constants, **(state.cells if state is not None else {})}
        for name, var in self.function.inputs.items():
            if name not in self.states:
                values[name] = rounded(constant(inputs[name]), var)
        for op in self.operations:
            arguments = {
                name: [values[part.name] for part in var] if isinstance(var, (list, tuple)) else values[var.name]
                for name, var in op.inputs.items()
                if var is not None
            }
            out = OPERATORS[op.op_type](arguments)
            for var, value in zip(op.outputs, out if isinstance(out, tuple) else (out,), strict=True):
                values[var.name] = rounded(value, var)
        return {var.name: values[var.name].numpy() for var in self.function.outputs}


def input_names(op: Any) -> list[str]:
    """Names of all values that an operator takes, settings included."""
    given = [var if isinstance(var, (list, tuple)) else [var] for var in op.inputs.values() if var is not None]
    return [var.name for listed in given for var in listed]


def rounded(value: Tensor, var: Any) -> Tensor:
    """The value as the program stores it: to half precision, or whole, where that is its type."""
    kind = var.dtype.__name__
    if not value.is_floating_point():
        return value
    if kind == "fp16":
        return value.half().float()
    return value.long() if kind.startswith(("int", "uint")) else value
