"""Exported graphs keep the contract: names, variable sizes, no branches, nothing computed twice."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.checks.loaded_graphs import Graphs, engine_of
from export.checks.parity import read
from export.checks.probe import Probe
from export.graphs.contract import io_spec, modules
from export.target import graph_names
from export.targets.onnx import TARGET, check, memory_projections
from runtime.bundle.io_spec import CHUNK, CHUNKED, GRAPHS, IOSpec, kind_of
from runtime.bundle.manifest import Bundle
from runtime.errors import BundleError
from runtime.inference.engine import Engine
from runtime.page.preparation import Preparation
from training.saving.checkpoint import Loaded

from ..debug import random_model

PRECISIONS = ("fp32", "fp16", "int8")
KINDS = (*GRAPHS, CHUNKED)
DECODERS = {"decode": 1, CHUNKED: CHUNK}  # and the tokens they take


def path_of(bundle: Bundle, graph: str, precision: str) -> Path:
    return bundle.path(bundle.manifest.choose(["onnx"], precision), graph)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("graph", KINDS)
def test_a_graph_has_the_names_types_and_variable_sizes_of_the_contract(
    bundle: Bundle, graph: str, precision: str
) -> None:
    def told(values: list[onnx.ValueInfoProto]) -> list[tuple[str, tuple[int | str, ...], str]]:
        shapes = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values]
        types = [helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type).name for v in values]
        return [(v.name, tuple(shape), kind) for v, shape, kind in zip(values, shapes, types, strict=True)]

    proto = onnx.load(path_of(bundle, graph, precision))
    spec = bundle.manifest.io_of(bundle.manifest.choose(["onnx"], precision))
    assert told(list(proto.graph.input)) == [(s.name, s.shape, s.dtype) for s in spec.input_spec(graph)]
    assert told(list(proto.graph.output)) == [(s.name, s.shape, s.dtype) for s in spec.output_spec(graph)]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_any_number_of_rows_any_width_and_any_cache_size_run(bundle: Bundle, precision: str) -> None:
    spec = bundle.manifest.io
    encode, decode, chunk = (TARGET.load(path_of(bundle, graph, precision)) for graph in KINDS)
    for rows, width, slots in ((1, spec.widths[0], 256), (3, spec.widths[-1] + 64, 37)):
        inputs = {s.name: s.zeros(B=rows, W=width) for s in spec.input_spec("encode")}
        inputs["valid_width"][:] = width
        memory = encode(inputs)
        assert memory["memory_mask"].shape == (rows, 1, 1, width // 8)
        step = {s.name: memory.get(s.name, s.zeros(B=rows, S=slots, T=1)) for s in spec.input_spec("decode")}
        out = decode(step)
        assert out["logits"].shape == (rows, spec.vocab_size)
        assert out["new_k_0"].shape == (rows, spec.heads, 1, spec.head_dim)
        out = chunk({**step, "token": np.zeros((rows, CHUNK), np.int64)})
        assert out["logits"].shape == (rows, CHUNK, spec.vocab_size)
        assert out["new_k_0"].shape == (rows, spec.heads, CHUNK, spec.head_dim)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("graph", DECODERS)
def test_a_decoder_holds_no_projection_of_the_memory(bundle: Bundle, graph: str, precision: str) -> None:
    path = path_of(bundle, graph, precision)
    check(path, graph)
    assert memory_projections(onnx.load(path)) == []
    # Self-attention in and out, cross query and out, and three of SwiGLU in each layer, then the head.
    weights = {item.name for item in onnx.load(path).graph.initializer}
    weights |= {n.output[0] for n in onnx.load(path).graph.node if n.op_type == "Cast" and n.input[0] in weights}
    products = [n for n in onnx.load(path).graph.node if n.op_type.startswith("MatMul") and n.input[1] in weights]
    assert len(products) == 7 * bundle.manifest.io.layers + 1


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("graph", "tokens"), DECODERS.items())
def test_a_decoder_gives_the_scores_and_the_new_slices_alone(
    bundle: Bundle, graph: str, tokens: int, precision: str
) -> None:
    spec = bundle.manifest.io
    outputs = {value.name: value.type.tensor_type.shape.dim for value in
               onnx.load(path_of(bundle, graph, precision)).graph.output}  # fmt: skip
    values = {name: math.prod(dim.dim_value for dim in shape[1:]) for name, shape in outputs.items()}
    assert values.pop("logits") == tokens * spec.vocab_size
    assert sum(values.values()) == tokens * 2 * spec.layers * spec.heads * spec.head_dim


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_graph_of_chunks_reads_the_steps_weights_and_has_none_of_its_own(bundle: Bundle, precision: str) -> None:
    step, chunk = (path_of(bundle, graph, precision) for graph in DECODERS)
    bare = onnx.load(chunk, load_external_data=False).graph.initializer
    borrowed = {item.name: {entry.key: entry.value for entry in item.external_data} for item in bare}
    assert {place["location"] for place in borrowed.values() if place} == {step.name}
    own = [item for item in bare if not item.external_data]
    assert max(numpy_helper.to_array(item).nbytes for item in own) <= 256  # the mask of 8 tokens among themselves
    held = Counter(item.raw_data for item in onnx.load(step).graph.initializer)
    filled = {item.name: item.raw_data for item in onnx.load(chunk).graph.initializer}
    assert all(filled[name] in held for name, place in borrowed.items() if place)
    assert sum(bool(place) for place in borrowed.values()) >= 7 * bundle.manifest.io.layers + 1


def test_a_graph_of_chunks_without_the_steps_file_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    moved = shutil.copy(path_of(bundle, CHUNKED, "fp32"), tmp_path)
    with pytest.raises(BundleError, match=r"decodex8.fp32.onnx can't be loaded by ONNX Runtime"):
        TARGET.load(Path(moved), CHUNKED)


def small_decoder(path: Path, *nodes: onnx.NodeProto) -> Path:
    """A graph of a few nodes over cross_k_0 [1, 2, 3, 4] and a weight."""
    shape = [1, 2, 3, 4]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("cross_k_0", "self_k_0")]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)]
    weights = [numpy_helper.from_array(np.ones((4, 4), np.float32), "weight")]
    onnx.save(helper.make_model(helper.make_graph(list(nodes), "decode", inputs, outputs, weights)), path)
    return path


def test_a_decoder_that_projects_the_memory_is_refused(tmp_path: Path) -> None:
    moved = helper.make_node("Transpose", ["cross_k_0"], ["turned"], perm=[0, 2, 1, 3])
    copied = helper.make_node("Identity", ["weight"], ["same"])
    product = helper.make_node("MatMul", ["turned", "same"], ["logits"])
    with pytest.raises(BundleError, match="'same' at every step"):
        check(small_decoder(tmp_path / "decode.onnx", moved, copied, product), "decode")
    attention = helper.make_node("MatMul", ["self_k_0", "turned"], ["scores"])
    after = helper.make_node("MatMul", ["scores", "weight"], ["logits"])
    check(small_decoder(tmp_path / "decode.onnx", moved, attention, after), "decode")


def test_a_graph_that_branches_is_refused(tmp_path: Path) -> None:
    value = numpy_helper.from_array(np.array(True), "always")
    body = helper.make_graph(
        [helper.make_node("Identity", ["cross_k_0"], ["chosen"])],
        "body", [], [helper.make_tensor_value_info("chosen", TensorProto.FLOAT, None)],
    )  # fmt: skip
    first = helper.make_node("Constant", [], ["always"], value=value)
    branch = helper.make_node("If", ["always"], ["logits"], then_branch=body, else_branch=body)
    with pytest.raises(BundleError, match="holds If"):
        check(small_decoder(tmp_path / "encode.onnx", first, branch), "encode")


def test_int8_graphs_hold_int8_weights_and_no_slow_operators(bundle: Bundle) -> None:
    for graph in GRAPHS:
        path = path_of(bundle, graph, "int8")
        proto = onnx.load(path)
        held = Counter(item.data_type for item in proto.graph.initializer for _ in range(int(np.prod(item.dims))))
        assert held[TensorProto.FLOAT] < 0.12 * (held[TensorProto.INT8] + held[TensorProto.UINT8])
        assert not {"ConvInteger", "DynamicQuantizeLinear", "DequantizeLinear"} & set(TARGET.operators(path))
        assert path.stat().st_size < 0.35 * path_of(bundle, graph, "fp32").stat().st_size


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("graph", KINDS)
def test_a_graph_tells_nothing_about_the_machine_that_made_it(bundle: Bundle, graph: str, precision: str) -> None:
    content = path_of(bundle, graph, precision).read_bytes()
    for trace in (b"site-packages", b"stack_trace", str(Path.home()).encode() + b"/", str(Path.cwd()).encode()):
        assert trace not in content


def test_graphs_of_one_row_and_one_bucket_read_as_those_of_any(bundle: Bundle, exact: Engine, probe: Probe) -> None:
    """As targets are read that have no engine here; ONNX's graphs stand for them, one row at a time."""
    target, spec = replace(TARGET, variable=()), bundle.manifest.io
    names = [name for group in graph_names(spec, target.variable).values() for name in group]
    widths = ["encode_128", "encode_256", "encode_512", "encode_1280"]
    assert names == [*widths, "decode_256", "decode_512", "decode_256x8", "decode_512x8"]
    files = {name: path_of(bundle, kind_of(name), "fp32") for name in names}
    graphs = Graphs(target, files, spec)
    tokenizer = bundle.tokenizer()
    for pictures in probe.batches()[:2]:
        found = read(engine_of(graphs), pictures, tokenizer, 270)
        assert found == read(exact, pictures, tokenizer, 270)
        assert max(map(len, found)) > 256
    assert {"decode_256", "decode_512"} < set(graphs.loaded)


def test_sizes_follow_from_the_model(loaded: Loaded) -> None:
    spec = io_spec(loaded.model, loaded.preparation)
    assert spec == IOSpec(
        layers=2, heads=2, head_dim=16, vocab_size=loaded.tokenizer.vocab_size, channels=1, height=96,
        widths=(128, 256, 512, 1280), memory=(16, 32, 64, 160), slots=(256, 512), columns=spec.columns, chunk=8,
    )  # fmt: skip
    assert list(spec.columns) == ["symbol", "staff_position", "duration"]
    assert sum(spec.columns.values()) == loaded.model.heads.score.out_features


def test_a_grid_memory_counts_its_rows() -> None:
    model = random_model(0, "memory=grid", "feed_columns=false", "dense_weight=0", "guide_weight=0")
    spec = io_spec(model, Preparation(width_buckets=(128, 256)))
    assert spec.memory == (96, 192)  # 6 rows of 16 px
    assert spec.columns == {}


def test_folding_the_scale_leaves_the_model_as_it_was(loaded: Loaded) -> None:
    before = loaded.model.decoder.layers[0].cross_query.weight.clone()
    modules(loaded.model)
    assert loaded.model.decoder.layers[0].scale == 0.25
    assert before.equal(loaded.model.decoder.layers[0].cross_query.weight)
