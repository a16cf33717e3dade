"""Core ML packages compute what PyTorch computes, as far as that can be told without Apple's runtime."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

ct = pytest.importorskip("coremltools", reason="needs coremltools: make setup-phones")

from export.checks.loaded_graphs import Graphs, open_engine  # noqa: E402
from export.checks.parity import LEAST, compare, decoder_numbers, encoder_numbers, forced, scored, uncached  # noqa: E402
from export.graphs.contract import io_spec  # noqa: E402
from export.mil.operators import layer_norm, lut_to_dense, padded, scatter, slice_by_index, slice_update  # noqa: E402
from export.mil.program import Program, rounded  # noqa: E402
from export.target import TARGETS, Files  # noqa: E402
from runtime.bundle.io_spec import CHUNKED, IOSpec  # noqa: E402
from runtime.errors import BundleError  # noqa: E402
from training.config import load_config  # noqa: E402
from training.loading.batches import make_preparation  # noqa: E402
from training.model.music_trocr import MusicTrOCR  # noqa: E402

from ...source import ROOT  # noqa: E402
from ..debug import OVERRIDES, random_model  # noqa: E402

PRECISIONS = ("fp32", "fp16", "int8", "int4")


@pytest.fixture(scope="module")
def model() -> MusicTrOCR:
    return random_model(1)


@pytest.fixture(scope="module")
def spec(model: MusicTrOCR) -> IOSpec:
    return io_spec(model, make_preparation(load_config([ROOT / "configs" / "debug.yaml"], list(OVERRIDES))))


@pytest.fixture(scope="module")
def files(model: MusicTrOCR, spec: IOSpec, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Files]:
    return dict(TARGETS.get("coreml").convert(model, spec, PRECISIONS, tmp_path_factory.mktemp("coreml")))


def pictures(spec: IOSpec, width: int) -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(width).uniform(-1, 1, (2, spec.channels, spec.height, width))
    return image.astype(np.float32), np.array([width, width // 2 + 5], np.int64)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ("fp32", "fp16"))
def test_every_bucket_agrees_with_pytorch(
    model: MusicTrOCR, spec: IOSpec, files: dict[str, Files], precision: str
) -> None:
    graphs = Graphs(TARGETS.get("coreml"), files[precision], spec)
    encoder = encoder_numbers(model, spec, graphs.encode, lambda width: pictures(spec, width), every=True)
    assert encoder["widths"] == list(spec.widths)
    assert min(encoder["psnr_db"].values()) >= LEAST[precision][0]
    for kind in ("decode", CHUNKED):
        decoder = decoder_numbers(model, spec, graphs.decode, pictures(spec, spec.widths[0]), kind)
        assert min(decoder["psnr_db"].values()) >= LEAST[precision][0], kind


@pytest.mark.slow
def test_int8_packages_are_small_and_near(model: MusicTrOCR, spec: IOSpec, files: dict[str, Files]) -> None:
    graphs = Graphs(TARGETS.get("coreml"), files["int8"], spec)
    image, valid = pictures(spec, spec.widths[0])
    found = compare(model, spec, "encode", graphs.encode, {"image": image, "valid_width": valid})
    assert 20 < min(found.values()) < LEAST["fp32"][0]
    assert Program(files["int8"]["decode_256"]).operators()["constexpr_affine_dequantize"] > 0


@pytest.mark.slow
def test_reading_with_a_cache_equals_reading_without_across_a_growing_cache(
    model: MusicTrOCR, spec: IOSpec, files: dict[str, Files]
) -> None:
    """The runtime's engine: on macOS with Core ML itself, elsewhere with evaluated programs."""
    engine = open_engine("coreml", files["fp32"], spec)
    tokens = [np.random.default_rng(3).integers(3, spec.vocab_size, spec.slots[0] + 6).tolist()]
    image, valid = pictures(spec, spec.widths[0])
    one = (image[1:], valid[1:])
    expected = uncached(model, one, tokens, 1)[0]
    for way in (forced, scored):
        assert np.abs(way(engine, one, tokens, 1)[0] - expected).max() < 1e-3 * np.abs(expected).max()


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_decoder_holds_no_projection_of_the_memory(spec: IOSpec, files: dict[str, Files], precision: str) -> None:
    """And gives what the contract names alone."""
    for graph, path in files[precision].items():
        TARGETS.get("coreml").check(path, graph)
        assert {var.name for var in Program(path).function.outputs} == set(spec.output_names(graph))


class Step(torch.nn.Module):
    """A decoder's cross-attention whose keys are memory, or are made of memory by weights."""

    def __init__(self, projects: bool) -> None:
        super().__init__()
        self.projects = projects
        self.query, self.keys = (torch.nn.Linear(64, 64, bias=False) for _ in range(2))

    def forward(self, token: torch.Tensor, cross_k_0: torch.Tensor) -> tuple[torch.Tensor, ...]:
        keys = self.keys(cross_k_0) if self.projects else cross_k_0
        scores = self.query(token) @ keys.transpose(2, 3)
        return scores, self.keys(token)


@pytest.mark.parametrize("small", [False, True], ids=["fp16", "int8"])
def test_a_decoder_that_projects_the_memory_is_refused(tmp_path: Path, small: bool) -> None:
    from export.targets.coreml import check, few_bits

    def package(projects: bool) -> Path:
        given = {"token": torch.randn(1, 2, 1, 64), "cross_k_0": torch.randn(1, 2, 3, 64)}
        program = ct.convert(
            torch.jit.trace(Step(projects), tuple(given.values())), convert_to="mlprogram", skip_model_load=True,
            inputs=[ct.TensorType(name=name, shape=value.shape) for name, value in given.items()],
            outputs=[ct.TensorType(name=name) for name in ("logits", "new_k_0")],
            minimum_deployment_target=ct.target.iOS16,
        )  # fmt: skip
        path = tmp_path / f"decode.{projects}.mlpackage"
        (few_bits(program) if small else program).save(str(path))
        return path

    check(package(projects=False), "decode_3")
    with pytest.raises(BundleError, match="keys_weight.* at every step"):
        check(package(projects=True), "decode_3")


def test_a_graph_without_the_contracts_names_is_refused(tmp_path: Path) -> None:
    from export.targets.coreml import check

    traced = torch.jit.trace(torch.nn.ReLU(), torch.zeros(1, 4))
    program = ct.convert(traced, inputs=[ct.TensorType(name="token", shape=(1, 4))], skip_model_load=True)
    program.save(str(tmp_path / "decode.mlpackage"))
    with pytest.raises(BundleError, match="decode.mlpackage is no decoder of the contract"):
        check(tmp_path / "decode.mlpackage", "decode_256")


def test_a_slice_counts_from_the_end_and_drops_single_axes() -> None:
    x = torch.arange(24.0).reshape(2, 3, 4)
    ends = {"begin": torch.tensor([-1, 0, 1]), "end": torch.tensor([0, 0, 3])}
    masks = {"squeeze_mask": torch.tensor([True, False, False]), "end_mask": torch.tensor([False, True, False])}
    assert slice_by_index({"x": x, **ends, **masks}).equal(x[-1, :, 1:3])


def test_a_slice_is_replaced_where_it_stands_and_nothing_else() -> None:
    x, update = torch.arange(24.0).reshape(2, 3, 4), torch.full((2, 3, 1), -1.0)
    ends = {"begin": torch.tensor([0, 0, 2]), "end": torch.tensor([0, 0, 3])}
    masks = dict.fromkeys(("begin_mask", "end_mask"), torch.tensor([True, True, False]))
    found = slice_update({"x": x, "update": update, **ends, **masks})
    assert (found[:, :, 2] == -1).all() and (found != x).sum() == 6
    with pytest.raises(BundleError, match="slice_update"):
        slice_update({"x": x, "update": update, **ends, "squeeze_mask": torch.tensor([False, False, True])})


def test_slices_are_scattered() -> None:
    given = {"data": torch.zeros(4, 2), "indices": torch.tensor([2, -1, 2]), "axis": torch.tensor(0)}
    updates = torch.tensor([[1.0, 2], [3, 4], [5, 6]])
    assert scatter({**given, "updates": updates}).tolist() == [[0, 0], [0, 0], [6, 8], [3, 4]]
    once = {**given, "indices": torch.tensor([2, -1]), "updates": updates[:2], "mode": "update"}
    assert scatter(once).tolist() == [[0, 0], [0, 0], [1, 2], [3, 4]]


def test_a_value_is_rounded_to_what_the_program_holds() -> None:
    half, whole, full = (SimpleNamespace(dtype=SimpleNamespace(__name__=name)) for name in ("fp16", "int32", "fp32"))
    value = torch.tensor([2.0001, 70000.0])
    assert rounded(value, half).tolist() == [2.0, float("inf")]
    assert rounded(value, whole).tolist() == [2, 70000] and not rounded(value, whole).is_floating_point()
    assert rounded(value, full).equal(value)


@pytest.mark.parametrize("bits", [1, 4, 6])
def test_a_table_of_weights_is_coremltools_own(bits: int) -> None:
    rng = np.random.default_rng(bits)
    table, places = rng.normal(size=2**bits).astype(np.float32), rng.integers(2**bits, size=15)
    indices = np.packbits((places[:, None] >> np.arange(bits)) & 1, bitorder="little").astype(np.uint8)
    operators = ct.converters.mil.mil.ops.defs.iOS16.constexpr_ops
    own = operators.constexpr_lut_to_dense.decompress(table, indices, np.array([3, 5], np.uint32))
    given = {"lut": torch.from_numpy(table), "indices": torch.from_numpy(indices), "shape": torch.tensor([3, 5])}
    assert np.array_equal(lut_to_dense(given).numpy(), own)
    assert np.array_equal(own.reshape(-1), table[places])


def test_a_layer_norm_is_pytorchs() -> None:
    x, gamma = torch.randn(2, 5, 8), torch.randn(8)
    expected = torch.nn.functional.layer_norm(x, [8], gamma)
    assert torch.allclose(layer_norm({"x": x, "axes": torch.tensor([-1]), "gamma": gamma}), expected, atol=1e-5)


def test_same_padding_puts_the_odd_pixel_at_the_end() -> None:
    a = {"x": torch.ones(1, 1, 4, 4), "weight": torch.ones(1, 1, 3, 3), "pad_type": "same",
         "strides": torch.tensor([2, 2]), "dilations": torch.tensor([1, 1])}  # fmt: skip
    assert padded(a)[0, 0].sum(0).tolist() == [4, 4, 4, 4, 0]


def test_a_folder_that_is_no_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "encode.mlpackage").mkdir()
    with pytest.raises(BundleError, match=r"encode\.mlpackage"):
        Program(tmp_path / "encode.mlpackage")
