"""What a step asks of small tensors is told as by the batch; what depends on weights is guessed, but no length."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from runtime.errors import OmrError
from training.planner.known_contents import Contents


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    with FakeTensorMode(), Contents():
        yield


def test_lengths_and_widest_lines_are_told() -> None:
    widths_B = torch.full((3,), 5)
    widths_B[1] = 2
    shown_BW = torch.arange(8) < widths_B[:, None]
    assert isinstance(shown_BW, FakeTensor)
    assert (shown_BW.sum(1).tolist(), int(widths_B.max())) == ([5, 2, 5], 5)


def test_a_mask_picks_as_many_places_as_it_has_and_an_unknown_one_all() -> None:
    shown_BW = torch.arange(8) < torch.full((3, 1), 5)
    values_BWD = torch.empty(3, 8, 2).normal_()
    assert values_BWD[shown_BW].shape == (15, 2)
    assert values_BWD[values_BWD[:, :, 0] > weights_of(8)].shape == (24, 2)


def test_of_what_depends_on_weights_a_number_is_one_a_question_is_answered_with_yes_and_a_length_is_refused() -> None:
    weights_D = weights_of(4)
    assert float(weights_D.sum()) == 1.0
    assert bool(weights_D.isfinite().all())
    with pytest.raises(OmrError, match="can't be planned: how much a step computes depends on its weights"):
        int(weights_D.argmax())


def weights_of(size: int) -> torch.Tensor:
    """A tensor of which nothing is known: cut from one that is too large to be computed."""
    return torch.empty(2**20 + 1)[:size]
