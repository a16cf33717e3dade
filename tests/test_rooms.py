"""The rooms keep their direction: runtime <- training <- export; mobile_bench -> runtime, export. runtime is light.

Inside a room, the map in the docstring of its `__init__.py` names its parts in order, and a part imports only from
those above it.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.source import ROOMS, ROOT, Source, declared, normal, project, registries, sources

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
MOST_FILES = 14  # in a folder, beside its sub-rooms
MAPPED = (*ROOMS, "training.data")  # packages that have a map


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


def parts(package: Source) -> list[str]:
    """The files and sub-rooms of a package, in the order of the map in its docstring; empty where it has no map."""
    return re.findall(r"(?m)^    (\w+)/?  +\S", ast.get_docstring(package.tree, clean=False) or "")


def maps(root: Path) -> Iterator[tuple[Source, list[str]]]:
    """Packages that have a map, and their parts."""
    packages = [source for source in sources(root) if source.path.name == "__init__.py"]
    return ((package, order) for package in packages if (order := parts(package)))


def arrows_up(root: Path) -> list[str]:
    """Imports of a part that stands further down in the map."""
    files = sources(root)
    known = {source.module for source in files}
    found = []
    for package, order in maps(root):
        inside = f"{package.module}."
        for source in files:
            mine = source.module.removeprefix(inside).split(".")[0]
            if not source.module.startswith(inside) or mine not in order:
                continue
            for line, module in source.imported_modules(known):
                other = module.removeprefix(inside).split(".")[0]
                if module.startswith(inside) and other in order[order.index(mine) + 1 :]:
                    found.append(f"{source.name}:{line} imports {module}: {package.name} has {other} under {mine}")
    return found


def circles(root: Path) -> list[str]:
    """Files that import each other, directly or through others."""
    files = sources(root)
    known = {source.module for source in files}
    graph = {source.module: {module for _, module in source.imported_modules(known)} for source in files}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"these import each other: {' <- '.join(error.args[1])}"]
    return []


def wrong_maps(root: Path) -> list[str]:
    """Parts that their package's map doesn't name, and names in it that are no part."""
    found = []
    for package, order in maps(root):
        folder = package.path.parent
        names = {path.parent.name for path in folder.glob("*/__init__.py")}
        names |= {path.stem for path in folder.glob("*.py")} - {"__init__"}
        found += [f"{package.name} doesn't map {package.module}.{name}" for name in sorted(names - {*order})]
        found += [f"{package.name} names {name}, which isn't there" for name in sorted({*order} - names)]
    return found


def silent_packages(root: Path) -> list[str]:
    """Packages that don't say what they are for."""
    return [
        f"{source.name} has no docstring: say in a line what {source.module} is for"
        for source in sources(root)
        if source.path.name == "__init__.py" and not source.summary
    ]


def full_folders(root: Path) -> list[str]:
    """Folders with more files than a person takes in at once; in a registry each file is an entry."""
    counts = Counter(source.path.parent for source in sources(root, (*ROOMS, *BESIDE)))
    entries = {root / package.replace(".", "/") for package in registries(root)}
    return [
        f"{folder.relative_to(root).as_posix()} has {count} files: make sub-rooms, {MOST_FILES} is the most"
        for folder, count in counts.items()
        if count > MOST_FILES and folder not in entries
    ]


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
    long_files, long_functions, arrows_up, circles, wrong_maps, silent_packages, full_folders,
)  # fmt: skip


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_rooms_keep_the_rule(rule: Callable[[Path], list[str]]) -> None:
    found = rule(ROOT)
    assert not found, "\n" + "\n".join(found)


def test_rooms_have_a_map() -> None:
    assert {package.module for package, _ in maps(ROOT)} >= set(MAPPED)


def test_a_map_names_nothing_that_is_gone(tmp_path: Path) -> None:
    small_room(tmp_path / "runtime")
    (tmp_path / "runtime" / "good.py").unlink()
    assert wrong_maps(tmp_path) == ["runtime/__init__.py names good, which isn't there"]


def test_a_registry_may_hold_any_number_of_entries(tmp_path: Path) -> None:
    small_room(tmp_path / "export")
    for number in range(MOST_FILES):
        (tmp_path / "export" / "low" / f"entry_{number}.py").touch()
    assert len(full_folders(tmp_path)) == 1
    (tmp_path / "export" / "good.py").write_text("ENTRIES = Registry('export.low', 'ENTRY', 'entry')\n")
    assert full_folders(tmp_path) == []


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
    (arrows_up, "runtime/low/base.py", "def f():\n    from ..high.top import x\n"),
    (arrows_up, "training/good.py", "import training.low.base\n"),
    (arrows_up, "export/low/base.py", "from export.high import top\n"),
    (circles, "runtime/low/base.py", "def f():\n    from ..high import top\n"),
    (wrong_maps, "export/a.py", ""),
    (silent_packages, "training/low/__init__.py", ""),
    (full_folders, "export/low", ""),  # filled up
]


def small_room(folder: Path) -> None:
    """A room that keeps every rule: a file, and two sub-rooms of which the upper one imports the lower one."""
    for part in ("low", "high"):
        (folder / part).mkdir(parents=True)
        (folder / part / "__init__.py").write_text('"""A part."""\n')
    room_map = "    good   a file\n    low/   a part\n    high/  a part\n"
    (folder / "__init__.py").write_text(f'"""A room.\n\n{room_map}"""\n')
    (folder / "good.py").write_text("from . import __name__\nimport numpy\n")
    (folder / "low" / "base.py").touch()
    (folder / "high" / "top.py").write_text("from ..low import base\n")


@pytest.mark.parametrize(("rule", "name", "text"), BAD_FILES, ids=lambda value: getattr(value, "__name__", None))
def test_a_file_that_breaks_the_rule_is_found(
    rule: Callable[[Path], list[str]], name: str, text: str, tmp_path: Path
) -> None:
    for room in ROOMS:
        small_room(tmp_path / room)
    (tmp_path / "innocent.py").write_text("import torch\n")
    (tmp_path / "torch.py").touch()  # stands for the real one, which takes seconds to import
    assert rule(tmp_path) == []
    if (tmp_path / name).is_dir():
        for number in range(MOST_FILES):
            (tmp_path / name / f"file_{number}.py").touch()
    else:
        (tmp_path / name).write_text(text)
    found = rule(tmp_path)
    assert len(found) == 1
    assert name.removesuffix(".py").replace("/", ".") in found[0].replace("/", ".")


def test_relative_imports_are_followed_to_their_room(tmp_path: Path) -> None:
    (tmp_path / "training/data").mkdir(parents=True)
    (tmp_path / "training/data/a.py").write_text("from ..model import x\nfrom . import b\nfrom .c import d\n")
    [source] = sources(tmp_path, ("training",))
    assert [name for _, name, _ in source.imports()] == ["training.model", "training.data", "training.data.c"]
