"""Core ML packages of several functions with states compute what PyTorch computes, over many steps, through the
runtime's own engine."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("coremltools", reason="needs coremltools: make setup-phones")

from dataclasses import replace  # noqa: E402

from export.checks.loaded_graphs import Graphs, open_engine  # noqa: E402
from export.checks.parity import LEAST, decoder_numbers, encoder_numbers, psnr  # noqa: E402
from export.checks.torch_engine import TorchEngine  # noqa: E402
from export.files import size_of  # noqa: E402
from export.graphs.contract import io_spec  # noqa: E402
from export.target import TARGETS, Files, Target  # noqa: E402
from export.targets.coreml_ios18 import program_of  # noqa: E402
from runtime.bundle.io_spec import IOSpec  # noqa: E402
from runtime.engines.coreml import CoremlGraph  # noqa: E402
from runtime.engines.coreml_ios18 import StatesDecoder  # noqa: E402
from runtime.errors import BundleError  # noqa: E402
from runtime.inference.engine import Engine  # noqa: E402
from training.config import load_config  # noqa: E402
from training.loading.batches import make_preparation  # noqa: E402
from training.model.music_trocr import MusicTrOCR  # noqa: E402

from ...source import ROOT  # noqa: E402
from ..debug import OVERRIDES, random_model  # noqa: E402
from .test_coreml import pictures  # noqa: E402

pytestmark = pytest.mark.slow

SMALL = (*OVERRIDES, "data.width_buckets=[128, 256]", "n_decoder_layers=1")


@pytest.fixture(scope="module")
def model() -> MusicTrOCR:
    return random_model(6, *SMALL)


@pytest.fixture(scope="module")
def spec(model: MusicTrOCR) -> IOSpec:
    plain = io_spec(model, make_preparation(load_config([ROOT / "configs" / "debug.yaml"], list(SMALL))))
    return replace(plain, axes=dict(TARGETS.get("coreml_ios18").axes))


@pytest.fixture(scope="module")
def files(model: MusicTrOCR, spec: IOSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    return dict(TARGETS.get("coreml_ios18").convert(model, spec, ("fp16", "int8"), tmp_path_factory.mktemp("ios18")))


def test_every_function_agrees_with_pytorch(model: MusicTrOCR, spec: IOSpec, files: dict[str, Files]) -> None:
    graphs = Graphs(TARGETS.get("coreml_ios18"), files["fp16"], spec)
    encoder = encoder_numbers(model, spec, graphs.encode, lambda width: pictures(spec, width), every=True)
    decoder = decoder_numbers(model, spec, graphs.decode, pictures(spec, spec.widths[0]))
    assert encoder["widths"] == list(spec.widths) and decoder["slots"] == list(spec.slots)
    assert min(*encoder["psnr_db"].values(), *decoder["psnr_db"].values()) >= LEAST["fp16"][0]


def test_states_over_many_steps_and_a_growing_cache_give_pytorchs_scores_whichever_rows_go_on(
    model: MusicTrOCR, spec: IOSpec, files: dict[str, Files]
) -> None:
    """The runtime's engine: on macOS with Core ML itself, elsewhere over evaluated programs; another batch reads
    in turn through the same functions."""
    engine: Engine = open_engine("coreml_ios18", files["fp16"], spec)
    image, valid = pictures(spec, spec.widths[0])
    one, other = engine.start(engine.encode(image, valid)), engine.start(engine.encode(image[::-1].copy(), valid))
    expected = TorchEngine(model, spec).start(TorchEngine(model, spec).encode(image, valid))
    rng, rows, growing = np.random.default_rng(0), 2, spec.slots[0]
    for position in range(growing + 3):
        if position in (2, growing - 1):
            kept = np.array([1, 0, 1]) if position == 2 else np.array([2])
            rows = len(kept)
            for decoder in (one, expected):
                decoder.keep(kept)
        token = rng.integers(spec.vocab_size, size=rows)
        assert psnr(expected.step(token, position), one.step(token, position)) >= LEAST["fp16"][0], position
        if position < 4:
            other.step(rng.integers(spec.vocab_size, size=2), position)
    assert isinstance(one, StatesDecoder) and one.slots == spec.slots[1]


def test_a_step_writes_one_slice_of_its_states(spec: IOSpec, files: dict[str, Files]) -> None:
    program = program_of(files["fp16"]["decode_256"], "decode_256")
    state = program.make_state()
    rng = np.random.default_rng(1)
    for name, shape in program.states.items():
        state.write_state(name, rng.normal(size=shape))
    before = {name: state.read_state(name) for name in program.states}
    inputs = {item.name: spec.stored(item).zeros() for item in spec.input_spec("decode_256", B=1)}
    inputs["position"][0] = 37
    program({name: value for name, value in inputs.items() if name not in program.states}, state)
    for name, old in before.items():
        changed = np.argwhere(state.read_state(name) != old)
        slots = changed[:, 1 if "_k_" in name else 3]
        assert set(slots.tolist()) == {37} and len(changed) == spec.heads * spec.head_dim, name


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_functions_share_one_package_and_its_weights(files: dict[str, Files], precision: str) -> None:
    for kind in ("encode", "decode"):
        paths = {path for graph, path in files[precision].items() if graph.startswith(kind)}
        assert len(paths) == 1
        package = paths.pop()
        weights = size_of(package / "Data" / "com.apple.CoreML" / "weights")
        held = sum(value.nbytes for value in stored_weights(package, precision).values())
        assert weights < 1.2 * held + 5000, kind


def stored_weights(package: Path, precision: str) -> dict[str, np.ndarray]:
    """What one function of a package needs, as it is stored."""
    from export.mil.program import package as read

    functions, _ = read(package)
    first = next(iter(functions.values()))
    values = {op.outputs[0].name: op.outputs[0].val for op in first.operations if op.op_type == "const"}
    return {name: value for name, value in values.items() if isinstance(value, np.ndarray) and value.size > 16}


def test_decoders_hold_no_projection_of_the_memory_and_lack_no_name(files: dict[str, Files]) -> None:
    target: Target = TARGETS.get("coreml_ios18")
    for graphs in files.values():
        for graph, path in graphs.items():
            target.check(path, graph)
    with pytest.raises(BundleError, match="holds no graph decode_1024"):
        target.check(files["fp16"]["decode_256"], "decode_1024")


def test_caches_of_odd_sizes_are_refused(model: MusicTrOCR, spec: IOSpec, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="a cache of 300 slots can't be a state"):
        TARGETS.get("coreml_ios18").convert(model, replace(spec, slots=(256, 300)), ("fp16",), tmp_path)


@pytest.mark.skipif(platform.system() != "Darwin", reason="Core ML runs on macOS alone")
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_core_ml_itself_gives_what_the_evaluated_program_gives(
    spec: IOSpec, files: dict[str, Files], precision: str
) -> None:
    from runtime.engines.coreml import open_model

    image, valid = pictures(spec, spec.widths[0])
    path, graph = files[precision]["encode_128"], "encode_128"
    found = []
    for model in (open_model(path, graph), program_of(path, graph)):
        one = CoremlGraph(model, spec, graph)
        one.inputs["image"][:], one.inputs["valid_width"][:] = image[:1], valid[:1]
        one.run()
        found.append(one.outputs)
    assert all(psnr(found[1][name], value) >= LEAST["fp16"][0] for name, value in found[0].items())
