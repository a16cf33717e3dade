"""How far activations stay from half precision's ends: what overflows is found, named and refused."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from export.bundle.inspect import inspect
from export.checks import activation_ranges as ranges
from export.checks.activation_ranges import HIGHEST, LEAST_BITS, HalfPrecision, Measured, Ranges, as_exported
from export.checks.probe import Probe
from export.graphs.contract import SHRUNK, io_spec, modules
from export.target import TARGETS
from runtime.bundle.manifest import Bundle
from runtime.errors import BundleError
from training.model.music_trocr import MusicTrOCR
from training.saving.checkpoint import Loaded

ONNX = TARGETS.get("onnx")


def measured(model: MusicTrOCR, loaded: Loaded, probe: Probe) -> Measured:
    return ranges.measured(model, io_spec(model, loaded.preparation), loaded.tokenizer, probe)


@pytest.fixture(scope="module")
def found(loaded: Loaded, probe: Probe) -> dict[str, Any]:
    return measured(loaded.model, loaded, probe).headroom()


def looked_at(module: nn.Module, *inputs: torch.Tensor) -> Ranges:
    with torch.inference_mode(), Ranges(module).looking() as seen:
        module(*inputs)
    return seen


def test_a_debug_model_is_read_line_by_line_and_has_room(found: dict[str, Any]) -> None:
    assert found["lines"] == 6 and found["positions"] > 100
    assert found["bits"] > 4 and found["sum_bits"] > 0 and found["variance_bits"] > 0
    assert found["highest"][found["operator"]] == max(found["highest"].values())
    assert found["bits"] == pytest.approx(math.log2(HIGHEST / max(found["highest"].values())), abs=0.1)


@torch.no_grad()
def test_a_product_that_overflows_is_found_and_named_though_the_model_reads_the_same(
    loaded: Loaded, probe: Probe, found: dict[str, Any]
) -> None:
    """The branch is computed 2^20 times too large, and its last weights make that good again."""
    model = copy.deepcopy(loaded.model)
    layer = model.decoder.layers[1]
    layer.feed_up.weight *= 2.0**20
    layer.feed_out.weight *= 2.0**-20
    large = measured(model, loaded, probe).headroom()
    assert large["bits"] < 0
    assert "decoder.layers.1.feed_" in large["operator"]
    assert large["positions"] == found["positions"]


@torch.no_grad()
def test_squares_inside_a_layer_norm_are_found_though_every_result_is_small(loaded: Loaded, probe: Probe) -> None:
    model = copy.deepcopy(loaded.model)
    model.memory.collapse.weight *= 2.0**12  # the norm after it takes this away again
    seen = measured(model, loaded, probe)
    large = seen.headroom()
    assert large["operator"] == "square of layer_norm in memory.norm"
    assert large["bits"] < 0 and large["sum_bits"] < large["bits"]
    # Where norms are computed in fp32 those squares are no danger.
    assert seen.headroom(norms=False)["bits"] > LEAST_BITS


def test_a_layer_norm_of_values_all_alike_divides_by_its_epsilon() -> None:
    seen = looked_at(nn.LayerNorm(8), torch.full((1, 8), 3.0))
    assert seen.variances == {"layer_norm in ": pytest.approx(1e-5)}


def test_scores_inside_a_fused_attention_are_seen_and_the_masks_are_not() -> None:
    class Attention(nn.Module):
        def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask)

    x = torch.full((1, 1, 2, 4), 10.0)
    seen = looked_at(Attention(), x, torch.tensor([[0.0, -1e4], [0.0, 0.0]]))
    assert seen.highest["scores of scaled_dot_product_attention in "] == pytest.approx(200)  # 4 * 100 / sqrt(4)


@torch.no_grad()
def test_a_convolution_counts_with_the_batch_norm_that_is_folded_into_it() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.norm, self.alone = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.alone(self.norm(self.convolution(x)))

    branches = Branches().eval()
    branches.convolution.weight.fill_(1e6)
    branches.norm.running_var.fill_(1e12)
    seen = looked_at(branches, torch.ones(1, 1, 2, 2))
    assert set(seen.highest) == {"batch_norm in norm", "conv2d in alone"}
    assert max(seen.highest.values()) < 10


def test_not_a_number_counts_as_infinite() -> None:
    assert looked_at(nn.ReLU(), torch.tensor([math.nan, 1.0])).highest["relu in "] == math.inf


@torch.no_grad()
def test_what_may_overflow_is_refused_where_activations_are_half_precision(loaded: Loaded, probe: Probe) -> None:
    model = copy.deepcopy(loaded.model)
    model.decoder.layers[0].feed_up.weight *= 2.0**20
    half = HalfPrecision(model, io_spec(model, loaded.preparation), loaded.tokenizer, probe)
    target = replace(ONNX, precisions=("fp32", "fp16", "int8"), half=("int8",))
    assert half.numbers("phone", target, "fp32") == {}
    with pytest.raises(BundleError, match=r"phone int8 may overflow: .*decoder\.layers\.\d\.feed_.* reaches .* under"):
        half.numbers("phone", target, "int8")
    # Weights of 16 bits alone don't overflow; whoever computes with them in half precision is told.
    assert half.numbers("phone", target, "fp16")["headroom"]["bits"] < LEAST_BITS


@torch.no_grad()
def test_a_large_square_in_a_norm_is_refused_unless_norms_are_computed_in_fp32(loaded: Loaded, probe: Probe) -> None:
    model = copy.deepcopy(loaded.model)
    model.memory.collapse.weight *= 2.0**12
    half = HalfPrecision(model, io_spec(model, loaded.preparation), loaded.tokenizer, probe)
    with pytest.raises(BundleError, match="phone fp16 may overflow: square of layer_norm in memory.norm reaches"):
        half.numbers("phone", replace(ONNX, exact_norms=False), "fp16")
    assert half.numbers("onnx", ONNX, "fp16")["headroom"]["bits"] >= LEAST_BITS


def test_inspect_shows_the_headroom_and_where_it_is_lowest(bundle: Bundle, found: dict[str, Any]) -> None:
    first, *rest = bundle.manifest.artifacts
    artifacts = (replace(first, numerics=first.numerics | {"headroom": found}), *rest)
    shown = inspect(replace(bundle, manifest=replace(bundle.manifest, artifacts=artifacts)))
    row = next(line for line in shown.splitlines() if " headroom " in line and " highest " in line)
    assert f"{found['operator']} {found['highest'][found['operator']]:g}" in row


@torch.inference_mode()
def test_a_smaller_stream_changes_no_bit_of_what_the_graphs_give(loaded: Loaded, probe: Probe) -> None:
    image, valid = (torch.from_numpy(array) for array in probe.pair(512))
    plain, exported = (modules(loaded.model, fold)["encode"](image, valid) for fold in (False, True))
    assert all(torch.equal(one, other) for one, other in zip(plain, exported, strict=True))
    stream = as_exported(loaded.model).decoder.tokens.weight
    assert torch.equal(stream, loaded.model.decoder.tokens.weight * SHRUNK)
