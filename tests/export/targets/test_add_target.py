"""A newcomer adds a target by adding one file: its graphs are checked, bundled, verified and shown, and no other file
is touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.training.project_copy import copy_project, run

from ..debug import save_checkpoint

NAME = "archive"
FILE = '''"""PyTorch's own archives of exported programs, one for each width and cache size."""

import json
from collections import Counter
from pathlib import Path

import torch

from export.graphs.contract import modules
from export.target import Target, graph_names
from runtime.bundle.io_spec import kind_of


def convert(model, spec, precisions, folder):
    parts, files = modules(model), {}
    for name in [name for group in graph_names(spec, ()).values() for name in group]:
        inputs = tuple(torch.from_numpy(item.zeros(B=1)) for item in spec.input_spec(name))
        with torch.no_grad():
            program = torch.export.export(parts[kind_of(name)], inputs)
        outputs = [item.name for item in spec.output_spec(name)]
        files[name] = folder / f"{name}.pt2"
        extra = {"names": json.dumps([spec.input_names(name), outputs])}
        torch.export.save(program, files[name], extra_files=extra)
    return {"fp32": files}


def load(path: Path, graph: str):
    extra = {"names": ""}
    module = torch.export.load(path, extra_files=extra).module()
    inputs, outputs = json.loads(extra["names"])

    def run(arrays):
        with torch.no_grad():
            found = module(*(torch.from_numpy(arrays[name]) for name in inputs))
        return {name: value.numpy() for name, value in zip(outputs, found, strict=True)}

    return run


def operators(path: Path, graph: str):
    nodes = torch.export.load(path).graph.nodes
    return Counter(str(node.target) for node in nodes if node.op == "call_function")


def check(path: Path, graph: str):
    pass


TARGET = Target(("fp32",), convert, load, operators, check, variable=())
'''


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with one more file, and a checkpoint of one width."""
    folder = copy_project(tmp_path_factory.mktemp("copy"))
    (folder / "export" / "targets" / f"{NAME}.py").write_text(FILE)
    save_checkpoint(folder / "debug", 4, "data.width_buckets=[1280]", "model.params.max_seq_len=256")
    return folder


def test_the_new_target_passes_its_check_and_fills_a_bundle(copy: Path) -> None:
    run(copy, "export", "--target", NAME, "--checkpoint", "debug", "--out", "bundle")
    manifest = json.loads((copy / "bundle" / "manifest.json").read_text())
    [artifact] = manifest["artifacts"]
    assert artifact["target"] == NAME and set(artifact["files"]) >= {"encode_1280", "decode_256"}
    assert min(artifact["numerics"]["encode"]["psnr_db"].values()) >= 80


def test_the_new_target_is_verified_shown_and_offered(copy: Path) -> None:
    run(copy, "export", "verify", "bundle", "--checkpoint", "debug")
    assert "aten.layer_norm.default" in run(copy, "export", "inspect", "bundle").stdout
    assert NAME in run(copy, "export", "--help").stdout
