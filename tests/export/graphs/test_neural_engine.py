"""The Neural Engine's layout computes what the plain graphs do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from export.graphs import neural_engine
from export.graphs.contract import io_spec, modules
from export.graphs.plain_attention import plain_attention
from export.target import Arrays
from runtime.bundle.cache_axes import NEURAL_ENGINE, as_contract, as_stored, axes_of
from runtime.bundle.io_spec import IOSpec
from training.config import load_config
from training.loading.batches import make_preparation
from training.model.music_trocr import MusicTrOCR

from ...source import ROOT
from ..debug import OVERRIDES, random_model

SMALL = 1e-5  # of the largest value; other orders of summation give a few 1e-7


@pytest.fixture(scope="module")
def model() -> MusicTrOCR:
    return random_model(4)


@pytest.fixture(scope="module")
def spec(model: MusicTrOCR) -> IOSpec:
    plain = io_spec(model, make_preparation(load_config([ROOT / "configs" / "debug.yaml"], list(OVERRIDES))))
    return replace(plain, axes=NEURAL_ENGINE)


def inputs(spec: IOSpec, graph: str) -> Arrays:
    """Two rows of noise at places of their own; half of the second row's memory is masked."""
    rng = np.random.default_rng(1)
    whole = {"token": [5, 7], "position": [0, 100], "valid_width": [128, 70]}
    given = {}
    for item in spec.input_spec(graph, B=2):
        shape = [int(size) for size in item.shape]
        noise = rng.normal(size=shape) if item.name != "memory_mask" else np.zeros(shape)
        given[item.name] = np.array(whole.get(item.name, noise), item.dtype)
    if "memory_mask" in given:
        given["memory_mask"][1, ..., shape[-1] // 2 :] = -1e4
    return given


@pytest.mark.parametrize("graph", ["encode_128", "decode_256"])
def test_a_graph_gives_what_the_plain_one_gives(
    model: MusicTrOCR, spec: IOSpec, graph: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neural_engine, "MOST_OUTPUTS", 20)  # 32 channels are split, too
    kind, given = graph.partition("_")[0], inputs(spec, graph)
    stored = [as_stored(value, axes_of(name, spec.axes)) for name, value in given.items()]
    with torch.inference_mode():
        expected = modules(model)[kind](*map(torch.from_numpy, given.values()))
        found = neural_engine.modules(model)[kind](*map(torch.from_numpy, stored))
    for item, one, other in zip(spec.output_spec(graph, B=2), expected, found, strict=True):
        assert tuple(other.shape) == spec.stored(item).shape, item.name
        seen = as_contract(other.numpy(), axes_of(item.name, spec.axes), spec.heads)
        assert np.abs(seen - one.numpy()).max() <= SMALL * one.abs().max(), item.name


def test_the_models_own_weights_stay_as_they_are(model: MusicTrOCR) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    neural_engine.modules(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.decoder.parameters())


@pytest.mark.parametrize("mask", ["none", "added", "truth"])
def test_attention_is_plain_while_a_model_is_traced_and_fused_after(mask: str) -> None:
    fused = F.scaled_dot_product_attention
    query, key, value = (torch.randn(2, 3, 5, 8, generator=torch.Generator().manual_seed(n)) for n in range(3))
    seen = torch.arange(5) < torch.tensor([[[[4]]], [[[2]]]])
    given = {"none": None, "added": (~seen).float() * -1e4, "truth": seen}[mask]
    expected = fused(query, key, value, attn_mask=given)
    with plain_attention():
        traced = torch.jit.trace(lambda *x: F.scaled_dot_product_attention(*x, attn_mask=given), (query, key, value))
    assert "scaled_dot_product" not in str(traced.inlined_graph)
    assert torch.allclose(traced(query, key, value), expected, atol=1e-6)
    assert F.scaled_dot_product_attention is fused
