"""Graphs in half precision: what rounds every operator to float16 agrees, and what must stay float32 does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

from export.checks.parity import compare, psnr
from export.checks.probe import Probe
from export.precision.half_onnx import OF_ANGLES
from export.target import Arrays
from export.views.onnx import view
from runtime.bundle.io_spec import MASKED
from runtime.bundle.manifest import Bundle
from training.saving.checkpoint import Loaded

DECIBELS = 50.0  # eleven bits give 66 a rounding; one operator of the twentieth part of that would fall under
SOFTMAX_DECIBELS = 92.0  # 95 where only its input and output are rounded; XNNPACK's own in float16 leaves 87


def graph_of(bundle: Bundle, graph: str) -> onnx.ModelProto:
    return onnx.load(bundle.path(bundle.manifest.choose(["onnx"], "fp16"), graph))


@pytest.mark.parametrize("graph", ["encode", "decode", "decodex8"])
def test_a_processor_that_rounds_every_operator_to_half_precision_agrees(
    graph: str, bundle: Bundle, loaded: Loaded, probe: Probe
) -> None:
    """ONNX Runtime's CPU computes stretches in fp32; ONNX's own evaluator, in numpy, doesn't."""
    evaluator = ReferenceEvaluator(graph_of(bundle, graph))
    spec, half = bundle.manifest.io, bundle.manifest.io_of(bundle.manifest.choose(["onnx"], "fp16"))
    takes = {item.name: item.dtype for item in half.input_spec(graph)}

    def run(inputs: Arrays) -> Arrays:
        found = evaluator.run(None, {name: inputs[name].astype(dtype) for name, dtype in takes.items()})
        assert [value.dtype.name for value in found] == [item.dtype for item in half.output_spec(graph)]
        return dict(zip(spec.output_names(graph), (value.astype(np.float32) for value in found), strict=True))

    rng = np.random.default_rng(0)
    image, valid = probe.pair(spec.widths[0])
    inputs = {item.name: item.zeros(B=2, S=64, T=16, W=spec.widths[0]) for item in spec.input_spec(graph)}
    for name in {*spec.caches("self"), *spec.caches("cross")} & inputs.keys():
        inputs[name] = rng.normal(size=inputs[name].shape).astype(np.float32)
    if graph == "encode":
        inputs |= {"image": image, "valid_width": valid.astype(np.int64)}
    else:
        inputs["position"][:] = 40, 64
        inputs["memory_mask"][1, ..., 9:] = MASKED
    found = compare(loaded.model, spec, graph, run, inputs)
    assert min(found.values()) >= DECIBELS, found


@pytest.mark.parametrize("graph", ["encode", "decode", "decodex8"])
def test_angles_norms_and_scores_are_computed_in_full_and_all_else_in_half(graph: str, bundle: Bundle) -> None:
    found = view(graph_of(bundle, graph), graph)
    waves = [operator for operator in found.computing() if operator.kind in OF_ANGLES]
    assert len(waves) == (len(OF_ANGLES) if graph == "encode" else 0)
    assert {found.dtype(name) for one in waves for name in one.inputs} <= {"float32"}
    exact = Counter(one.kind for one in found.computing() if found.dtype(one.outputs[0]) == "float32")
    norms, products = len(found.of_kind("layer_norm")), len(found.of_kind("matmul"))
    assert norms and exact["layer_norm"] == norms
    # One product alone gives scores, and no value on the way out is ever float16.
    assert exact["matmul"] == 1 < products
    scores = next(name for name in found.outputs if name.endswith("logits"))
    while found.producers[scores].kind != "matmul":
        scores = found.producers[scores].inputs[0]
        assert found.dtype(scores) == "float32"
    others = {"Range", "Unsqueeze", "mul", "add", *OF_ANGLES} if graph == "encode" else {"Gather"}
    assert set(exact) - {"cast", "layer_norm", "matmul"} <= others
    # Nothing is cast there and back again.
    producers = [found.producers.get(one.inputs[0]) for one in found.of_kind("cast")]
    assert all(before is None or before.kind != "cast" for before in producers)


def test_weights_take_half_the_bytes(bundle: Bundle) -> None:
    for graph in ("encode", "decode"):
        half, full = (bundle.path(bundle.manifest.choose(["onnx"], name), graph) for name in ("fp16", "fp32"))
        assert half.stat().st_size < 0.53 * full.stat().st_size


class Pieces(nn.Module):
    """What ExecuTorch must be told about: a batch norm, a layer norm and a softmax over many values, silu, a computed
    position."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.batch = nn.Conv1d(256, 256, 3, padding=1), nn.BatchNorm1d(256)
        nn.init.uniform_(self.batch.running_mean, -1, 1)
        nn.init.uniform_(self.batch.running_var, 1e-4, 1e-3)
        self.norm, self.out = nn.LayerNorm(256), nn.Linear(256, 256)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        seen = self.norm(self.batch(self.conv(x)).transpose(1, 2))
        waves = torch.sin(torch.arange(seen.shape[1], dtype=torch.float32)[:, None] * 30.0)
        shares = torch.softmax(x.reshape(1, 32, 512), dim=-1)
        return self.out(nn.functional.silu(seen + waves)), (x[:, :1] > 0).float() * -1e4, shares


def test_executorch_computes_in_half_precision_what_pytorch_does_in_full(tmp_path: Path) -> None:
    pytest.importorskip("executorch.exir", reason="needs executorch: make setup-phones")
    xnnpack = pytest.importorskip("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    from export.precision.half_program import halved
    from export.targets.executorch import lowered, operators, quiet
    from runtime.engines.executorch import open_program

    torch.manual_seed(0)
    module, x = Pieces().eval().requires_grad_(False), torch.randn(1, 256, 64)
    with quiet():
        expected = [value.numpy() for value in module(x)]
        exact = torch.export.export(module, (x,))
        program = halved(exact, ["float16"], ["float32", "float16", "float32"])
        path = tmp_path / "pieces.pte"
        path.write_bytes(lowered({"pieces": program}, xnnpack.XnnpackPartitioner()))
    method = open_program(path).load_method("pieces")
    taken = x.half()  # read in place
    method.set_inputs([taken])
    method.execute()
    found = method.get_outputs(clone_outputs=True)
    assert [value.dtype for value in found] == [torch.float32, torch.float16, torch.float32]
    pairs = zip(expected, (value.float().numpy() for value in found), strict=True)
    agree = [psnr(*pair) for pair in pairs]
    assert min(agree) >= DECIBELS
    assert agree[-1] >= SOFTMAX_DECIBELS
    counts = operators(path, "pieces")
    assert counts["aten::native_layer_norm"] == 1 and not {"aten::sin", "aten::native_batch_norm"} & set(counts)
    # Around norm and softmax, before the mask and before two outputs; none around silu.
    assert counts["dim_order_ops::_to_dim_order_copy"] == 7
    assert all(weight.dtype == torch.float32 for weight in exact.state_dict.values() if weight.is_floating_point())
