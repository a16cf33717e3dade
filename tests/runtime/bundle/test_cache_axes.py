"""Keys and values in a target's own axes are the contract's, seen without a copy."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.bundle.cache_axes import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    CONTRACT,
    as_contract,
    as_stored,
    axes_of,
    stored_shape,
)
from runtime.bundle.io_spec import IOSpec
from tests.runtime import tiny

SHAPE = (2, 3, 5, 4)  # B h S d


@pytest.mark.parametrize(
    ("axes", "shape"), [(CONTRACT, SHAPE), (CHANNELS_LAST, (2, 5, 1, 12)), (CHANNELS_FIRST, (2, 12, 1, 5))]
)
def test_what_is_stored_is_seen_in_the_contracts_axes_and_written_there(axes: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=SHAPE)
    stored = as_stored(array, axes)
    assert stored.shape == shape == stored_shape(SHAPE, axes) and stored.flags.c_contiguous
    seen = as_contract(stored, axes, heads=3)
    assert np.array_equal(seen, array)
    seen[1, 2, 4, 3] = 7
    assert (stored == 7).sum() == 1


def test_heads_lie_side_by_side() -> None:
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    assert np.array_equal(as_stored(array, CHANNELS_LAST)[1, 2, 0], array[1, :, 2].reshape(-1))
    assert np.array_equal(as_stored(array, CHANNELS_FIRST)[1, :, 0, 2], array[1, :, 2].reshape(-1))


def test_keys_and_values_alone_have_axes_of_their_own() -> None:
    axes = {"keys": CHANNELS_LAST, "values": CHANNELS_FIRST}
    names = ("self_k_0", "cross_k_11", "new_v_1", "logits", "memory_mask", "token", "valid_width", "column_logits")
    assert [axes_of(name, axes) for name in names] == [CHANNELS_LAST] * 2 + [CHANNELS_FIRST] + [CONTRACT] * 5
    assert axes_of("self_k_0", {}) == CONTRACT


def test_a_spec_with_axes_tells_the_shapes_of_the_graph_itself() -> None:
    spec = IOSpec.from_dict({**tiny.TINY.to_dict(), "axes": {"keys": CHANNELS_LAST}})
    shapes = {item.name: spec.stored(item).shape for item in spec.input_spec("decode", B=1)}
    assert shapes["self_k_0"] == (1, "S", 1, spec.heads * spec.head_dim)
    assert shapes["self_v_0"] == (1, spec.heads, "S", spec.head_dim) and shapes["token"] == (1,)
