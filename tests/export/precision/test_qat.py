"""Training with roundings computes what the int8 export computes: the same scales, the same roundings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from export.checks.parity import decoder_numbers, encoder_numbers
from export.checks.probe import Probe
from export.precision.quantize_onnx import quantize
from export.target import TARGETS
from runtime.bundle.manifest import Bundle
from training.saving.checkpoint import load_checkpoint
from training.techniques.qat import BLOCK, FEWEST, TECHNIQUE, Rounding, in_blocks, in_rows

from .test_quantize_onnx import error, one_node, run

RNG = np.random.default_rng(4)


def rounded_layer(layer: nn.Module) -> nn.Module:
    """The layer as training rounds it."""
    TECHNIQUE.apply(layer, None)  # type: ignore[arg-type]
    return layer


@pytest.mark.parametrize("k", [64, 2 * BLOCK + 5])
@torch.no_grad()
def test_a_linear_layer_rounds_as_onnx_runtime_does(k: int) -> None:
    """Tolerance: fp32; one scale for a whole row of the input would be 0.004 to 0.01 off."""
    weight = RNG.normal(size=(k, 48)).astype(np.float32)
    x = RNG.normal(size=(9, k)).astype(np.float32)
    x[:, :BLOCK] *= 100
    layer = nn.Linear(k, 48, bias=False)
    layer.weight.copy_(torch.from_numpy(weight.T))
    expected = run(quantize(one_node("MatMul", weight, ["x", "weight"], [-1, k])), x)
    exact = layer(torch.from_numpy(x)).numpy()
    found = rounded_layer(layer)(torch.from_numpy(x)).numpy()
    assert error(found, expected) < 1e-6
    assert error(exact, expected) > 1e-3


@torch.no_grad()
def test_a_convolution_rounds_as_its_export_does() -> None:
    layer = nn.Conv2d(16, 48, 3, bias=False)
    layer.weight.mul_(torch.logspace(-3, 3, 48)[:, None, None, None])
    x = RNG.normal(size=(1, 16, 12, 12)).astype(np.float32)
    expected = run(quantize(one_node("Conv", layer.weight.numpy().copy(), ["x", "weight"], [1, 16, 12, 12])), x)
    found = rounded_layer(layer)(torch.from_numpy(x)).numpy()
    assert max(error(found[:, c], expected[:, c]) for c in range(48)) < 1e-6


@torch.no_grad()
def test_an_embedding_rounds_as_its_export_does() -> None:
    layer = nn.Embedding(100, 32)
    proto = quantize(one_node("Gather", layer.weight.numpy().copy(), ["weight", "x"], [-1], onnx.TensorProto.INT64))
    found = rounded_layer(layer)(torch.arange(100)).numpy()
    assert error(found, run(proto, np.arange(100))) < 1e-6


@torch.no_grad()
def test_small_convolutions_and_embeddings_stay_exact() -> None:
    for layer, x in ((nn.Conv2d(4, 4, 3), torch.randn(1, 4, 8, 8)), (nn.Embedding(10, 8), torch.arange(10))):
        assert layer.weight.numel() < FEWEST
        exact = layer(x)
        assert torch.equal(rounded_layer(layer)(x), exact)


def test_gradients_pass_the_roundings_as_if_there_were_none() -> None:
    layer, x = nn.Linear(40, 6), torch.randn(3, 40, requires_grad=True)
    out = rounded_layer(layer)(x)
    out.sum().backward()
    assert torch.equal(layer.weight.grad, in_blocks(x.detach()).sum(0).expand(6, 40))
    assert torch.allclose(x.grad, in_blocks(layer.weight.detach()).sum(0).expand(3, 40), atol=1e-6)
    values = torch.randn(4, 5, requires_grad=True)
    (Rounding.apply(values) * torch.arange(5.0)).sum().backward()
    assert torch.equal(values.grad, torch.arange(5.0).expand(4, 5))


def test_values_of_nothing_stay_nothing() -> None:
    assert torch.equal(in_rows(torch.zeros(3, 4, 2)), torch.zeros(3, 4, 2))


def test_a_rounded_model_computes_what_its_int8_export_does_and_the_exact_one_does_not(
    bundle: Bundle, checkpoint: Path, probe: Probe
) -> None:
    """A step of the decoder agrees to fp32's rounding. Through the encoder's layers sums in another order tip some
    values over to the next level, and those tip more: it agrees to a tenth of the exact model's error."""
    artifact, spec, load = bundle.manifest.choose(["onnx"], "int8"), bundle.manifest.io, TARGETS.get("onnx").load
    model = rounded_layer(load_checkpoint(checkpoint).model)
    encode, decode = (load(bundle.path(artifact, graph)) for graph in ("encode", "decode"))
    rounded = {
        "encode": encoder_numbers(model, spec, encode, probe.pair),
        "decode": decoder_numbers(model, spec, decode, probe.pair(spec.widths[0])),
    }
    worst = {
        graph: [min(figures[graph]["psnr_db"].values()) for figures in (artifact.numerics, rounded)]
        for graph in ("encode", "decode")
    }
    assert worst["decode"][0] < 60 and worst["decode"][1] > 100
    assert worst["encode"][1] > worst["encode"][0] + 15
