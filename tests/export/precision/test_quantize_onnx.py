"""int8 weights: as close as eight bits allow, and as ONNX Runtime's own quantiser makes them."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from export.precision.quantize_onnx import BLOCK, FEWEST, quantize, scaled
from export.precision.sensitivity import to_four_bits

RNG = np.random.default_rng(3)


def one_node(
    op: str, weight: np.ndarray, inputs: list[str], shape: list[int], kind: int = TensorProto.FLOAT
) -> onnx.ModelProto:
    """A graph of one operator with a weight."""
    graph = helper.make_graph(
        [helper.make_node(op, inputs, ["out"], name="node")], "graph",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "weight")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def run(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    # As the runtime's engine: sums of two int8 products must not overflow on processors without VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": x})[0])


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """Root mean square error over the root mean square."""
    return float(np.sqrt(np.mean((found - expected) ** 2) / np.mean(expected**2)))


def test_scaled_values_lie_within_half_a_step() -> None:
    values = RNG.normal(size=(20, 32)).astype(np.float32)
    values[4] = 0
    stored, scale = scaled(values)
    assert stored.dtype == np.int8
    assert np.all(np.abs(stored * scale[:, None] - values) <= scale[:, None] / 2 * 1.001)
    assert np.array_equal(np.abs(stored).max(1), np.where(np.arange(20) == 4, 0, 127))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("k", [64, 2 * BLOCK + 5])
def test_a_matrix_product_is_as_good_as_onnxruntimes_own(k: int, bits: int) -> None:
    weight = RNG.normal(size=(k, 48)).astype(np.float32)
    weight[:, 7] *= 1000  # a column that must not spoil the others
    exact = one_node("MatMul", weight, ["x", "weight"], [-1, k])
    quantized = quantize(exact, lambda _: bits)
    assert [node.op_type for node in quantized.graph.node] == ["MatMulNBits"]
    one_by_one = np.eye(k, dtype=np.float32)  # gives the weights back; a single value is exact in int8
    ours = error(run(quantized, one_by_one)[:, :7], weight[:, :7])
    theirs = error(run(by_onnxruntime(exact, bits), one_by_one)[:, :7], weight[:, :7])
    assert 1e-4 < ours < 1.05 * theirs
    x = RNG.normal(size=(9, k)).astype(np.float32)
    assert error(run(quantized, x)[:, :7], x @ weight[:, :7]) < {8: 0.015, 4: 0.12}[bits]


def test_four_bits_round_as_the_sensitivities_assume() -> None:
    weight = RNG.normal(size=(64, 48)).astype(np.float32)
    found = run(
        quantize(one_node("MatMul", weight, ["x", "weight"], [-1, 64]), lambda _: 4), np.eye(64, dtype=np.float32)
    )
    assert error(found, to_four_bits(torch.from_numpy(weight.T)).numpy().T) < 1e-6


def by_onnxruntime(exact: onnx.ModelProto, bits: int) -> onnx.ModelProto:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    root.setLevel(before[0])  # its import sets up logging for everybody
    root.handlers = before[1]
    quantizer = MatMulNBitsQuantizer(exact, bits=bits, block_size=BLOCK, is_symmetric=True, accuracy_level=4)
    quantizer.process()
    made: onnx.ModelProto = quantizer.model.model
    return made


def test_a_row_of_a_product_does_not_depend_on_the_others() -> None:
    proto = quantize(one_node("MatMul", RNG.normal(size=(64, 48)).astype(np.float32), ["x", "weight"], [-1, 64]))
    x = RNG.normal(size=(10, 64)).astype(np.float32)
    x[3] *= 1e4
    together = run(proto, x)
    for row in range(10):
        assert error(run(proto, x[row : row + 1]), together[row : row + 1]) < 1e-6


def test_a_convolution_keeps_a_scale_for_each_channel() -> None:
    sizes = np.logspace(-3, 3, 48, dtype=np.float32)[:, None, None, None]
    weight = RNG.normal(size=(48, 16, 3, 3)).astype(np.float32) * sizes
    exact = one_node("Conv", weight, ["x", "weight"], [1, 16, 12, 12])
    x = RNG.normal(size=(1, 16, 12, 12)).astype(np.float32)
    quantized = quantize(exact)
    assert [node.op_type for node in quantized.graph.node] == ["Cast", "Mul", "Conv"]
    found, expected = run(quantized, x), run(exact, x)
    assert max(error(found[:, c], expected[:, c]) for c in range(48)) < 0.01
    assert len(quantized.SerializeToString()) < 0.3 * len(exact.SerializeToString())


def test_an_embedding_keeps_a_scale_for_each_row() -> None:
    weight = RNG.normal(size=(100, 32)).astype(np.float32) * np.logspace(-3, 3, 100, dtype=np.float32)[:, None]
    exact = one_node("Gather", weight, ["weight", "x"], [-1], TensorProto.INT64)
    found = run(quantize(exact), np.arange(100))
    assert max(error(found[row], weight[row]) for row in range(100)) < 0.01


@pytest.mark.parametrize("weight", [np.ones((4, 4, 3, 3), np.float32)], ids=["a small convolution"])
def test_small_weights_stay_exact(weight: np.ndarray) -> None:
    assert weight.size < FEWEST
    exact = one_node("Conv", weight, ["x", "weight"], [1, 4, 8, 8])
    assert quantize(exact).graph == exact.graph
