"""Graphs of one bucket: what their names mean, which is taken, how memory fits them."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.errors import BundleError
from runtime.io_spec import MASKED, TensorSpec, graph_for, kind_of, pad_memory

from .tiny import TINY


def test_a_graphs_name_fixes_its_sizes() -> None:
    shapes = {item.name: item.shape for item in TINY.input_spec("encode_64") + TINY.output_spec("encode_64")}
    assert shapes["image"] == ("B", 1, 16, 64)
    assert shapes["cross_k_0"] == ("B", 2, 8, 8) and shapes["column_logits"] == ("B", 8, 8)
    shapes = {item.name: item.shape for item in TINY.input_spec("decode_16", B=1)}
    assert shapes["self_k_0"] == (1, 2, 16, 8)
    assert shapes["cross_v_1"] == (1, 2, 8, 8) and shapes["memory_mask"] == (1, 1, 1, 8)  # the widest bucket's memory


def test_without_a_size_in_its_name_a_graph_takes_any() -> None:
    assert TINY.bucket("encode") == TINY.bucket("decode") == {}
    assert TensorSpec("image", ("B", 1, 16, "W"), "float32") in TINY.input_spec("encode")
    assert [kind_of(name) for name in ("decode", "decode_16")] == ["decode"] * 2


def test_a_buckets_own_graph_goes_before_one_for_any_size() -> None:
    graphs = ["encode", "encode_64", "decode_8", "decode_16"]
    assert [graph_for(graphs, "encode", width) for width in (32, 64)] == ["encode", "encode_64"]
    with pytest.raises(BundleError, match="no graph decode_32 .known: decode_16, decode_8"):
        graph_for(graphs, "decode", 32)


def test_memory_is_padded_with_columns_that_do_not_count() -> None:
    given = {"cross_k_0": np.ones((1, 2, 4, 8)), "memory_mask": np.zeros((1, 1, 1, 4)), "token": np.ones(1)}
    padded = pad_memory(given, 6)
    assert padded["memory_mask"].reshape(-1).tolist() == [0, 0, 0, 0, MASKED, MASKED]
    assert padded["cross_k_0"].shape == (1, 2, 6, 8) and padded["cross_k_0"].sum() == given["cross_k_0"].sum()
    assert padded["token"] is given["token"]
