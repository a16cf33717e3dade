"""int8 weights and activations in an ExecuTorch program, with scales that are fixed beforehand: for XNNPACK's kernels
in whole numbers. Delegates of neural processors (Qualcomm's, Arm's Ethos-U) have quantisers of their own.

XNNPACK's own quantiser, for convolutions and linear maps, the ReLU after one included. Weights have a scale for each
output channel, an activation one that a histogram of the calibration lines gave. All else stays fp32.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from torch import Tensor
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

EXTRA = "executorch"

Program = torch.export.ExportedProgram


def quantize_static(
    exact: Program, kinds: Iterable[torch._ops.OpOverload], inputs: Iterable[Iterable[Tensor]]
) -> Program:
    """A program that computes operators of some kinds in int8.

    Args:
        exact: the program.
        kinds: operators, of those that XNNPACK's quantiser knows.
        inputs: in the program's order, for each calibration run.
    """
    quantizer = XNNPACKQuantizer()
    for kind in kinds:
        quantizer.set_operator_type(kind, get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(exact.module(), quantizer)
    for run in inputs:
        prepared(*run)
    return torch.export.export(convert_pt2e(prepared), exact.example_inputs[0])
