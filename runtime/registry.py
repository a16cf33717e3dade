"""Registry: a folder of entries, one file each. The file's name is the entry's name.

Listing the names reads the folder and imports nothing, so a missing optional package never breaks other entries.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.util
import logging
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import MissingExtraError, OmrError, OtherSystemError

SYSTEMS = {"Darwin": "macOS"}  # how people call them

OUR_PACKAGES = ("runtime", "training", "export", "mobile_bench")


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Keep back what packages warn of while they are imported: parts of theirs that this machine can't load.

    Seen with coremltools 9.0 (Apple's library, on Linux), torchao 0.18 (CUDA kernels) and torch 2.13 (torchao's types).
    """
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class Registry:
    """The entries in a package's folder.

    Args:
        package: dotted name of the package whose modules are the entries, e.g. `training.backbones`.
        attribute: what `get` takes from an entry's module, e.g. `BACKBONE`.
        noun: word for an entry in messages, e.g. `backbone`.
    """

    def __init__(self, package: str, attribute: str, noun: str) -> None:
        self.package = package
        self.attribute = attribute
        self.noun = noun

    def folder(self) -> Path:
        """The folder of the package, found without importing it."""
        spec = importlib.util.find_spec(self.package)
        assert spec is not None and spec.submodule_search_locations, f"{self.package} is no package"
        return Path(next(iter(spec.submodule_search_locations)))

    def names(self) -> list[str]:
        """Names of all entries, sorted; imports none of them."""
        return sorted(path.stem for path in self.folder().glob("*.py") if not path.stem.startswith("_"))

    def check(self, name: str) -> str:
        """`name` itself, if there is such an entry.

        Raises:
            OmrError: there is none; the message names the nearest and all known ones.
        """
        names = self.names()
        if name in names:
            return name
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise OmrError(f"no {self.noun} called {name!r}{hint} (known: {', '.join(names)})")

    def get(self, name: str) -> Any:
        """The entry called `name`.

        Raises:
            OmrError: unknown name.
            MissingExtraError: the entry needs a package that isn't installed.
            OtherSystemError: the entry needs another operating system.
        """
        module_name = f"{self.package}.{self.check(name)}"
        system = self._constant(name, "SYSTEM")
        if system and system != platform.system():
            raise OtherSystemError(
                f"{self.noun} {name!r} runs on {SYSTEMS.get(system, system)} alone, this is "
                f"{SYSTEMS.get(platform.system(), platform.system())}; choose another one"
            )
        try:
            with quiet_imports():
                module = importlib.import_module(module_name)
        except ImportError as error:
            missing = (error.name or "").split(".")[0]
            if not missing or missing in OUR_PACKAGES:
                raise
            extra = self._constant(name, "EXTRA")
            install = f"pip install -e '.[{extra}]'" if extra else f"pip install {missing}"
            raise MissingExtraError(f"{self.noun} {name!r} needs {missing}: {install}") from error
        return getattr(module, self.attribute)

    def _constant(self, name: str, constant: str) -> str | None:
        """A text constant of an entry's file, as `EXTRA = "..."`, read without running it."""
        tree = ast.parse((self.folder() / f"{name}.py").read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == constant for t in node.targets):
                value = ast.literal_eval(node.value)
                return str(value) if value else None
        return None
