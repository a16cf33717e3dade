"""A random model that keeps the inference contract: ONNX graphs, and the same in numpy without a cache.

The numpy side recomputes the whole prefix at every step, so it shares no cache logic with what it checks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from runtime.bundle.io_spec import MASKED, IOSpec

Array = NDArray[np.float32]
STRIDE = 8
TINY = IOSpec(
    layers=2,
    heads=2,
    head_dim=8,
    vocab_size=24,
    channels=1,
    height=16,
    widths=(32, 64),
    memory=(4, 8),
    slots=(8, 16, 32),
    columns={"symbol": 5, "position": 3},
)
EPSILON = 1e-5


@dataclass
class Weights:
    """Random matrices by name; every layer has its own."""

    spec: IOSpec
    arrays: dict[str, Array]

    @property
    def width(self) -> int:
        return self.spec.heads * self.spec.head_dim

    @classmethod
    def random(cls, spec: IOSpec = TINY, seed: int = 0, hidden: int = 32) -> Weights:
        rng = np.random.default_rng(seed)
        d = spec.heads * spec.head_dim
        shapes: dict[str, tuple[int, ...]] = {
            "embed": (spec.vocab_size, d),
            "places": (spec.slots[-1], d),
            "head": (d, spec.vocab_size),
            "columns": (d, sum(spec.columns.values())),
            "patch": (d, spec.channels, spec.height, STRIDE),
        }
        for layer in range(spec.layers):
            shapes |= {f"{n}{layer}": (d, d) for n in ("q", "k", "v", "o", "cq", "ck", "cv", "co")}
            shapes |= {f"up{layer}": (d, hidden), f"down{layer}": (hidden, d)}
        scale = {"embed": 1.0, "places": 1.0, "patch": 0.2}
        spread = {n: scale.get(n, 2 / np.sqrt(shape[0])) for n, shape in shapes.items()}
        return cls(spec, {n: rng.normal(0, spread[n], s).astype(np.float32) for n, s in shapes.items()})


class _Graph:
    """Collects nodes; every method returns the name of its output."""

    def __init__(self, weights: Weights) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants = [numpy_helper.from_array(a, n) for n, a in weights.arrays.items()]
        self.spec = weights.spec

    def add(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        name = out or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def norm(self, x: str) -> str:
        d = self.spec.heads * self.spec.head_dim
        ones, zeros = self.constant(np.ones(d), np.float32), self.constant(np.zeros(d), np.float32)
        return self.add("LayerNormalization", x, ones, zeros, axis=-1, epsilon=EPSILON)

    def split(self, x: str, out: str = "") -> str:
        """[B, N, D] -> [B, h, N, d]."""
        shape = self.constant([0, 0, self.spec.heads, self.spec.head_dim])
        return self.add("Transpose", self.add("Reshape", x, shape), perm=[0, 2, 1, 3], out=out)

    def merge(self, x: str) -> str:
        """[B, h, N, d] -> [B, N, D]."""
        shape = self.constant([0, 0, self.spec.heads * self.spec.head_dim])
        return self.add("Reshape", self.add("Transpose", x, perm=[0, 2, 1, 3]), shape)

    def scores(self, q: str, k: str) -> str:
        scaled = self.add("Mul", q, self.constant(self.spec.head_dim**-0.5, np.float32))
        return self.add("MatMul", scaled, self.add("Transpose", k, perm=[0, 1, 3, 2]))

    def save(self, path: Path, graph: str) -> None:
        def values(specs: Sequence[Any]) -> list[onnx.ValueInfoProto]:
            kinds = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "int32": TensorProto.INT32}
            return [helper.make_tensor_value_info(s.name, kinds[s.dtype], s.shape) for s in specs]

        spec = self.spec
        used = {name for node in self.nodes for name in node.input}
        constants = [c for c in self.constants if c.name in used]
        model = helper.make_model(
            helper.make_graph(
                self.nodes, graph, values(spec.input_spec(graph)), values(spec.output_spec(graph)), constants
            ),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=9,
        )
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)


def save_encoder(weights: Weights, path: Path) -> None:
    """`encode`: one convolution over the full height, memory columns of STRIDE px."""
    g, spec = _Graph(weights), weights.spec
    columns = g.add("Conv", "image", "patch", strides=[spec.height, STRIDE])
    flat = g.add("Transpose", g.add("Squeeze", columns, g.constant([2])), perm=[0, 2, 1])
    memory = g.add("Relu", flat)
    for layer in range(spec.layers):
        for part in "kv":
            g.split(g.add("MatMul", memory, f"c{part}{layer}"), out=f"cross_{part}_{layer}")
    length = g.add("Gather", g.add("Shape", memory), g.constant(1))
    places = g.add("Mul", g.add("Range", g.constant(0), length, g.constant(1)), g.constant(STRIDE))
    wide = g.add("Unsqueeze", g.add("Cast", "valid_width", to=TensorProto.INT64), g.constant([1, 2, 3]))
    inside = g.add("Less", places, wide)
    g.add("Where", inside, g.constant(0, np.float32), g.constant(MASKED, np.float32), out="memory_mask")
    g.add("MatMul", memory, "columns", out="column_logits")
    g.save(path, "encode")


def save_decoder(weights: Weights, path: Path, graph: str = "decode") -> None:
    """`decode`: one token, slots from `position` on masked, the new slice as output; or a chunk of given tokens."""
    g, spec = _Graph(weights), weights.spec
    count = int(graph.removeprefix("decode").removeprefix("x") or 0)
    token = "token" if count else g.add("Unsqueeze", "token", g.constant([1]))
    place = g.add("Unsqueeze", "position", g.constant([1]))
    place = g.add("Add", place, g.constant(np.arange(count or 1)))
    place = g.add("Min", place, g.constant(spec.slots[-1] - 1))
    later = g.constant(np.triu(np.full((count or 1, count or 1), MASKED), 1), np.float32)
    x = g.add("Add", g.add("Gather", "embed", token), g.add("Gather", "places", place))
    size = g.add("Gather", g.add("Shape", "self_k_0"), g.constant(2))
    slots = g.add("Range", g.constant(0), size, g.constant(1))
    filled = g.add("Less", slots, g.add("Unsqueeze", "position", g.constant([1, 2, 3])))
    mask = g.add("Where", filled, g.constant(0, np.float32), g.constant(MASKED, np.float32))
    for n in range(spec.layers):
        y = g.norm(x)
        q = g.split(g.add("MatMul", y, f"q{n}"))
        k = g.split(g.add("MatMul", y, f"k{n}"), out=f"new_k_{n}")
        v = g.split(g.add("MatMul", y, f"v{n}"), out=f"new_v_{n}")
        old = g.add("Add", g.scores(q, f"self_k_{n}"), mask)
        among = g.add("Add", g.scores(q, k), later)
        weight = g.add("Softmax", g.add("Concat", old, among, axis=3), axis=-1)
        values = g.add("Concat", f"self_v_{n}", v, axis=2)
        x = g.add("Add", x, g.add("MatMul", g.merge(g.add("MatMul", weight, values)), f"o{n}"))
        q = g.split(g.add("MatMul", g.norm(x), f"cq{n}"))
        weight = g.add("Softmax", g.add("Add", g.scores(q, f"cross_k_{n}"), "memory_mask"), axis=-1)
        x = g.add("Add", x, g.add("MatMul", g.merge(g.add("MatMul", weight, f"cross_v_{n}")), f"co{n}"))
        x = g.add("Add", x, g.add("MatMul", g.add("Relu", g.add("MatMul", g.norm(x), f"up{n}")), f"down{n}"))
    if count:
        g.add("MatMul", g.norm(x), "head", out="logits")
    else:
        g.add("Squeeze", g.add("MatMul", g.norm(x), "head"), g.constant([1]), out="logits")
    g.save(path, graph)


def reference_memory(weights: Weights, image: Array, valid_width: NDArray[Any]) -> tuple[Array, Array]:
    """Memory [B, T, D] and mask [B, 1, 1, T] of the encoder, in numpy."""
    patch = weights.arrays["patch"]
    batch, _, _, wide = image.shape
    patches = image.reshape(batch, image.shape[1], image.shape[2], wide // STRIDE, STRIDE)
    memory = np.maximum(np.einsum("bchtw,dchw->btd", patches, patch), 0)
    inside = np.arange(wide // STRIDE) * STRIDE < np.asarray(valid_width)[:, None]
    return memory.astype(np.float32), np.where(inside, 0, MASKED)[:, None, None].astype(np.float32)


def reference_logits(weights: Weights, memory: Array, mask: Array, tokens: Sequence[int]) -> Array:
    """Logits [vocabulary] after `tokens` for one row of memory [T, D], everything recomputed."""
    w, spec, n = weights.arrays, weights.spec, len(tokens)

    def norm(x: Array) -> Array:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPSILON)

    def heads(x: Array) -> Array:
        return x.reshape(len(x), spec.heads, spec.head_dim).transpose(1, 0, 2)

    def attend(q: Array, k: Array, v: Array, added: Array) -> Array:
        scores = heads(q) @ heads(k).transpose(0, 2, 1) * spec.head_dim**-0.5 + added
        weight = np.exp(scores - scores.max(-1, keepdims=True))
        out = (weight / weight.sum(-1, keepdims=True)) @ heads(v)
        return out.transpose(1, 0, 2).reshape(len(q), weights.width)

    x = w["embed"][list(tokens)] + w["places"][:n]
    causal = np.triu(np.full((n, n), -1e9), 1)
    for i in range(spec.layers):
        y = norm(x)
        x = x + attend(y @ w[f"q{i}"], y @ w[f"k{i}"], y @ w[f"v{i}"], causal) @ w[f"o{i}"]
        crossed = attend(norm(x) @ w[f"cq{i}"], memory @ w[f"ck{i}"], memory @ w[f"cv{i}"], mask)
        x = x + crossed @ w[f"co{i}"]
        x = x + np.maximum(norm(x) @ w[f"up{i}"], 0) @ w[f"down{i}"]
    return np.asarray(norm(x)[-1] @ w["head"], dtype=np.float32)
