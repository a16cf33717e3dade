"""Rules on real files of the formats that need packages of their own: tiny graphs, converted here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.lint.findings import apply
from export.lint.rule import RULES
from export.target import TARGETS
from export.views.graph_view import FORMATS, GraphView
from runtime.bundle.manifest import Artifact
from runtime.errors import MissingExtraError


def broken(view: GraphView, *runs_on: str) -> set[str]:
    """Names of the rules that find something."""
    artifact = Artifact("some", "fp16", {"encode": "encode"})
    found = [apply(name, RULES.get(name), view, artifact, runs_on) for name in RULES.names()]
    return {one.rule for listed in found for one in listed if one.severity != "not looked at"}


def seen(target: str, path: Path, graph: str = "encode") -> GraphView:
    """The graph as its target shows it."""
    try:
        entry = TARGETS.get(target)
    except MissingExtraError as error:
        pytest.skip(str(error))
    view = entry.graph_view(path, graph)
    assert view.format in FORMATS
    assert {name for operator in view.operators for name in operator.inputs} <= set(view.values)
    return view


class Gate(nn.Module):
    """A norm, silu, and a linear map of 2,048 outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.wide = nn.LayerNorm(64), nn.Linear(64, 2048)

    def forward(self, x: Tensor) -> Tensor:
        return self.wide(nn.functional.silu(self.norm(x)))


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Core ML packages: one of a fixed shape, one of two listed shapes."""
    ct = pytest.importorskip("coremltools", reason="needs coremltools: make setup-phones")
    folder, made = tmp_path_factory.mktemp("mlprogram"), {}
    traced = torch.jit.trace(Gate().eval(), torch.zeros(1, 4, 64))
    shapes = {"fixed": (1, 4, 64), "listed": ct.EnumeratedShapes([(1, 4, 64), (1, 8, 64)], default=(1, 4, 64))}
    for name, shape in shapes.items():
        made[name] = folder / f"{name}.mlpackage"
        program = ct.convert(
            traced, convert_to="mlprogram", minimum_deployment_target=ct.target.iOS16, skip_model_load=True,
            inputs=[ct.TensorType(name="x", shape=shape)], compute_precision=ct.precision.FLOAT16,
        )  # fmt: skip
        program.save(str(made[name]))
    return made


def test_a_core_ml_package_shows_its_norms_its_silu_and_its_wide_map(packages: dict[str, Path]) -> None:
    view = seen("coreml", packages["fixed"])
    assert view.half and not view.enumerated and view.inputs == ("x",)
    assert {"layer_norm", "silu", "linear"} <= {operator.kind for operator in view.operators}
    assert broken(view) == {"neural_engine_silu", "neural_engine_wide_linear"}


def test_a_core_ml_package_of_listed_shapes_leaves_the_neural_engine(packages: dict[str, Path]) -> None:
    view = seen("coreml", packages["listed"])
    assert view.enumerated
    assert {"neural_engine_listed_shapes", "variable_shapes"} <= broken(view)


def test_states_of_a_core_ml_package_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ct = pytest.importorskip("coremltools", reason="needs coremltools: make setup-phones")

    class Cache(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("cache", torch.zeros(1, 2, 8, 40))

        def forward(self, x: Tensor) -> Tensor:
            self.cache.mul_(0.5)
            return self.cache + x

    path = tmp_path / "states.mlpackage"
    ct.convert(
        torch.jit.trace(Cache().eval(), torch.zeros(1, 2, 8, 40)), minimum_deployment_target=ct.target.iOS18,
        skip_model_load=True, inputs=[ct.TensorType(name="x", shape=(1, 2, 8, 40))],
        states=[ct.StateType(ct.TensorType(shape=(1, 2, 8, 40), dtype=np.float16), name="cache")],
    ).save(str(path))  # fmt: skip
    known = ("read_state", "coreml_update_state", "mul", "add", "cast")
    monkeypatch.setattr("export.mil.program.OPERATORS", dict.fromkeys(known))  # to be looked at, not evaluated
    view = seen("coreml", path)
    assert view.states == ("cache",) and view.inputs == ("x",)
    assert "neural_engine_states" in broken(view)


class Attention(nn.Module):
    """Scores of 3 axes with a mask of 4 added, and a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(16)

    def forward(self, query: Tensor, keys: Tensor, mask: Tensor) -> Tensor:
        return torch.softmax(torch.bmm(self.norm(query), keys) + mask, dim=-1)


def test_a_tflite_file_shows_attention_that_its_gpu_would_compute_wrongly(tmp_path: Path) -> None:
    litert_torch = pytest.importorskip("litert_torch", reason="needs litert_torch: make setup-phones")
    from export.targets.tflite import quiet

    shapes = {"query": (4, 1, 16), "keys": (4, 16, 32), "mask": (1, 1, 1, 32)}
    inputs = {name: torch.zeros(shape) for name, shape in shapes.items()}
    path = tmp_path / "attention.tflite"
    with quiet():
        litert_torch.signature("encode", Attention().eval(), sample_kwargs=inputs).convert().export(str(path))
    view = seen("tflite", path)
    assert not view.half and set(view.inputs) == set(shapes)
    assert {"litert_gpu_attention", "litert_gpu_mixed_axes", "half_layer_norm"} <= broken(view)


def test_an_executorch_file_shows_what_its_delegate_leaves_and_says_what_it_hides(tmp_path: Path) -> None:
    exir = pytest.importorskip("executorch.exir", reason="needs executorch: make setup-phones")
    xnnpack = pytest.importorskip("executorch.backends.xnnpack.partition.xnnpack_partitioner")

    class Product(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return (x @ y).relu()

    exported = torch.export.export(Product().eval(), (torch.zeros(1, 4, 8, 16), torch.zeros(1, 4, 16, 8)))
    path = tmp_path / "product.pte"
    lowered = exir.to_edge_transform_and_lower({"encode": exported}, partitioner=[xnnpack.XnnpackPartitioner()])
    path.write_bytes(lowered.to_executorch().buffer)
    view = seen("executorch", path)
    assert "XnnpackBackend" in view.unseen["operators"]
    assert broken(view) == {"idle_copies"}
