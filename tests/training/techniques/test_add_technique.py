"""A newcomer adds a technique by adding one file: it trains, and no other file is touched."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from training.loop.technique import TECHNIQUES
from training.saving.checkpoint import load_checkpoint, read_training

from ..project_copy import copy_project, run

NAME = "halved_head"
FILE = '''"""Only the decoder's head is trained, as half of it and what is left."""

from torch import Tensor

from training.config import Config
from training.model.music_trocr import MusicTrOCR
from training.loop.technique import Technique


def apply(model: MusicTrOCR, _config: Config) -> str:
    model.requires_grad_(False)
    head = model.decoder.head
    head.register_parameter("rest", type(head.weight)(head.weight.detach() / 2))
    head.weight.data /= 2
    head.register_forward_hook(lambda layer, inputs, out: out + inputs[0] @ layer.rest.T)
    return "the head alone is trained"


def merged(model: MusicTrOCR) -> dict[str, Tensor]:
    weights = dict(model.state_dict())
    weights["decoder.head.weight"] = weights["decoder.head.weight"] + weights.pop("decoder.head.rest")
    return weights


TECHNIQUE = Technique(apply, merged=merged)
'''


def test_the_new_technique_trains_and_its_checkpoint_holds_a_plain_model(tmp_path: Path) -> None:
    copy = copy_project(tmp_path / "copy")
    (copy / "training" / "techniques" / f"{NAME}.py").write_text(FILE)
    overrides = [f"technique.name={NAME}", "dataset_id=data", "max_steps=2", "learning_rate=1e-2"]
    said = run(copy, "training", "configs/debug.yaml", *overrides, "--out", "run").stderr
    assert f"technique {NAME}: the head alone is trained; 8,832 parameters are trained" in said
    rows = [json.loads(line) for line in (copy / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "lr" in row] == [1, 2]
    # Here, where nobody knows the technique.
    assert NAME not in TECHNIQUES.names()
    loaded = load_checkpoint(copy / "run")
    assert loaded.config.technique.name == NAME
    trained = read_training(loaded.folder)[0]["weights"]
    halves = trained["decoder.head.weight"] + trained["decoder.head.rest"]
    assert torch.allclose(loaded.model.decoder.head.weight, halves, atol=0.05)  # the averages lag behind
    assert torch.equal(loaded.model.decoder.tokens.weight, trained["decoder.tokens.weight"])
