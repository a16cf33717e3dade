"""The ledger's accounts are those one makes by hand."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from training.planner.gpu import BLOCK, CudaAutocast, cuda_bytes
from training.planner.ledger import Ledger

KB = 1024  # 256 floats


def test_a_storage_is_booked_once_and_written_off_with_its_last_view() -> None:
    with Ledger() as ledger:
        whole = torch.empty(256)
        view = whole[:128].view(2, 64)
        assert ledger.now.total() == KB
        del whole
        assert ledger.now.total() == KB
        del view
        assert ledger.now.total() == 0


def test_the_fullest_moment_is_kept_when_it_is_over() -> None:
    with Ledger() as ledger:
        first = torch.empty(256)
        second = torch.empty(512)
        del first, second
        third = torch.empty(256)
        assert (ledger.now.total(), ledger.fullest.total()) == (KB, 3 * KB)
        ledger.begin()
        assert ledger.fullest.total() == KB
        del third


def test_parameters_gradients_and_activations_are_told_apart() -> None:
    """y = relu(x W): the backward pass needs x for W, W for x (booked as what it is), and relu's result."""
    layer = nn.Linear(16, 16, bias=False)
    x_BD = torch.randn(64, 16, requires_grad=True)
    ledger = Ledger()
    ledger.move_all(layer.parameters(), "parameters")
    ledger.move(x_BD, "batch")
    ledger.watch_gradients(layer)
    with ledger, ledger.keeping():
        y_BD = layer(x_BD).relu()
        assert ledger.now == {"parameters": KB, "batch": 4 * KB, "activations": 4 * KB, "passing": 0}
        y_BD.sum().backward()
        assert ledger.now["gradients"] == KB
        layer.zero_grad()
        assert ledger.now["gradients"] == 0


def test_what_is_recomputed_is_not_kept() -> None:
    layers = nn.Sequential(*(nn.Sequential(nn.Linear(16, 16), nn.Dropout(0.5), nn.ReLU()) for _ in range(4)))

    def kept(recompute: bool) -> int:
        with FakeTensorMode(allow_non_fake_inputs=True), Ledger() as ledger, ledger.keeping():
            x_BD = torch.ones(64, 16, requires_grad=True)
            for layer in layers:
                x_BD = checkpoint(layer, x_BD, use_reentrant=False) if recompute else layer(x_BD)
            found = ledger.now["activations"]
            x_BD.sum().backward()
        return found

    assert kept(recompute=True) < kept(recompute=False) / 2


def test_what_autocast_copies_is_known_as_copies() -> None:
    layer = nn.Linear(16, 16, bias=False)
    ledger = Ledger()
    ledger.move_all(layer.parameters(), "parameters")
    with ledger, torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(1, 16))
        assert ledger.now["half_copies"] == KB // 2


def test_a_gpu_has_whole_blocks_and_a_byte_for_a_value_that_dropout_draws() -> None:
    with Ledger(cuda_bytes) as ledger:
        small = torch.empty(1)
        assert ledger.now.total() == BLOCK
        noise = torch.empty(10_000).bernoulli_(0.5)
        assert ledger.now.total() == BLOCK + 20 * BLOCK
        del small, noise


@pytest.mark.parametrize("operate", [lambda x: F.layer_norm(x, (8,)), lambda x: x.softmax(-1), torch.sum])
def test_autocast_on_a_gpu_computes_norms_softmax_and_sums_in_single_precision(operate) -> None:  # noqa: ANN001
    half = torch.ones(2, 8, dtype=torch.bfloat16)
    with CudaAutocast():
        assert operate(half).dtype == torch.bfloat16
        with torch.autocast("cpu", torch.bfloat16):
            assert operate(half).dtype == torch.float32
            assert F.gelu(half).dtype == torch.bfloat16
