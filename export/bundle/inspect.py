"""Shows what is in a bundle, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from runtime.bundle.io_spec import TensorSpec, kind_of
from runtime.bundle.manifest import Bundle

from ..files import size_of
from ..target import TARGETS


def inspect(bundle: Bundle) -> str:
    """Files, inputs and outputs, figures against PyTorch, operators."""
    manifest = bundle.manifest
    millions = manifest.source.get("parameters", 0) / 1e6
    about = f"{manifest.name}: {millions:.2f}M parameters, from {manifest.source.get('checkpoint', '?')}"
    sizes = {path.name: size_of(path) for path in bundle.folder.iterdir()}
    total = f"{len(sizes)} files, {sum(sizes.values()) / 1e6:.2f} MB"
    parts = [f"{about}; {total}; made {manifest.created}", table(("file", "MB", "what it is"), files(bundle, sizes))]
    for graph in manifest.io.kinds:
        rows = [(f"-> {spec.name}", *shape(spec)) for spec in manifest.io.input_spec(graph)]
        rows += [(f"<- {spec.name}", *shape(spec)) for spec in manifest.io.output_spec(graph)]
        parts.append(table((graph, "type", "shape"), rows))
    parts.append(table(("artifact", "graph", "measured", "value"), figures(bundle)))
    parts.append(table(("artifact", "graph", "operators"), operators(bundle)))
    return "\n\n".join(parts)


def shape(spec: TensorSpec) -> tuple[str, str]:
    return spec.dtype, f"[{', '.join(str(size) for size in spec.shape)}]"


def files(bundle: Bundle, sizes: dict[str, int]) -> Iterator[tuple[str, ...]]:
    """Every file with its size."""
    graphs = {
        name: f"{spans(graphs)}, {artifact.target} {artifact.precision}"
        for artifact in bundle.manifest.artifacts
        for name, graphs in artifact.graphs_by_file().items()
    }
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        yield name, f"{size / 1e6:.2f}", graphs.get(name, "")


def figures(bundle: Bundle) -> Iterator[tuple[str, ...]]:
    """What parity measured: the worst of a group of values, the others as they are."""
    for artifact in bundle.manifest.artifacts:
        for graph, found in artifact.numerics.items():
            for name, value in found.items():
                yield f"{artifact.target} {artifact.precision}", graph, name, in_words(name, value)


def in_words(name: str, value: Any) -> str:
    if name == "highest":
        return ", ".join(f"{operator} {magnitude:g}" for operator, magnitude in list(value.items())[:3])
    if isinstance(value, dict):
        worst = min(value, key=lambda name: value[name])
        return f"{value[worst]} at worst ({worst})"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def operators(bundle: Bundle) -> Iterator[tuple[str, ...]]:
    """How often each operator occurs in each graph."""
    for artifact in bundle.manifest.artifacts:
        alike: dict[str, list[str]] = {}
        for graph in artifact.files:
            counts = TARGETS.get(artifact.target).operators(bundle.path(artifact, graph), graph)
            text = ", ".join(f"{count} {name}" for name, count in counts.most_common())
            alike.setdefault(f"{sum(counts.values())}: {text}", []).append(graph)
        for text, graphs in alike.items():
            yield f"{artifact.target} {artifact.precision}", spans(graphs), text


def spans(graphs: Iterable[str]) -> str:
    """The first and the last of each kind: `encode_192 .. encode_2048, decode_256`."""
    kinds: dict[str, list[str]] = {}
    for graph in graphs:
        kinds.setdefault(kind_of(graph), []).append(graph)
    return ", ".join(" .. ".join(dict.fromkeys([names[0], names[-1]])) for names in kinds.values())


def table(heads: Sequence[str], rows: Iterator[tuple[str, ...]] | list[tuple[str, ...]]) -> str:
    """Columns of equal width."""
    every = [tuple(heads), *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(heads))]
    padded = (zip(row, widths, strict=True) for row in every)
    return "\n".join("  ".join(cell.ljust(width) for cell, width in row).rstrip() for row in padded)
