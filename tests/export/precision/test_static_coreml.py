"""int8_static of Core ML: whole numbers with fixed scales before convolutions and linear maps, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

coremltools = pytest.importorskip("coremltools", reason="needs coremltools: make setup-phones")

from export.checks.parity import LEAST_RANDOM, compare  # noqa: E402
from export.graphs.contract import io_spec  # noqa: E402
from export.graphs.neural_engine import modules  # noqa: E402
from export.mil.operators import OPERATORS  # noqa: E402
from export.mil.program import Program  # noqa: E402
from export.precision.static.coreml import MOST, activation_scales, fixed_scales  # noqa: E402
from export.target import TARGETS, Arrays, Files, Target  # noqa: E402
from export.targets.coreml_ios18 import program_of, runs  # noqa: E402
from runtime.bundle.cache_axes import NEURAL_ENGINE  # noqa: E402
from runtime.bundle.io_spec import IOSpec  # noqa: E402
from training.config import load_config  # noqa: E402
from training.loading.batches import make_preparation  # noqa: E402
from training.model.music_trocr import MusicTrOCR  # noqa: E402

from ...source import ROOT  # noqa: E402
from ..debug import OVERRIDES, random_model  # noqa: E402
from ..graphs.test_neural_engine import inputs  # noqa: E402

SMALL = (*OVERRIDES, "max_seq_len=256", "data.width_buckets=[128, 192]", "n_decoder_layers=1")
type_name = coremltools.converters.mil.mil.types.builtin_to_string
MOVED = ("expand_dims", "squeeze", "transpose", "reshape", "pad")


class Noise:
    """Stands for calibration lines."""

    def __init__(self, spec: IOSpec) -> None:
        self.spec = spec

    def inputs(self, kind: str) -> Iterator[Arrays]:
        yield inputs(self.spec, "decode_256" if kind == "decode" else "encode_192")


@pytest.fixture(scope="module")
def model() -> MusicTrOCR:
    return random_model(6, *SMALL)


@pytest.fixture(scope="module")
def spec(model: MusicTrOCR) -> IOSpec:
    plain = io_spec(model, make_preparation(load_config([ROOT / "configs" / "debug.yaml"], list(SMALL))), chunk=0)
    return replace(plain, axes=NEURAL_ENGINE)


@pytest.fixture(scope="module")
def files(model: MusicTrOCR, spec: IOSpec, tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder, target = tmp_path_factory.mktemp("static"), TARGETS.get("coreml_ios18")
    return dict(target.convert(model, spec, ("int8_static",), folder, Noise(spec))["int8_static"])


@pytest.fixture(scope="module")
def scales(model: MusicTrOCR, spec: IOSpec) -> dict[str, dict[str, float]]:
    """By graph and part of its module."""
    return {kind: activation_scales(modules(model)[kind], runs(Noise(spec), spec, kind)) for kind in spec.kinds}


def origin(var: Any) -> Any:
    """The operator that made a value, whatever moved it since; None where it comes from outside."""
    moved = var.op is not None and var.op.op_type in MOVED
    return origin(var.op.inputs["x"]) if moved else var.op


@pytest.mark.parametrize("graph", ["encode_128", "encode_192", "decode_256"])
def test_convolutions_and_linear_maps_take_whole_numbers_with_the_calibrated_scales_and_nothing_else_does(
    files: Files, scales: dict[str, dict[str, float]], graph: str
) -> None:
    program = program_of(files[graph], graph)
    assert {"conv", "quantize", "dequantize"} < set(program.operators())
    found = set()
    for op in program.operations:
        if op.op_type in ("conv", "linear"):
            back = origin(op.inputs["x"])
            assert back.op_type == "dequantize" and back.input.op.op_type == "quantize", op.name
            assert type_name(back.input.dtype) == "int8" and back.scale.val == back.input.op.scale.val
            found.add(float(back.scale.val))
        elif op.op_type not in ("dequantize", *MOVED):
            given = [var if isinstance(var, (list, tuple)) else [var] for var in op.inputs.values() if var is not None]
            makers = [origin(var) for listed in given for var in listed]
            assert "dequantize" not in {maker.op_type for maker in makers if maker is not None}, op.name
    assert found == set(scales[graph.partition("_")[0]].values())


def test_weights_are_int8_and_states_half_precision(files: Files) -> None:
    program = program_of(files["encode_128"], "encode_128")
    assert program.operators()["constexpr_blockwise_shift_scale"] > 0
    states = Program(files["decode_256"], "decode_256").function.inputs
    assert {var.dtype.__name__ for name, var in states.items() if name.startswith("self_")} == {"fp16"}


def test_a_scale_covers_the_highest_magnitude_seen(model: MusicTrOCR, spec: IOSpec) -> None:
    head = modules(model)["encode"].get_submodule("model.heads.score")
    seen = list[float]()
    handle = head.register_forward_pre_hook(lambda _part, given: seen.append(float(given[0].abs().max())))
    found = activation_scales(modules(model)["encode"], runs(Noise(spec), spec, "encode"))
    handle.remove()
    assert len(seen) == 1 and found["model.heads.score"] == np.float16(seen[0] / MOST)


def test_evaluated_programs_agree_with_pytorch_and_the_model_is_left_as_it_was(
    model: MusicTrOCR, spec: IOSpec, files: Files
) -> None:
    target: Target = TARGETS.get("coreml_ios18")
    for graph in ("encode_192", "decode_256"):
        given = {name: value[:1] for name, value in inputs(spec, graph).items()}
        found = compare(model, spec, graph.partition("_")[0], target.load(files[graph], graph), given)
        assert LEAST_RANDOM["int8"] < min(found.values()) < 60, graph
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_a_module_rounds_only_while_its_scales_are_fixed(model: MusicTrOCR, spec: IOSpec) -> None:
    module = modules(model)["encode"]
    (given,) = runs(Noise(spec), spec, "encode")
    with torch.inference_mode():
        exact = module(*given)[0]
        with fixed_scales(module, activation_scales(module, [given])):
            rounded = module(*given)[0]
        assert not torch.equal(exact, rounded) and torch.equal(exact, module(*given)[0])


@pytest.mark.parametrize("kind", ["int8", "uint8"])
@pytest.mark.parametrize("axis", [None, 1])
def test_the_interpreters_roundings_are_pytorchs(kind: str, axis: int | None) -> None:
    x = torch.cat([torch.randn(2, 3, 40) * 3, torch.arange(-60, 60).reshape(2, 3, 20) / 8], dim=2)  # ties, too
    least, most, zero = (-128, 127, 0) if kind == "int8" else (0, 255, 100)
    scale = torch.tensor([0.25, 0.125, 0.0078125])
    settings: dict[str, Any] = {"scale": scale[0], "zero_point": torch.tensor(zero)}
    expected = torch.fake_quantize_per_tensor_affine(x, 0.25, zero, least, most)
    if axis is not None:
        settings = {"scale": scale, "zero_point": torch.full((3,), zero), "axis": torch.tensor(axis)}
        zeros = torch.full((3,), zero, dtype=torch.int32)
        expected = torch.fake_quantize_per_channel_affine(x, scale, zeros, axis, least, most)
    whole = OPERATORS["quantize"]({"input": x, "output_dtype": kind, **settings})
    assert whole.equal(whole.round()) and least <= whole.min() and whole.max() <= most
    assert torch.equal(OPERATORS["dequantize"]({"input": whole, **settings}), expected)
    without = {name: value for name, value in settings.items() if name != "zero_point"}
    if zero == 0:
        assert torch.equal(OPERATORS["quantize"]({"input": x, "output_dtype": kind, **without}), whole)
