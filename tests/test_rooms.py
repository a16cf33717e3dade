"""The rooms keep their direction: runtime <- training <- export; mobile_bench -> runtime, export. runtime is light."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.source import ROOMS, ROOT, declared, normal, project, sources

MAY_IMPORT = {
    "runtime": set(),
    "training": {"runtime"},
    "export": {"runtime", "training"},
    "mobile_bench": {"runtime", "export"},
}
BESIDE = ("tests", "benchmarks", "docs")  # folders that may import any room
# The extras a room may count on; an entry of a registry may count on the one it names as EXTRA besides.
EXTRAS = {"runtime": (), "training": ("train",), "export": ("export",), "mobile_bench": ()}
HEAVY = {
    "accelerate", "bitsandbytes", "coremltools", "datasets", "executorch", "litert_torch", "matplotlib", "music21",
    "onnx", "onnxscript", "pandas", "peft", "scipy", "sympy", "tensorboard", "tensorflow", "timm", "torch",
    "torchvision", "transformers", "verovio",
}  # fmt: skip
MOST_LINES, MOST_LINES_IN_A_FUNCTION = 350, 60


def wrong_arrows(root: Path) -> list[str]:
    """Imports from one room into another that run against the architecture."""
    return [
        f"{source.name}:{line} imports {name}: {source.room} may import {sorted(MAY_IMPORT[source.room]) or 'no room'}"
        for source in sources(root)
        for line, name, _ in source.imports()
        if (room := name.split(".")[0]) in ROOMS and room != source.room and room not in MAY_IMPORT[source.room]
    ]


def absolute_imports_in_runtime(root: Path) -> list[str]:
    """`from runtime.x import y` inside runtime: it has to stay usable under another name, e.g. vendored in an app."""
    return [
        f"{source.name}:{line} imports {name}: write it relative, from .module import name"
        for source in sources(root, ("runtime",))
        for line, name, relative in source.imports()
        if name.split(".")[0] == "runtime" and not relative
    ]


def heavy_imports_in_runtime(root: Path) -> list[str]:
    """Heavy packages named anywhere in runtime; an engine that names an EXTRA may."""
    return [
        f"{source.name}:{line} imports {name}, which no machine that only reads has"
        for source in sources(root, ("runtime",))
        for line, name, _ in source.imports()
        if name.split(".")[0] in HEAVY and not source.extra()
    ]


def heavy_packages_loaded(root: Path) -> list[str]:
    """Heavy packages in memory after `import runtime` and after each of its modules, reached by whatever way."""
    modules = [source.module for source in sources(root, ("runtime",)) if not source.extra()]
    script = (
        "import importlib, json, sys\n"
        "found, heavy = {}, set(json.loads(sys.argv[2]))\n"
        "for name in json.loads(sys.argv[1]):\n"
        "    importlib.import_module(name)\n"
        "    found[name] = sorted(heavy & set(sys.modules))\n"
        "    heavy -= set(sys.modules)\n"
        "print(json.dumps(found))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(["runtime", *modules]), json.dumps(sorted(HEAVY))],
        cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [f"importing {module} loads {name}" for module, names in json.loads(done.stdout).items() for name in names]


def undeclared_imports(root: Path) -> list[str]:
    """Imports of packages that pyproject.toml doesn't declare for that room."""
    found = []
    for source in sources(root, (*ROOMS, *BESIDE)):
        extras = sorted({*EXTRAS.get(source.room, ("all",)), *filter(None, [source.extra()])})
        allowed = declared(*extras) | set(sys.stdlib_module_names) | {*ROOMS, *BESIDE}
        found += [
            f"{source.name}:{line} imports {name}: pyproject.toml declares it neither as a dependency nor in {extras}"
            for line, name, _ in source.imports()
            if name.split(".")[0] not in allowed
        ]
    return found


def foreign_claims(installed: Mapping[str, list[str]]) -> list[str]:
    """Distributions other than ours that bring a package named like one of our rooms."""
    ours = normal(project()["name"])
    return [
        f"{distribution} installs a package called {room}: `import {room}` may find it instead of ours"
        for room in ROOMS
        for distribution in installed.get(room, [])
        if normal(distribution) != ours
    ]


def long_files(root: Path) -> list[str]:
    return [
        f"{source.name} has {lines} lines: split it by idea, {MOST_LINES} is the most"
        for source in sources(root, (*ROOMS, *BESIDE))
        if (lines := source.text.count("\n")) > MOST_LINES
    ]


def long_functions(root: Path) -> list[str]:
    return [
        f"{source.name}:{node.lineno} {node.name} has {lines} lines: {MOST_LINES_IN_A_FUNCTION} is the most"
        for source in sources(root, (*ROOMS, *BESIDE))
        for node in ast.walk(source.tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > MOST_LINES_IN_A_FUNCTION
    ]


RULES = (
    wrong_arrows, absolute_imports_in_runtime, heavy_imports_in_runtime, heavy_packages_loaded, undeclared_imports,
    long_files, long_functions,
)  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rooms_keep_the_rule(rule: Callable[[Path], list[str]]) -> None:
    found = rule(ROOT)
    assert not found, "\n" + "\n".join(found)


def test_no_other_distribution_claims_our_names() -> None:
    assert not foreign_claims(packages_distributions())
    assert foreign_claims({"export": ["Some_Exporter"], "runtime": ["OMR.in_a_phone"]}) == [
        "Some_Exporter installs a package called export: `import export` may find it instead of ours"
    ]


BAD_FILES = [
    (wrong_arrows, "runtime/a.py", "def f():\n    from training.model import MusicTrOCR\n"),
    (wrong_arrows, "training/a.py", "import importlib\nimportlib.import_module('export.bundle')\n"),
    (wrong_arrows, "export/a.py", "import mobile_bench\n"),
    (wrong_arrows, "mobile_bench/a.py", "if True:\n    import training.config as config\n"),
    (absolute_imports_in_runtime, "runtime/a.py", "from runtime.errors import OmrError\n"),
    (heavy_imports_in_runtime, "runtime/a.py", "def f():\n    import torch.nn\n"),
    (heavy_imports_in_runtime, "runtime/a.py", "def f():\n    __import__('verovio')\n"),
    (heavy_packages_loaded, "runtime/a.py", "import innocent\n"),
    (undeclared_imports, "runtime/a.py", "import yaml\n"),
    (undeclared_imports, "training/a.py", "import onnxscript\n"),
    (long_files, "export/a.py", "\n" * 351),
    (long_functions, "export/a.py", "async def f():\n" + "    pass\n" * 60),
]


@pytest.mark.parametrize(("rule", "name", "text"), BAD_FILES, ids=lambda value: getattr(value, "__name__", None))
def test_a_file_that_breaks_the_rule_is_found(
    rule: Callable[[Path], list[str]], name: str, text: str, tmp_path: Path
) -> None:
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").touch()
        (tmp_path / room / "good.py").write_text("from . import __name__\nimport numpy\n")
    (tmp_path / "innocent.py").write_text("import torch\n")
    (tmp_path / "torch.py").touch()  # stands for the real one, which takes seconds to import
    assert rule(tmp_path) == []
    (tmp_path / name).write_text(text)
    found = rule(tmp_path)
    assert len(found) == 1
    assert name.removesuffix(".py").replace("/", ".") in found[0].replace("/", ".")


def test_relative_imports_are_followed_to_their_room(tmp_path: Path) -> None:
    (tmp_path / "training/data").mkdir(parents=True)
    (tmp_path / "training/data/a.py").write_text("from ..model import x\nfrom . import b\nfrom .c import d\n")
    [source] = sources(tmp_path, ("training",))
    assert [name for _, name, _ in source.imports()] == ["training.model", "training.data", "training.data.c"]
