"""Every backbone's encoder exports to every target that is installed, at the backbone's debug size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from export.checks.loaded_graphs import Graphs
from export.checks.parity import LEAST, MIN_PSNR, encoder_numbers, unmeasured
from export.checks.probe import Pictures
from export.graphs.contract import Encoder, io_spec
from export.target import TARGETS
from export.targets.onnx import load, trace
from runtime.bundle.io_spec import IOSpec
from runtime.errors import MissingExtraError
from tests.source import ROOT
from training.config import load_config
from training.loading.batches import make_preparation
from training.model.backbone import BACKBONES, get_backbone
from training.model.music_trocr import MusicTrOCR

from ..debug import random_model

# dB in half precision where random weights make much of every rounding: PyTorch's own agrees with its fp32 to 38 dB
# behind ResNet-50's last block.
HALF = {"resnet50": 28.0}
QUICK = ("pocket_cnn", "resnet50")  # the others take from 20 seconds to minutes to trace


def overrides(name: str) -> list[str]:
    """Settings of the smallest model around a backbone; the middle width makes odd numbers of columns."""
    entry = get_backbone(name)
    height, width = entry.debug_size
    widths = f"[{width}, {width + entry.width_multiple}, {3 * width}]"
    return [
        f"vision_model_name={name}", f"img_height={height}", f"width_buckets={widths}",
        "preparation=height", "memory=grid", "feed_columns=false", "dense_weight=0", "guide_weight=0",
        "n_decoder_layers=1",
    ]  # fmt: skip


def around(name: str) -> tuple[MusicTrOCR, IOSpec]:
    """The smallest model around a backbone, and its sizes."""
    model = random_model(2, *overrides(name))
    preparation = make_preparation(load_config([ROOT / "configs" / "debug.yaml"], overrides(name)))
    return model, io_spec(model, preparation, chunk=0)


def pictures_for(spec: IOSpec) -> Callable[[int], Pictures]:
    """Noise of any width, the second row half padding."""

    def pictures(width: int) -> Pictures:
        image = np.random.default_rng(width).uniform(-1, 1, (2, spec.channels, spec.height, width))
        return image.astype(np.float32), np.array([width, width // 2 + 5], np.int32)

    return pictures


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in BACKBONES.names()]
)
def test_a_backbone_exports_with_any_width(name: str, tmp_path: Path) -> None:
    """Tolerance: MIN_PSNR, which rounding passes by far."""
    import onnx

    model, spec = around(name)
    onnx.save(trace(Encoder(model), spec, "encode"), tmp_path / "encode.onnx")
    found = encoder_numbers(model, spec, load(tmp_path / "encode.onnx"), pictures_for(spec))
    assert found["widths"] == list(spec.widths)
    assert min(found["psnr_db"].values()) >= MIN_PSNR, found


@pytest.mark.slow
@pytest.mark.parametrize("name", BACKBONES.names())
@pytest.mark.parametrize("target", [name for name in TARGETS.names() if name != "onnx"])
def test_a_backbone_exports_to_phones_formats(target: str, name: str, tmp_path: Path) -> None:
    """Every width has been run, where something here can; tolerance: that of the target's most exact precision."""
    try:
        entry = TARGETS.get(target)
    except MissingExtraError as error:
        pytest.skip(f"{error}; make setup-phones installs it")
    model, spec = around(name)
    precision = entry.precisions[0]
    files = entry.convert(model, spec, [precision], tmp_path)[precision]
    if entry.delegate:
        assert all(row["outside"] == [] for row in unmeasured(entry, files).values())
        return
    graphs = Graphs(entry, files, spec)
    found = encoder_numbers(model, spec, graphs.encode, pictures_for(spec), every=True)
    assert found["widths"] == list(spec.widths)
    least = LEAST[precision][0] if precision == "fp32" else HALF.get(name, LEAST[precision][0])
    assert min(found["psnr_db"].values()) >= least, found
