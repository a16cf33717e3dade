"""Writes int8 weights and activations with fixed scales into an ONNX graph, for neural processors that only compute in
integers.

It uses ONNX Runtime's own quantiser (QDQ). Products and convolutions get a QuantizeLinear and a DequantizeLinear around
them, whose scales cover the values that calibration lines gave. Products of two activations (attention), layer norms,
softmax and embeddings stay unchanged.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx

from ...target import Arrays

OPERATORS = ("Conv", "MatMul", "Gemm")


def quantize_static(exact: onnx.ModelProto, inputs: Iterable[Arrays]) -> onnx.ModelProto:
    """A copy of an fp32 graph that computes products and convolutions in int8.

    Args:
        exact: the graph.
        inputs: by name, for each calibration run.
    """
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    root.setLevel(before[0])  # its import sets up logging for everybody
    root.handlers = before[1]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[Arrays] = iter(inputs)

        def get_next(self) -> dict[str, object] | None:
            found = next(self.left, None)
            return None if found is None else dict(found)

    with tempfile.TemporaryDirectory() as folder:
        source, ready, made = (Path(folder) / f"{name}.onnx" for name in ("exact", "ready", "made"))
        onnx.save(exact, source)
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        quantize_static(
            ready, made, Reader(), op_types_to_quantize=list(OPERATORS), per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
            extra_options={"CalibMovingAverage": False, "ActivationSymmetric": False, "MatMulConstBOnly": True},
        )  # fmt: skip
        return onnx.load(made)
