"""Which matrices `mixed` gives 4 bits, and that each graph's are found again."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from export.checks.probe import Probe
from export.graphs.contract import modules
from export.precision.calibration import bits_of
from export.precision.sensitivity import Given, chosen, matrices, sensitivities, to_four_bits
from export.precision.static.onnx import quantize_static
from runtime.bundle.manifest import Bundle
from training.saving.checkpoint import Loaded

from .test_quantize_onnx import RNG, error, one_node, run


@pytest.fixture(scope="module")
def given(probe: Probe) -> list[Given]:
    batches = probe.batches()[:1]
    return [Given(pictures, [[5, 6, 7]] * len(pictures[0])) for pictures in batches]


def test_a_matrix_that_four_bits_hold_is_not_sensitive_and_all_weights_stay(loaded: Loaded, given: list[Given]) -> None:
    model = loaded.model
    exact = {name: value.clone() for name, value in model.state_dict().items()}
    held = "decoder.layers.0.self_out"
    part = matrices(model)[held]
    part.weight.data = to_four_bits(part.weight.data)
    try:
        before = {name: value.clone() for name, value in model.state_dict().items()}
        found = sensitivities(model, given, loaded.tokenizer.bos_id)
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    finally:
        model.load_state_dict(exact)
    assert set(found) == set(matrices(model))
    assert abs(found[held]) < 1e-6
    assert sum(value > 1e-6 for value in found.values()) > len(found) / 2


def test_the_most_sensitive_matrices_get_eight_bits() -> None:
    assert chosen({"a": 0.3, "b": 0.01, "c": 0.02}, budget=0.05) == {"b": 4, "c": 4, "a": 8}
    assert chosen({"a": 0.3}, budget=0.3) == {"a": 4}


@pytest.mark.parametrize("graph", ["encode", "decode"])
def test_every_matrix_is_found_again_in_onnx(loaded: Loaded, bundle: Bundle, graph: str) -> None:
    from export.targets.onnx import bits_by_value

    part = modules(loaded.model)[graph]
    wanted = {name: 4 for name in bits_of(part, "int4", None)}
    bits = bits_by_value(part, wanted)
    proto = onnx.load(bundle.path(bundle.manifest.choose(["onnx"], "fp32"), graph))
    held = {item.name: numpy_helper.to_array(item) for item in proto.graph.initializer}
    products = [held[node.input[1]] for node in proto.graph.node if node.op_type == "MatMul" and node.input[1] in held]
    used = "cross_keys_values" if graph == "decode" else "decoder.layers.0.self"  # in the other graph
    expected = [name for name in wanted if graph == "decode" and used not in name] or [
        name for name in wanted if not name.startswith("decoder.") or "cross_keys_values" in name
    ]
    assert sum(bits(weight) == 4 for weight in products) == len(expected) > 3


def test_static_scales_are_fixed_and_close() -> None:
    weight = RNG.normal(size=(64, 48)).astype(np.float32)
    exact = one_node("MatMul", weight, ["x", "weight"], ["B", 64])
    exact.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, ["B", 48]))
    lines = [{"x": RNG.normal(size=(2, 64)).astype(np.float32)} for _ in range(8)]
    proto = quantize_static(exact, lines)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in proto.graph.node}
    x = np.concatenate([line["x"] for line in lines])
    together = run(proto, x)
    assert 1e-4 < error(together, x @ weight) < 0.03
    assert np.array_equal(run(proto, x[:1]), together[:1])
