"""TFLite files on LiteRT's GPU delegate, by a Vulkan driver that computes on the CPU: as on a phone, but for speed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from export.graphs.contract import io_spec
from export.lint.rule import RULES
from export.places import LITERT_GPU
from tests.source import ROOT
from training.model.backbone import BACKBONES
from training.saving.checkpoint import load_checkpoint

from ..debug import save_checkpoint
from .test_backbones import around

tflite = pytest.importorskip("export.targets.tflite", reason="needs litert-torch: make setup-phones")

DRIVERS = "VK_ICD_FILENAMES"
SWIFTSHADER = Path("/usr/lib/chromium/vk_swiftshader_icd.json")  # of Debian's package chromium
DECIBELS = {"fp32": 80.0, "fp16": 80.0, "int8": 30.0}  # of int8 the CPU rounds activations, too, and the GPU doesn't


TOO_MANY_AXES = ("swin_tiny",)  # windows are cut by reshapes of 6 axes
RULES_OF_GPU = [rule for name in RULES.names() if (rule := RULES.get(name)).places.get("tflite") == LITERT_GPU]


def on_gpu(model: Path, folder: Path) -> dict[str, float]:
    """Each graph of a file, all of which runs on the GPU delegate, and its worst output beside the CPU's in dB."""
    driver = os.environ.get(DRIVERS, str(SWIFTSHADER))
    if not Path(driver).is_file():
        pytest.skip(f"needs a Vulkan driver: apt install chromium, or {DRIVERS}=FILE.json")
    done = subprocess.run(
        [sys.executable, "-m", "tests.export.litert_gpu", str(model)], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {DRIVERS: driver, "XDG_RUNTIME_DIR": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["whole"]
    return {graph: min(outputs.values()) for graph, outputs in found["psnr_db"].items()}


def broken_rules(model: Path, graph: str) -> dict[str, list[str]]:
    """Rules of the GPU delegate that a graph breaks, and where."""
    view = tflite.graph_view(model, graph)
    return {rule.what: found for rule in RULES_OF_GPU if (found := list(rule.find(view)))}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file for each precision with an encoder, a decoder of one token and one of several."""
    folder = tmp_path_factory.mktemp("litert")
    loaded = load_checkpoint(save_checkpoint(folder / "debug", 3, "data.width_buckets=[1280]"))
    spec = io_spec(loaded.model, loaded.preparation)
    tflite.convert(loaded.model, replace(spec, slots=spec.slots[:1]), list(DECIBELS), folder)
    return {precision: folder / f"model.{precision}.tflite" for precision in DECIBELS}


@pytest.mark.parametrize("graph", ["encode_1280", "decode_256", "decode_256x8"])
def test_a_graph_breaks_no_rule_of_the_gpu_delegate(models: dict[str, Path], graph: str) -> None:
    assert len(RULES_OF_GPU) >= 5 and not broken_rules(models["fp32"], graph)


@pytest.mark.parametrize("precision", DECIBELS)
def test_the_gpu_delegate_takes_all_of_every_graph_and_computes_what_the_cpu_does(
    models: dict[str, Path], precision: str, tmp_path: Path
) -> None:
    found = on_gpu(models[precision], tmp_path)
    assert set(found) == {"encode_1280", "decode_256", "decode_256x8"}
    assert min(found.values()) >= DECIBELS[precision], found


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES.names())
def test_the_gpu_delegate_takes_every_backbone_but_those_that_the_rules_name(name: str, tmp_path: Path) -> None:
    model, spec = around(name)
    spec = replace(spec, widths=spec.widths[-1:], memory=spec.memory[-1:], slots=spec.slots[:1])
    tflite.convert(model, spec, ("fp32",), tmp_path)
    path = tmp_path / "model.fp32.tflite"
    assert bool(broken_rules(path, f"encode_{spec.widths[0]}")) == (name in TOO_MANY_AXES)
    if name not in TOO_MANY_AXES:
        found = on_gpu(path, tmp_path)
        assert min(found.values()) >= DECIBELS["fp32"], found
