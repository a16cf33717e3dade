"""ExecuTorch files that are delegated as a whole: what can be run of them agrees with PyTorch, what can't says so."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("executorch", reason="needs executorch: make setup-phones")
pytest.importorskip("coremltools", reason="needs coremltools: make setup-phones")

from export.__main__ import main  # noqa: E402
from export.checks.loaded_graphs import Graphs  # noqa: E402
from export.checks.parity import LEAST, NOT_EXECUTED, decoder_numbers, encoder_numbers, failures, unmeasured  # noqa: E402
from export.target import TARGETS, Target  # noqa: E402
from runtime.bundle.manifest import Bundle, read_bundle  # noqa: E402
from runtime.errors import OmrError  # noqa: E402
from runtime.inference.engine import load_engine  # noqa: E402
from training.saving.checkpoint import load_checkpoint  # noqa: E402

from ..debug import save_checkpoint  # noqa: E402
from .test_coreml import pictures  # noqa: E402

pytestmark = pytest.mark.slow

NARROW = ("data.width_buckets=[1280]", "n_decoder_layers=1")


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("narrow") / "checkpoint", 3, *NARROW)


@pytest.fixture(scope="module")
def bundle(narrow: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("delegates") / "bundle"
    targets, precisions = "executorch_coreml,executorch_vulkan", "fp16"
    assert main(["--target", targets, "--precision", precisions, "--checkpoint", str(narrow), "--out", str(out)]) == 0
    return read_bundle(out)


def test_what_core_ml_runs_is_evaluated_in_every_bucket(bundle: Bundle, narrow: Path) -> None:
    model, spec = load_checkpoint(narrow).model, bundle.manifest.io
    artifact = bundle.manifest.choose(["executorch_coreml"])
    graphs = Graphs(TARGETS.get("executorch_coreml"), bundle.paths(artifact), spec)
    encoder = encoder_numbers(model, spec, graphs.encode, lambda width: pictures(spec, width), every=True)
    decoder = decoder_numbers(model, spec, graphs.decode, pictures(spec, spec.widths[0]))
    assert decoder["slots"] == list(spec.slots)
    assert min(*encoder["psnr_db"].values(), *decoder["psnr_db"].values()) >= LEAST["fp16"][0]
    assert artifact.numerics["decode"]["top1_percent"] >= LEAST["fp16"][1] and artifact.minimum_os == "iOS 18"


@pytest.mark.parametrize("target", ["executorch_coreml", "executorch_vulkan"])
def test_the_delegate_takes_every_operator_of_every_graph(bundle: Bundle, target: str) -> None:
    artifact, entry = bundle.manifest.choose([target]), TARGETS.get(target)
    for graph, path in bundle.paths(artifact).items():
        entry.check(path, graph)
        assert list(entry.operators(path, graph)) in (["CoreMLBackend"], ["VulkanBackend"])


def test_a_manifest_and_a_card_claim_no_figure_for_what_nothing_here_runs(bundle: Bundle) -> None:
    artifact = bundle.manifest.choose(["executorch_vulkan"])
    said = {"numerics": NOT_EXECUTED, "delegate": "VulkanBackend", "outside": []}
    assert {kind: artifact.numerics[kind] for kind in ("encode", "decode")} == {"encode": said, "decode": said}
    card = (bundle.folder / "MODEL_CARD.md").read_text(encoding="utf-8")
    rows = [line for line in card.splitlines() if line.startswith("| executorch_vulkan")]
    assert rows and all(row.endswith(f"| {NOT_EXECUTED} |") for row in rows)
    assert bundle.manifest.self_test is not None
    assert list(bundle.manifest.self_test.tokens) == ["fp16"]  # of executorch_coreml; the same model reads so


def test_a_bundle_of_them_is_verified_as_far_as_it_can_be_and_has_no_engine_here(
    bundle: Bundle, narrow: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(bundle.folder), "--checkpoint", str(narrow)]) == 0
    assert f'"executorch_vulkan", "precision": "fp16", "self_test": "{NOT_EXECUTED}"' in capsys.readouterr().out
    assert main(["inspect", str(bundle.folder)]) == 0
    assert "1: 1 VulkanBackend" in capsys.readouterr().out
    with pytest.raises(OmrError, match="no engine called 'executorch_vulkan'"):
        load_engine(bundle, "executorch_vulkan")


def test_operators_outside_the_delegate_are_listed(bundle: Bundle) -> None:
    entry: Target = TARGETS.get("executorch_vulkan")
    files = bundle.paths(bundle.manifest.choose(["executorch_coreml"]))
    found = unmeasured(entry, files)
    assert found["decode"]["outside"] == ["CoreMLBackend"]
    assert list(failures("fp32", found)) == []
