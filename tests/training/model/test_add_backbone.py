"""A newcomer adds a backbone by adding one file: it trains and exports, and no other file is touched."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from safetensors import safe_open

from ..project_copy import copy_project, run

NAME = "two_convolutions"
FILE = '''"""Two convolutions: 16 px of width a column."""

from torch import nn

from training.model.backbone import Backbone


def build(channels: int, pretrained: bool) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 12, 5, 4, 2), nn.GELU(), nn.Conv2d(12, 24, 5, 4, 2))


BACKBONE = Backbone(build=build, channels=24, stride=16, height_stride=16, image_channels=1, width_multiple=16)
'''


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with one more file."""
    folder = copy_project(tmp_path_factory.mktemp("copy"))
    (folder / "training" / "backbones" / f"{NAME}.py").write_text(FILE)
    return folder


@pytest.fixture(scope="module")
def trained(copy: Path) -> Path:
    """The folder of a run of two steps."""
    overrides = [f"vision_model_name={NAME}", "dataset_id=data", "max_steps=2"]
    run(copy, "training", "configs/debug.yaml", *overrides, "--out", "run")
    return copy / "run"


def test_the_new_backbone_trains_two_steps(trained: Path) -> None:
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    losses = {row["step"]: row["loss"] for row in rows if "loss" in row}
    assert set(losses) == {1, 2}
    assert all(math.isfinite(loss) for loss in losses.values())
    [weights] = (trained / "checkpoints").glob("*/weights.safetensors")
    with safe_open(weights, "pt") as tensors:
        shapes = [tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()]  # noqa: SIM118  no mapping
    assert (24, 12, 5, 5) in shapes


def test_the_new_backbone_exports_to_onnx(copy: Path, trained: Path) -> None:
    run(copy, "export", "--target", "onnx", "--checkpoint", "run", "--out", "bundle")
    run(copy, "export", "verify", "bundle")
    manifest = json.loads((copy / "bundle" / "manifest.json").read_text())
    assert [artifact["target"] for artifact in manifest["artifacts"]] == ["onnx"]
