"""Graphs of one bucket: what their names mean, which is taken, how memory fits them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from runtime.bundle.io_spec import MASKED, IOSpec, TensorSpec, graph_for, kind_of, pad_memory
from runtime.errors import BundleError

from ..tiny import TINY


def test_a_graphs_name_fixes_its_sizes() -> None:
    shapes = {item.name: item.shape for item in TINY.input_spec("encode_64") + TINY.output_spec("encode_64")}
    assert shapes["image"] == ("B", 1, 16, 64)
    assert shapes["cross_k_0"] == ("B", 2, 8, 8) and shapes["column_logits"] == ("B", 8, 8)
    shapes = {item.name: item.shape for item in TINY.input_spec("decode_16", B=1)}
    assert shapes["self_k_0"] == (1, 2, 16, 8)
    assert shapes["cross_v_1"] == (1, 2, 8, 8) and shapes["memory_mask"] == (1, 1, 1, 8)  # the widest bucket's memory


def test_a_graph_of_chunks_takes_and_gives_several_tokens() -> None:
    spec = replace(TINY, chunk=8)
    one = {item.name: item.shape for item in spec.input_spec("decode_16") + spec.output_spec("decode_16")}
    several = {item.name: item.shape for item in spec.input_spec("decode_16x8") + spec.output_spec("decode_16x8")}
    changed = {name: shape for name, shape in several.items() if shape != one[name]}
    assert changed == {
        "token": ("B", 8), "logits": ("B", 8, 24), **{name: ("B", 2, 8, 8) for name in spec.caches("new")},
    }  # fmt: skip
    assert {item.name: item.shape for item in spec.input_spec("decodex8", S=16, T=8)} == {
        name: shape for name, shape in several.items() if name in spec.input_names("decode")
    }
    assert spec.kinds == ("encode", "decode", "decodex8") and TINY.kinds == ("encode", "decode")
    assert IOSpec.from_dict(TINY.to_dict()) == TINY and IOSpec.from_dict(spec.to_dict()) == spec


def test_sizes_of_a_bundle_from_before_graphs_of_chunks_are_read() -> None:
    older = {name: value for name, value in TINY.to_dict().items() if name != "chunk"}
    assert IOSpec.from_dict(older) == TINY


def test_without_a_size_in_its_name_a_graph_takes_any() -> None:
    assert TINY.bucket("encode") == TINY.bucket("decode") == {}
    assert TensorSpec("image", ("B", 1, 16, "W"), "float32") in TINY.input_spec("encode")
    assert [kind_of(name) for name in ("decode", "decode_16")] == ["decode"] * 2
    assert [kind_of(name) for name in ("decodex8", "decode_16x8")] == ["decodex8"] * 2


def test_a_buckets_own_graph_goes_before_one_for_any_size() -> None:
    graphs = ["encode", "encode_64", "decode_8", "decode_16", "decode_16x8"]
    assert [graph_for(graphs, "encode", width) for width in (32, 64)] == ["encode", "encode_64"]
    assert [graph_for(graphs, kind, 16) for kind in ("decode", "decodex8")] == ["decode_16", "decode_16x8"]
    with pytest.raises(BundleError, match="no graph decode_32x8 .known: decode_16, decode_16x8"):
        graph_for(graphs, "decodex8", 32)


def test_memory_is_padded_with_columns_that_do_not_count() -> None:
    given = {"cross_k_0": np.ones((1, 2, 4, 8)), "memory_mask": np.zeros((1, 1, 1, 4)), "token": np.ones(1)}
    padded = pad_memory(given, 6)
    assert padded["memory_mask"].reshape(-1).tolist() == [0, 0, 0, 0, MASKED, MASKED]
    assert padded["cross_k_0"].shape == (1, 2, 6, 8) and padded["cross_k_0"].sum() == given["cross_k_0"].sum()
    assert padded["token"] is given["token"]
