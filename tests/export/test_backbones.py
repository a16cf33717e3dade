"""Every backbone's encoder exports to every target that is installed, at the backbone's debug size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.lines import Pictures
from export.modules import Encoder, io_spec
from export.parity import MIN_PSNR, encoder_numbers
from export.targets.onnx import load, trace
from tests.source import ROOT
from training.backbone import BACKBONES, get_backbone
from training.batches import make_preparation
from training.config import load_config

from .debug import random_model

QUICK = ("pocket_cnn", "resnet50")  # the others take from 20 seconds to minutes to trace


def overrides(name: str) -> list[str]:
    """The smallest model around a backbone; the middle width makes odd numbers of columns."""
    entry = get_backbone(name)
    height, width = entry.debug_size
    widths = f"[{width}, {width + entry.width_multiple}, {3 * width}]"
    return [
        f"vision_model_name={name}", f"img_height={height}", f"width_buckets={widths}",
        "preparation=height", "memory=grid", "feed_columns=false", "dense_weight=0", "guide_weight=0",
        "n_decoder_layers=1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in BACKBONES.names()]
)
def test_a_backbone_exports_with_any_width(name: str, tmp_path: Path) -> None:
    """Tolerance: MIN_PSNR, which rounding passes by far."""
    import onnx

    model = random_model(2, *overrides(name))
    preparation = make_preparation(load_config([ROOT / "configs" / "debug.yaml"], overrides(name)))
    spec = io_spec(model, preparation)
    onnx.save(trace(Encoder(model), spec, "encode"), tmp_path / "encode.onnx")

    def pictures(width: int) -> Pictures:
        image = np.random.default_rng(width).uniform(-1, 1, (2, spec.channels, spec.height, width))
        return image.astype(np.float32), np.array([width, width // 2 + 5], np.int32)

    found = encoder_numbers(model, spec, load(tmp_path / "encode.onnx"), pictures)
    assert found["widths"] == list(spec.widths)
    assert min(found["psnr_db"].values()) >= MIN_PSNR, found
