"""omr-export lint: every rule finds what it is about and nothing else, and what can't be seen is said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.__main__ import main
from export.lint.findings import UNSEEN, apply
from export.lint.rule import ERROR, RULES, WARNING, Rule
from export.places import CPU, HALF, NEURAL_ENGINE
from export.target import TARGETS
from export.views.graph_view import FORMATS, HEADROOM, NUMBERS, OPERATORS, SHAPES, GraphView
from export.views.onnx import view as onnx_view
from runtime.bundle.manifest import Artifact, Bundle, write_bundle
from runtime.errors import MissingExtraError

from ..views import FIXTURES, LAYER_NORM, RELU, half, one, value

ARTIFACT = Artifact("some", "fp16", {"encode": "encode"})


def severities(name: str, view: GraphView, *runs_on: str) -> list[str]:
    return [found.severity for found in apply(name, RULES.get(name), view, ARTIFACT, runs_on)]


@pytest.mark.parametrize("name", RULES.names())
def test_a_rule_finds_what_breaks_it_and_passes_what_keeps_it(name: str) -> None:
    broken, kept = FIXTURES[name]
    rule: Rule = RULES.get(name)
    assert broken and kept
    assert {view.format for view in broken} <= set(rule.places), "a fixture's format isn't the rule's"
    for view in broken:
        assert severities(name, view, *rule.places.values())[0] == rule.severity
    for view in kept:
        assert [*rule.find(view)] == []


def test_every_rule_has_fixtures_and_every_fixture_a_rule() -> None:
    assert sorted(FIXTURES) == RULES.names()


@pytest.mark.parametrize("name", RULES.names())
def test_a_rule_says_what_it_is_about_why_and_where_that_is_known_from(name: str) -> None:
    rule: Rule = RULES.get(name)
    assert rule.what and rule.why and "https://" in rule.source
    assert set(rule.places) <= set(FORMATS) and rule.places
    assert rule.severity in (ERROR, WARNING)
    assert set(rule.needs) <= {OPERATORS, SHAPES, NUMBERS, HEADROOM}


def test_an_error_is_a_warning_where_the_artifact_does_not_claim_to_run() -> None:
    silu = one("mlprogram", "silu", half(1, 64), half(1, 64))
    assert severities("neural_engine_silu", silu, CPU) == [WARNING]
    assert severities("neural_engine_silu", silu, CPU, NEURAL_ENGINE) == [ERROR]


def test_what_overflows_in_half_precision_is_an_error_where_activations_are_half() -> None:
    low = {"bits": 0.2, "operator": "linear in head"}
    assert severities("half_headroom", replace(RELU, headroom=low), CPU) == [ERROR]
    single = one("tflite", "relu", value(1, 4), value(1, 4))
    assert severities("half_headroom", replace(single, headroom=low), CPU) == [WARNING]


def test_what_is_unseen_is_not_passed_over() -> None:
    hidden = replace(RELU, format="pte", unseen={NUMBERS: "the inside of 3 parts of XnnpackBackend"})
    (found,) = apply("infinite_constants", RULES.get("infinite_constants"), hidden, ARTIFACT, (CPU,))
    assert (found.severity, found.where) == (UNSEEN, "the inside of 3 parts of XnnpackBackend")
    unknown = replace(RELU, values=RELU.values | {"y": replace(RELU.values["y"], shape=None)})
    assert severities("neural_engine_axes", unknown) == [UNSEEN]
    assert severities("neural_engine_silu", unknown) == []  # it needs no shapes
    assert severities("half_headroom", RELU) == [UNSEEN]  # half precision, and nobody measured


def test_a_rule_about_another_format_looks_away() -> None:
    assert severities("litert_gpu_axes", one("onnx", "reshape", value(64), value(1, 1, 1, 1, 64))) == []


def made(bundle: Bundle, folder: Path, *artifacts: Artifact, **files: bytes) -> Path:
    """A bundle of `bundle`'s sizes with other graphs."""
    manifest = replace(bundle.manifest, artifacts=artifacts, self_test=None)
    vocabulary = manifest.text.vocabulary
    names = {vocabulary: (bundle.folder / vocabulary).read_bytes(), **files}
    write_bundle(folder, manifest, names)
    return folder


def masked_by_minus_infinity(precision: int) -> bytes:
    """An ONNX graph that computes in a precision and adds -inf."""
    mask = numpy_helper.from_array(
        np.array([0, -np.inf], np.float16 if precision == TensorProto.FLOAT16 else np.float32), "mask"
    )
    shaped = [helper.make_tensor_value_info(name, precision, [1, 2]) for name in "xy"]
    nodes = [helper.make_node("Add", ["x", "mask"], ["sum"], "hide"), helper.make_node("Softmax", ["sum"], ["y"])]
    proto = helper.make_model(helper.make_graph(nodes, "encode", shaped[:1], shaped[1:], [mask]))
    return bytes(proto.SerializeToString())


def last_line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_the_command_ends_with_2_where_an_artifact_breaks_an_error_of_its_own_place(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    artifact = Artifact("onnx", "fp32", {"encode": "encode.onnx"})
    folder = made(bundle, tmp_path / "half", artifact, **{"encode.onnx": masked_by_minus_infinity(TensorProto.FLOAT16)})
    assert main(["lint", str(folder)]) == 2
    report = last_line(capsys)
    found = next(item for item in report["findings"] if item["rule"] == "infinite_constants")
    assert not report["ok"]
    assert (found["severity"], found["graph"], found["place"]) == (ERROR, "encode", HALF)
    assert found["where"].startswith("mask") and "https://" in found["source"]

    folder = made(bundle, tmp_path / "full", artifact, **{"encode.onnx": masked_by_minus_infinity(TensorProto.FLOAT)})
    assert main(["lint", str(folder)]) == 0
    report = last_line(capsys)
    assert report["ok"] and "infinite_constants" in [item["rule"] for item in report["findings"]]


def test_our_own_onnx_graphs_break_no_error_and_every_shape_in_them_is_known(
    bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["lint", str(bundle.folder)]) == 0
    report = last_line(capsys)
    assert report["rules"] == RULES.names()
    found = {precision: {item["rule"] for item in report["findings"] if item["precision"] == precision}
             for precision in ("fp32", "int8", "fp16")}  # fmt: skip
    assert found["fp32"] == {"variable_shapes"} and found["int8"] == {"variable_shapes", "folded_weights"}
    # The angles of positions stay float32.
    assert found["fp16"] == {"variable_shapes", "half_casts", "half_single_operators"}
    assert UNSEEN not in {item["severity"] for item in report["findings"]}


def test_an_onnx_graph_is_seen_as_it_is() -> None:
    found = onnx_view(onnx.load_from_string(masked_by_minus_infinity(TensorProto.FLOAT16)), "encode")
    assert [operator.kind for operator in found.operators] == ["add", "softmax"]
    assert found.half and found.inputs == ("x",) and found.outputs == ("y",)
    assert found.values["sum"].shape == (1, 2)
    assert found.values["mask"].constant and found.values["mask"].lowest == -np.inf


def test_constants_reach_through_what_is_computed_from_them_alone() -> None:
    weights = FIXTURES["folded_weights"][0][0]
    assert weights.constants == {"weight", "wide"}
    assert [operator.kind for operator in weights.computing()] == ["conv"]
    assert LAYER_NORM.constants == set()


@pytest.mark.parametrize("name", TARGETS.names())
def test_every_target_shows_its_graphs(name: str) -> None:
    try:
        target = TARGETS.get(name)
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert target.graph_view is not None
