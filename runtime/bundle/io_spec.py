"""Inputs and outputs of the encoder and the decoder: their names, shapes and types, in one place.

Trace inputs, the manifest, calibration, parity checks, engines and benchmarks all ask `IOSpec`, so each name is written
only here. Shapes name their variable axes:

    B rows of a batch       C channels, H height and W width of the picture in px
    T columns of memory     S slots of the self-attention cache

A graph takes any size (`encode`, `decode`), or one bucket, whose size is in its name: `encode_448` takes pictures 448
px wide, `decode_256` takes caches of 256 slots and the memory of the widest bucket (`pad_memory` pads a narrower one).
`decodex8` and `decode_256x8` take 8 given tokens at once; token n sees the cache and tokens 0 to n.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BundleError
from .cache_axes import axes_of, stored_shape

GRAPHS = ("encode", "decode")
CHUNK = 8  # given tokens that a graph of kind CHUNKED takes at once
CHUNKED = f"decodex{CHUNK}"
SLOT_BUCKETS = (256, 512, 1024, 2048)
MASKED = -1e4  # added to scores that must not count; -inf or finfo.min become NaN in half precision


def kind_of(graph: str) -> str:
    """`encode` of `encode` and of `encode_448`, `decodex8` of `decodex8` and of `decode_256x8`."""
    name, _, size = graph.partition("_")
    _, times, tokens = size.partition("x")
    return f"{name}{times}{tokens}"


def named(kind: str, size: int) -> str:
    """The graph of a kind for one bucket: `encode_448`, `decode_256x8`."""
    name, times, tokens = kind.partition("x")
    return f"{name}_{size}{times}{tokens}"


def is_decoder(graph: str) -> bool:
    """Whether a graph reads tokens: one, or a chunk of them."""
    return graph.startswith("decode")


def graph_for(graphs: Collection[str], kind: str, size: int) -> str:
    """Which of `graphs` takes a size: the one of that bucket, else the one that takes any.

    Raises:
        BundleError: there is neither.
    """
    for name in (named(kind, size), kind):
        if name in graphs:
            return name
    known = ", ".join(sorted(graphs))
    raise BundleError(f"there is no graph {named(kind, size)} (known: {known}); export the bundle again")


def pad_memory(arrays: Mapping[str, NDArray[Any]], columns: int) -> dict[str, NDArray[Any]]:
    """Cross keys and values and their mask, by name, with masked columns added at the end up to `columns`."""
    padded = dict(arrays)
    for name, array in arrays.items():
        axis = {"cross": 2, "memory": 3}.get(kind_of(name))
        if axis is not None:
            pads = [(0, columns - array.shape[axis] if n == axis else 0) for n in range(array.ndim)]
            padded[name] = np.pad(array, pads, constant_values=MASKED if axis == 3 else 0)
    return padded


@dataclass(frozen=True)
class TensorSpec:
    """One input or output; a dimension given by name is variable."""

    name: str
    shape: tuple[int | str, ...]
    dtype: str

    def sized(self, sizes: Mapping[str, int]) -> TensorSpec:
        """The same tensor with named dimensions filled in where `sizes` has them."""
        shape = tuple(sizes.get(n, n) if isinstance(n, str) else n for n in self.shape)
        return TensorSpec(self.name, shape, self.dtype)

    def zeros(self, **sizes: int) -> NDArray[Any]:
        """A new array of zeros, sharing memory with nothing; all dimensions must be known."""
        shape = [int(n) for n in self.sized(sizes).shape]
        return np.zeros(shape, dtype=self.dtype)

    @property
    def bytes(self) -> int:
        """Size in bytes where all dimensions are known."""
        return math.prod(int(n) for n in self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class IOSpec:
    """Sizes of a model, from which every name, shape and type of its graphs follows.

    Attributes:
        layers, heads, head_dim: of the decoder; a cache tensor is [B, heads, slots, head_dim].
        vocab_size: width of `logits`.
        channels, height: of the picture in px.
        widths: the width buckets in px, ascending.
        memory: columns of memory (T) of each width bucket; same length as `widths`.
        slots: sizes a self-attention cache may have, ascending; the last one bounds a reading.
        columns: width of each part of `column_logits` in order, e.g. {"symbol": 40, "position": 50}; empty
            where the model has no column head.
        chunk: given tokens that further decoder graphs take at once (CHUNK); 0 where there are none.
        float_dtype, integer_dtype: types of real and whole numbers that go into graphs and come out.
        cache_dtype: type of keys, values and the memory's mask, which one graph passes to another.
        axes: how a target's graphs store "keys" and "values", see `runtime.bundle.cache_axes`; empty: in the axes given
            here.
    """

    layers: int
    heads: int
    head_dim: int
    vocab_size: int
    channels: int
    height: int
    widths: tuple[int, ...]
    memory: tuple[int, ...]
    slots: tuple[int, ...] = SLOT_BUCKETS
    columns: dict[str, int] = field(default_factory=dict)
    chunk: int = 0
    float_dtype: str = "float32"
    integer_dtype: str = "int64"
    cache_dtype: str = "float32"
    axes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.memory) != len(self.widths):
            raise BundleError(
                f"memory has {len(self.memory)} sizes; expected one for each of {len(self.widths)} widths"
            )
        for name, sizes in (("widths", self.widths), ("slots", self.slots)):
            if not sizes or list(sizes) != sorted(set(sizes)):
                raise BundleError(f"{name} is {list(sizes)}; expected at least one size, ascending")

    @property
    def chunked(self) -> tuple[str, ...]:
        """The kind of graph that takes several given tokens at once; empty where there is none."""
        return (f"decodex{self.chunk}",) if self.chunk else ()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of graphs that a model has."""
        return (*GRAPHS, *self.chunked)

    def input_spec(self, graph: str, **sizes: int) -> list[TensorSpec]:
        """Inputs of a graph in order, with the named dimensions of its bucket and in `sizes` filled in."""
        return [spec.sized(self.bucket(graph) | sizes) for spec in self._both(graph)[0]]

    def output_spec(self, graph: str, **sizes: int) -> list[TensorSpec]:
        """Outputs of a graph in order, with the named dimensions of its bucket and in `sizes` filled in."""
        return [spec.sized(self.bucket(graph) | sizes) for spec in self._both(graph)[1]]

    def bucket(self, graph: str) -> dict[str, int]:
        """The sizes that a name fixes: none for `encode`, W and T for `encode_448`, S and T for `decode_256`."""
        size = graph.partition("_")[2].partition("x")[0]
        if not size:
            return {}
        if is_decoder(graph):
            return {"S": int(size), "T": self.memory[-1]}
        return {"W": int(size), "T": self.memory_size(int(size))}

    def input_names(self, graph: str) -> list[str]:
        return [spec.name for spec in self.input_spec(graph)]

    def output_names(self, graph: str) -> list[str]:
        return [spec.name for spec in self.output_spec(graph)]

    def stored(self, item: TensorSpec) -> TensorSpec:
        """An input or output with the axes that the graph itself has."""
        return replace(item, shape=stored_shape(item.shape, axes_of(item.name, self.axes)))

    def dynamic_axes(self, graph: str) -> dict[str, dict[int, str]]:
        """Variable axes of every input and output: name -> axis -> dimension name."""
        specs = self.input_spec(graph) + self.output_spec(graph)
        return {s.name: {a: n for a, n in enumerate(s.shape) if isinstance(n, str)} for s in specs}

    def memory_size(self, width: int) -> int:
        """Columns of memory for a picture of one of the bucket widths in px."""
        return self.memory[self.widths.index(width)]

    def slots_for(self, filled: int) -> int:
        """The smallest cache that holds `filled` tokens."""
        fitting = [size for size in self.slots if size >= filled]
        assert fitting, f"{filled} tokens don't fit the largest cache, {self.slots[-1]} slots"
        return fitting[0]

    def caches(self, name: str) -> list[str]:
        """Names of one kind of cache in order, `self` -> self_k_0, self_v_0, self_k_1, ..."""
        return [f"{name}_{part}_{layer}" for layer in range(self.layers) for part in "kv"]

    def _cache(self, name: str, length: int | str) -> list[TensorSpec]:
        shape = ("B", self.heads, length, self.head_dim)
        return [TensorSpec(cache, shape, self.cache_dtype) for cache in self.caches(name)]

    def _mask(self) -> TensorSpec:
        return TensorSpec("memory_mask", ("B", 1, 1, "T"), self.cache_dtype)

    def _both(self, graph: str) -> tuple[list[TensorSpec], list[TensorSpec]]:
        tokens = kind_of(graph).partition("x")[2]
        return self._decode(int(tokens or 0)) if is_decoder(graph) else self._encode()

    def _encode(self) -> tuple[list[TensorSpec], list[TensorSpec]]:
        image = TensorSpec("image", ("B", self.channels, self.height, "W"), self.float_dtype)
        valid = TensorSpec("valid_width", ("B",), self.integer_dtype)
        width = sum(self.columns.values())
        head = [TensorSpec("column_logits", ("B", "T", width), self.float_dtype)] if width else []
        return [image, valid], [*self._cache("cross", "T"), self._mask(), *head]

    def _decode(self, tokens: int) -> tuple[list[TensorSpec], list[TensorSpec]]:
        """Of one token where `tokens` is 0, else of a chunk; `position` is that of the first."""
        several = (tokens,) if tokens else ()
        token = TensorSpec("token", ("B", *several), self.integer_dtype)
        position = TensorSpec("position", ("B",), self.integer_dtype)
        inputs = [token, position, *self._cache("self", "S"), *self._cache("cross", "T"), self._mask()]
        logits = TensorSpec("logits", ("B", *several, self.vocab_size), self.float_dtype)
        return inputs, [logits, *self._cache("new", tokens or 1)]

    def to_dict(self) -> dict[str, Any]:
        """As plain data for the manifest."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> IOSpec:
        """Inverse of `to_dict`.

        Raises:
            BundleError: sizes that contradict each other.
        """
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**values)
