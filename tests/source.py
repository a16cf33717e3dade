"""The project's own source as the tests look at it: files, syntax trees, imports, registries, declared packages."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import tomllib

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("runtime", "training", "export", "mobile_bench")


@dataclass(frozen=True)
class Source:
    """One Python file below `root`."""

    root: Path
    path: Path

    @property
    def name(self) -> str:
        """Path below the root, as messages print it."""
        return self.path.relative_to(self.root).as_posix()

    @property
    def room(self) -> str:
        return self.path.relative_to(self.root).parts[0]

    @property
    def module(self) -> str:
        """Dotted name: runtime/engines/onnx.py -> runtime.engines.onnx."""
        return self.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.name)

    @property
    def summary(self) -> str:
        """First paragraph of the docstring, on one line."""
        return " ".join((ast.get_docstring(self.tree) or "").split("\n\n")[0].split())

    def imports(self) -> Iterator[tuple[int, str, bool]]:
        """(line, dotted name, whether it is relative) of every import, those inside functions and
        `import_module("...")` with a literal name included."""
        yield from ((line, name, relative) for line, name, relative, _ in self._imports())

    def imported_modules(self, known: Collection[str]) -> Iterator[tuple[int, str]]:
        """(line, dotted name) of every import of one of the `known` modules but itself; `from package import module`
        imports the module."""
        for line, name, _, parts in self._imports():
            found = {f"{name}.{part}" for part in parts} & set(known)
            yield from ((line, module) for module in sorted(found or {name} & set(known)) if module != self.module)

    def _imports(self) -> Iterator[tuple[int, str, bool, list[str]]]:
        package = self.module.split(".")
        package = package if self.path.name == "__init__.py" else package[:-1]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name, False, []) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                above = package[: len(package) - node.level + 1] if node.level else []
                name = ".".join([*above, *filter(None, [node.module])])
                yield node.lineno, name, node.level > 0, [alias.name for alias in node.names]
            elif called(node) in ("import_module", "__import__"):
                given = node.args[0] if isinstance(node, ast.Call) and node.args else None
                if isinstance(given, ast.Constant) and isinstance(given.value, str) and not given.value.startswith("."):
                    yield node.lineno, given.value, False, []

    def extra(self) -> str | None:
        """The extra that a registry entry names: its constant EXTRA."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "EXTRA" for t in node.targets):
                return str(ast.literal_eval(node.value))
        return None


def called(node: ast.AST) -> str:
    """The last part of a call's name: `importlib.import_module(...)` -> import_module; empty if it is no call."""
    return ast.unparse(node.func).split(".")[-1] if isinstance(node, ast.Call) else ""


def sources(root: Path = ROOT, folders: tuple[str, ...] = ROOMS) -> list[Source]:
    """All Python files in these folders below `root`."""
    return [Source(root, path) for folder in folders for path in sorted((root / folder).rglob("*.py"))]


def registries(root: Path = ROOT) -> dict[str, tuple[str, str]]:
    """Package -> (attribute, noun) of every `Registry("package", "ATTRIBUTE", "noun")` in the rooms."""
    found = {}
    for source in sources(root):
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and called(node) == "Registry":
                given = (*node.args, *(keyword.value for keyword in node.keywords))
                values = [argument.value for argument in given if isinstance(argument, ast.Constant)]
                if len(values) == 3:
                    found[str(values[0])] = (str(values[1]), str(values[2]))
    return found


def project() -> dict[str, Any]:
    """The [project] table of pyproject.toml."""
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return table


def normal(name: str) -> str:
    """A distribution's name as PyPI compares it: `resvg_py` -> `resvg-py`."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def declared(*extras: str) -> frozenset[str]:
    """Import names of what pyproject.toml declares: the base install and these extras."""
    table = project()
    wanted = [*table["dependencies"], *(line for extra in extras for line in table["optional-dependencies"][extra])]
    provided: dict[str, set[str]] = {}
    for name, distributions in packages_distributions().items():
        for distribution in distributions:
            provided.setdefault(normal(distribution), set()).add(name)
    names: set[str] = set()
    for line in wanted:
        match = re.match(r"([\w.-]+)(?:\[([\w,]+)\])?", line)
        assert match, line
        if normal(match[1]) == normal(table["name"]):
            names |= declared(*(match[2] or "").split(","))
        else:
            names |= provided.get(normal(match[1]), {normal(match[1]).replace("-", "_")})
    return frozenset(names)
