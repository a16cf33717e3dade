"""Converts a torch.export program to half precision: float16 weights and activations, so that XNNPACK computes in
float16.

Pictures and scores that go in and come out stay float32 and are cast once. Keys, values and the memory's mask are
float16 outside the program, too. What depends on no input, such as sinusoidal positions, is computed in fp32 first.

Three operators are written differently, all for ExecuTorch 1.5:

    layer norms   in fp32 between two casts: the kernel for float16 gives wrong numbers (11 dB) for rows of 256 and more
    softmax       the same: XNNPACK's for float16 costs a decoder step over 512 slots of noise 16 dB (34 of 50)
    silu          as x * sigmoid(x): it would be taken apart into just that in fp32, with two casts
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer
from executorch.exir.passes.constant_prop_pass import constant_prop_pass
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate
from torchao.quantization.pt2e.quantize_pt2e import prepare_pt2e

EXTRA = "executorch"

ATEN = torch.ops.aten
NORM = ATEN.layer_norm.default
NORM_WEIGHTS = slice(2, 4)  # of its arguments
IN_SINGLE = (NORM, ATEN.softmax.int)


class Border(nn.Module):
    """A graph in half precision that gives these types and takes any."""

    def __init__(self, inner: nn.Module, gives: Sequence[str]) -> None:
        super().__init__()
        self.inner = inner
        self.gives = [getattr(torch, dtype) for dtype in gives]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        found = self.inner(*(value.half() if value.is_floating_point() else value for value in inputs))
        return tuple(value.to(dtype) for value, dtype in zip(found, self.gives, strict=True))


def halved(
    program: torch.export.ExportedProgram, takes: Sequence[str], gives: Sequence[str]
) -> torch.export.ExportedProgram:
    """The same graph in half precision.

    Args:
        program: in fp32; it isn't changed.
        takes, gives: types of its inputs and outputs.
    """
    computed = constant_prop_pass(copy.deepcopy(program)).module(check_guards=False)
    # With nothing to quantise, this folds batch norms into convolutions and makes tensors of single numbers.
    module = prepare_pt2e(computed, XNNPACKQuantizer())
    nodes = module.graph.nodes
    single = {weight for node in nodes if node.target == NORM for weight in node.args[NORM_WEIGHTS]}
    for node in list(nodes):
        node.args, node.kwargs = map_aggregate(node.args, half_type), map_aggregate(node.kwargs, half_type)
        if node.op == "get_attr" and node not in single:
            make_half(module, str(node.target))
        elif node.target in IN_SINGLE:
            in_single(module.graph, node)
        elif node.target == ATEN.silu.default:
            silu_by_sigmoid(module.graph, node)
    module.recompile()
    given, _ = program.example_inputs
    inputs = tuple(value.to(getattr(torch, dtype)) for value, dtype in zip(given, takes, strict=True))
    return torch.export.export(Border(module, gives), inputs)


def half_type(argument: Any) -> Any:
    """An argument of a node, float16 where it is the type float32."""
    return torch.float16 if argument is torch.float32 else argument


def make_half(module: nn.Module, name: str) -> None:
    """Bring a weight or constant to half precision, under its old name."""
    owner, _, own = name.rpartition(".")
    holder = module.get_submodule(owner)
    value = getattr(holder, own)
    if value.dtype == torch.float32:
        half = value.detach().half()
        setattr(holder, own, nn.Parameter(half, requires_grad=False) if isinstance(value, nn.Parameter) else half)


def in_single(graph: fx.Graph, node: fx.Node) -> None:
    """Casts before and after an operator, whose weights, if it has some, are fp32."""
    with graph.inserting_before(node):
        node.replace_input_with(node.args[0], graph.call_function(ATEN.to.dtype, (node.args[0], torch.float32)))
    with graph.inserting_after(node):
        back = graph.call_function(ATEN.to.dtype, (node, torch.float16))
    node.replace_all_uses_with(back, delete_user_cb=lambda user: user is not back)


def silu_by_sigmoid(graph: fx.Graph, silu: fx.Node) -> None:
    """x * sigmoid(x) in the place of silu(x)."""
    with graph.inserting_before(silu):
        sigmoid = graph.call_function(ATEN.sigmoid.default, (silu.args[0],))
        silu.replace_all_uses_with(graph.call_function(ATEN.mul.Tensor, (silu.args[0], sigmoid)))
    graph.erase_node(silu)
