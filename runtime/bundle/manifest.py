"""A bundle: one trained model as files that a phone or a laptop runs, and the manifest that describes them.

    manifest.json    sizes, preparation, how ids become text, targets, tool versions, numerics, self-test
    checksums.json   SHA-256 of every file, the manifest too
    tokenizer.json, the graphs of each target and precision, the self-test picture, the model card

A bundle is written whole or not at all, and read only if every checksum agrees. The checksums find damage and
mixed-up files; they are no signature.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import BundleError, ConfigError
from ..page.preparation import Preparation
from .io_spec import IOSpec, TensorSpec
from .tokenizer import TextSpec, Tokenizer, load_tokenizer

__all__ = [
    "Artifact",
    "Bundle",
    "IOSpec",
    "Manifest",
    "SelfTest",
    "TensorSpec",
    "TextSpec",
    "read_bundle",
    "write_bundle",
]

SCHEMA = 2  # 1 left out what an app must know to choose a bucket and to turn ids into text
MANIFEST, CHECKSUMS = "manifest.json", "checksums.json"


@dataclass(frozen=True)
class Artifact:
    """One target at one precision.

    Attributes:
        target: name of the exporter and of the engine that runs it, e.g. "onnx".
        precision: e.g. "fp32", "int8".
        files: graph name ("encode", "decode", or of one size: "encode_448", "decode_256") -> name of a file, or of
            a folder where the format is one; several graphs may lie in one file.
        numerics: graph name -> what the parity check measured against PyTorch fp32.
        minimum_os: oldest system that runs it, e.g. "iOS 16"; empty where any does.
        axes: how its graphs store "keys" and "values", e.g. {"keys": "B S 1 (h d)"}; empty: as `io` says.
        cache_dtype: of keys, values and the memory's mask in its graphs.
    """

    target: str
    precision: str
    files: dict[str, str]
    numerics: dict[str, Any] = field(default_factory=dict)
    minimum_os: str = ""
    axes: dict[str, str] = field(default_factory=dict)
    cache_dtype: str = "float32"

    def graphs_by_file(self) -> dict[str, list[str]]:
        """File or folder name -> the graphs in it."""
        found: dict[str, list[str]] = {}
        for graph, name in self.files.items():
            found.setdefault(name, []).append(graph)
        return found


@dataclass(frozen=True)
class SelfTest:
    """A picture and what it must read as, to be tried on a device before the model is trusted there.

    Attributes:
        picture: file name of a PNG that is prepared already.
        tokens: precision -> ids of a greedy reading, without begin and end; "TARGET PRECISION" where a target
            reads otherwise than those before it.
        max_tokens: where that reading was cut.
    """

    picture: str
    tokens: dict[str, list[int]]
    max_tokens: int

    def expected(self, artifact: Artifact) -> list[int] | None:
        """What an artifact must read; None where nothing is recorded."""
        own = self.tokens.get(f"{artifact.target} {artifact.precision}")
        return self.tokens.get(artifact.precision) if own is None else own


@dataclass(frozen=True)
class Manifest:
    """What a bundle holds; see the attributes' classes.

    Attributes:
        name: of the model, e.g. "pocket".
        io: names, shapes and types of both graphs.
        preparation: how a picture is brought to what the network was trained on.
        text: how the ids that are read become text.
        artifacts: in the order in which a reader should try them.
        tools: versions of what made it: {"torch": "2.13.0", ..}.
        created: ISO date and time, UTC.
        source: checkpoint and recipe it was made from, free form.
        files: SHA-256 of every other file; filled in by `write_bundle`.
    """

    name: str
    io: IOSpec
    preparation: Preparation
    text: TextSpec
    artifacts: tuple[Artifact, ...]
    tools: dict[str, str]
    created: str
    self_test: SelfTest | None = None
    source: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def to_dict(self) -> dict[str, Any]:
        """As plain data, schema first."""
        parts = {name: getattr(self, name).to_dict() for name in ("io", "preparation", "text")}
        return {"schema": self.schema, **asdict(self), **parts}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Manifest:
        """Inverse of `to_dict`.

        Raises:
            BundleError, ConfigError: a value out of range.
            KeyError, TypeError, AttributeError: not the shape of a manifest.
        """
        values = dict(data)
        values["io"] = IOSpec.from_dict(data["io"])
        values["preparation"] = Preparation.from_dict(data["preparation"])
        values["text"] = TextSpec.from_dict(data["text"])
        values["artifacts"] = tuple(Artifact(**entry) for entry in data["artifacts"])
        values["self_test"] = SelfTest(**data["self_test"]) if data.get("self_test") else None
        return cls(**values)

    def io_of(self, artifact: Artifact) -> IOSpec:
        """The contract's sizes, and how this artifact stores keys and values."""
        return replace(self.io, axes=artifact.axes, cache_dtype=artifact.cache_dtype)

    def named_files(self) -> set[str]:
        """Every file the manifest refers to."""
        graphs = {name for artifact in self.artifacts for name in artifact.files.values()}
        return graphs | {self.text.vocabulary} | ({self.self_test.picture} if self.self_test else set())

    def choose(self, targets: Collection[str], precision: str | None = None) -> Artifact:
        """The first artifact of one of `targets`, and of `precision` where one is asked for.

        Raises:
            BundleError: there is none.
        """
        for artifact in self.artifacts:
            if artifact.target in targets and precision in (None, artifact.precision):
                return artifact
        there = ", ".join(f"{a.target} {a.precision}" for a in self.artifacts) or "nothing"
        wanted = " or ".join(targets) + (f" at precision {precision!r}" if precision else "")
        raise BundleError(f"bundle {self.name!r} holds no {wanted}; choose from {there}, or export it")


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose checksums agreed."""

    folder: Path
    manifest: Manifest

    def path(self, artifact: Artifact, graph: str) -> Path:
        """File or folder of one graph."""
        return self.folder / artifact.files[graph]

    def paths(self, artifact: Artifact) -> dict[str, Path]:
        """Graph name -> its file or folder."""
        return {graph: self.path(artifact, graph) for graph in artifact.files}

    def tokenizer(self) -> Tokenizer:
        """The tokenizer the model was trained with."""
        text = self.manifest.text
        return load_tokenizer(self.folder / text.vocabulary, text)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_bundle(folder: Path | str) -> Bundle:
    """Open a bundle after checking every file.

    Raises:
        BundleError: not a bundle, damaged, or written by another version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise BundleError(f"{folder} is no folder; expected a bundle, a folder that omr-export wrote")
    checksums = _read_object(folder / CHECKSUMS)
    if (folder / CHECKSUMS).read_bytes() != _as_written(checksums):
        raise BundleError(f"{folder / CHECKSUMS} isn't as it was written; copy or export the bundle again")
    if MANIFEST not in checksums:
        raise BundleError(f"{folder / CHECKSUMS} doesn't cover {MANIFEST}; export the bundle again")
    for name, expected in checksums.items():
        path = _inside(folder, name)
        if not path.is_file():
            raise BundleError(f"bundle {folder} lacks {name}; copy or export it again")
        if sha256(path) != expected:
            raise BundleError(f"{path} doesn't match its checksum; copy or export the bundle again")
    manifest = _read_manifest(folder / MANIFEST)
    unknown = sorted(manifest.named_files() - _tops(checksums))
    if unknown:
        raise BundleError(f"bundle {folder} has no checksum for {unknown[0]}; export it again")
    return Bundle(folder, manifest)


def write_bundle(folder: Path | str, manifest: Manifest, contents: Mapping[str, bytes | Path]) -> Bundle:
    """Write a bundle to a temporary folder beside `folder`, check it, then rename it.

    Args:
        folder: does not exist, is empty, or holds an older bundle (which is replaced).
        manifest: `files` is filled in here.
        contents: file name -> bytes, or the file or folder to copy.

    Raises:
        BundleError: `folder` holds something else, or a file the manifest names isn't in `contents`.
    """
    folder = Path(folder).absolute()
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file()):
        raise BundleError(f"{folder} exists and is no bundle; give a new or an empty folder")
    contents = dict(_files(contents))
    missing = sorted(manifest.named_files() - _tops(contents))
    if missing:
        raise BundleError(f"bundle {manifest.name!r} names {missing[0]}, which was not given to be written")
    folder.parent.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        new, old = Path(temporary) / "new", Path(temporary) / "old"
        new.mkdir()
        for name, content in contents.items():
            path = _inside(new, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content) if isinstance(content, bytes) else shutil.copyfile(content, path)
        sums = {name: sha256(new / name) for name in sorted(contents)}
        _write_object(new / MANIFEST, replace(manifest, files=sums).to_dict())
        _write_object(new / CHECKSUMS, {MANIFEST: sha256(new / MANIFEST), **sums})
        read_bundle(new)
        try:
            if folder.exists():
                os.replace(folder, old)
            os.replace(new, folder)
        finally:
            if old.exists() and not folder.exists():  # interrupted between the two
                os.replace(old, folder)
    return read_bundle(folder)


def _clear(folder: Path) -> None:
    """Remove what writers that were killed left beside `folder`; a bundle that one had just moved away comes back."""
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
        names = {path.name for path in left.iterdir()} if left.is_dir() else {""}
        if names <= {"new", "old"}:
            if "old" in names and not folder.exists():
                os.replace(left / "old", folder)
            shutil.rmtree(left)


def _files(contents: Mapping[str, bytes | Path]) -> Iterator[tuple[str, bytes | Path]]:
    """The same, with the files of a folder under their own names: `encode.mlpackage/Manifest.json`."""
    for name, content in contents.items():
        if isinstance(content, Path) and content.is_dir():
            for path in sorted(path for path in content.rglob("*") if path.is_file()):
                yield f"{name}/{path.relative_to(content).as_posix()}", path
        else:
            yield name, content


def _tops(names: Iterable[str]) -> set[str]:
    """What lies in the bundle's folder itself: files, and folders of files."""
    return {name.partition("/")[0] for name in names}


def _inside(folder: Path, name: str) -> Path:
    """A file of the folder or of folders in it; names that lead elsewhere are refused."""
    parts = name.split("/") if isinstance(name, str) else [""]
    if any(part in ("", ".", "..") or Path(part).name != part or "\\" in part or ":" in part for part in parts):
        raise BundleError(f"bundle {folder} names the file {name!r}; expected plain file names")
    return folder / name


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{path.parent} holds no {path.name}; expected a bundle of omr-export") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path} is no JSON ({error}); copy or export the bundle again") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path} holds no JSON object; copy or export the bundle again")
    return content


def _read_manifest(path: Path) -> Manifest:
    data = _read_object(path)
    if data.get("schema") != SCHEMA:
        raise BundleError(
            f"{path} has schema {data.get('schema')!r}, this version reads {SCHEMA}; export the bundle again"
        )
    try:
        return Manifest.from_dict(data)
    except (KeyError, TypeError, AttributeError, ValueError, ConfigError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise BundleError(f"{path} is no manifest of schema {SCHEMA} ({reason}); export it again") from error


def _write_object(path: Path, data: Mapping[str, Any]) -> None:
    path.write_bytes(_as_written(data))


def _as_written(data: Mapping[str, Any]) -> bytes:
    return (json.dumps(data, indent=1, ensure_ascii=False) + "\n").encode()
