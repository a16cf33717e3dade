"""ONNX Runtime on the CPU.

Nothing large is copied between steps. Encoder outputs stay in ONNX Runtime's memory and are bound to the decoder as
they are. The self-attention cache is in numpy arrays that ONNX Runtime reads in place, and the host writes the new
slice into its slot. The cache has only as many slots as needed (256, then 512, ..), because every slot is read at every
step, filled or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from ..bundle.io_spec import IOSpec
from ..errors import BundleError
from ..inference.chunked_scoring import in_chunks
from ..inference.engine import Floats, Integers
from ..inference.threads import default_threads

PROVIDERS = ["CPUExecutionProvider"]
DTYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(int64)": "int64"}


def open_session(path: Path, threads: int, profile: Path | None = None) -> Any:
    """An inference session on the CPU.

    Args:
        path: ONNX file.
        threads: for one operator.
        profile: prefix of a profile to write (`session.end_profiling()` returns its path).

    Raises:
        BundleError: ONNX Runtime can't load the file.
    """
    options = ort.SessionOptions()
    # Without it sums of two int8 products overflow on x86 processors without VNNI, which reads otherwise than they do.
    options.add_session_config_entry("session.x64quantprecision", "1")
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads of the encoder would otherwise spin on the processors that the decoder needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    try:
        return ort.InferenceSession(str(path), options, providers=PROVIDERS)
    except Exception as error:  # onnxruntime's exceptions have no public common class
        reason = str(error).splitlines()[0][:200]
        raise BundleError(f"{path} can't be loaded by ONNX Runtime {ort.__version__} ({reason})") from error


class OnnxMemory:
    """Encoder outputs in ONNX Runtime's memory, by name."""

    def __init__(self, values: dict[str, Any], batch: int) -> None:
        self.values = values
        self._batch = batch

    @property
    def batch(self) -> int:
        return self._batch

    @property
    def column_logits(self) -> Floats | None:
        value = self.values.get("column_logits")
        return None if value is None else np.asarray(value.numpy(), dtype=np.float32)


class OnnxEngine:
    """The sessions of one bundle; that of chunks of tokens, `chunked`, is opened when it is first needed."""

    def __init__(
        self, encoder: Path, decoder: Path, spec: IOSpec, threads: int = 0, chunked: Path | None = None
    ) -> None:
        self.spec = spec
        self.encoder = open_session(encoder, threads or default_threads())
        self.decoder_threads = threads or default_threads(decoder.stat().st_size)
        self.decoder = open_session(decoder, self.decoder_threads)
        for session, graph, path in ((self.encoder, "encode", encoder), (self.decoder, "decode", decoder)):
            _check_border(session, spec, graph, path)
        self.chunked, self._chunker = chunked, None

    def chunker(self) -> Any:
        """The session that reads chunks of tokens."""
        if self._chunker is None and self.chunked is not None:
            self._chunker = open_session(self.chunked, self.decoder_threads)
            _check_border(self._chunker, self.spec, self.spec.chunked[0], self.chunked)
        return self._chunker

    def encode(self, image: Floats, valid_width: Integers) -> OnnxMemory:
        """See `runtime.inference.engine.Engine`."""
        image = np.ascontiguousarray(image, dtype=self.spec.float_dtype)
        valid = np.ascontiguousarray(valid_width, dtype=self.spec.integer_dtype)
        binding = self.encoder.io_binding()
        binding.bind_cpu_input("image", image)
        binding.bind_cpu_input("valid_width", valid)
        names = self.spec.output_names("encode")
        for name in names:
            binding.bind_output(name, "cpu")
        self.encoder.run_with_iobinding(binding)
        return OnnxMemory(dict(zip(names, binding.get_outputs(), strict=True)), image.shape[0])

    def start(self, memory: OnnxMemory) -> OnnxDecoder:
        """See `runtime.inference.engine.Engine`."""
        return OnnxDecoder(self.decoder, self.spec, memory, self.chunker if self.chunked else None)


class OnnxDecoder:
    """The decoder's cache and everything bound to it.

    Args:
        session: of the step.
        spec: the contract's sizes.
        memory: what the encoder left.
        chunker: gives the session that reads chunks of tokens, if there is one.
    """

    def __init__(
        self, session: Any, spec: IOSpec, memory: OnnxMemory, chunker: Callable[[], Any] | None = None
    ) -> None:
        self.session, self.chunker = session, chunker
        self.spec = spec
        self.filled = 0
        names = [*spec.caches("cross"), "memory_mask"]
        self.memory = {name: memory.values[name] for name in names}
        self.caches: dict[str, NDArray[Any]] = {}
        self.several: Bound | None = None  # made when it is first needed
        self._resize(memory.batch, spec.slots[0])

    def step(self, token: Integers, position: int) -> Floats:
        """See `runtime.inference.engine.Decoder`."""
        self._make_room(position, 1)
        return self.step_graph.read(token, position, 1)

    def score(self, tokens: Integers, position: int) -> Floats:
        """See `runtime.inference.engine.Decoder`."""
        return in_chunks(self, tokens, position, self.spec.chunk if self.chunker else 0)

    def chunk(self, tokens: Integers, position: int, count: int) -> Floats:
        """See `runtime.inference.chunked_scoring.Chunks`."""
        self._make_room(position, count)
        if self.several is None:
            assert self.chunker is not None
            self.several = Bound(self.chunker(), self.spec, self.spec.chunked[0], self.caches, self.memory)
        return self.several.read(tokens, position, count)

    def keep(self, rows: Integers) -> None:
        """See `runtime.inference.engine.Decoder`."""
        if len(rows) == len(self.step_graph.token) and np.array_equal(rows, np.arange(len(rows))):
            return
        self.memory = {name: _own(value.numpy()[rows]) for name, value in self.memory.items()}
        self.caches = {name: cache[rows] for name, cache in self.caches.items()}
        self._resize(len(rows), self.slots)

    @property
    def slots(self) -> int:
        return int(next(iter(self.caches.values())).shape[2])

    def _make_room(self, position: int, count: int) -> None:
        """A cache that holds `count` tokens more."""
        assert position == self.filled, f"position {position} after {self.filled} tokens"
        if position + count > self.slots:
            self._resize(len(self.step_graph.token), self.spec.slots_for(position + count))
        self.filled = position + count

    def _resize(self, batch: int, slots: int) -> None:
        """New arrays of this size, what is filled copied over, all bound to the session of steps."""
        inputs = {spec.name: spec for spec in self.spec.input_spec("decode", B=batch, S=slots)}
        caches = {name: inputs[name].zeros() for name in self.spec.caches("self")}
        for name, old in self.caches.items():
            caches[name][:, :, : self.filled] = old[:, :, : self.filled]
        self.caches = caches
        self.step_graph = Bound(self.session, self.spec, "decode", caches, self.memory)
        self.several = None


class Bound:
    """A decoder's graph bound to a cache, which it reads and writes in place."""

    def __init__(
        self, session: Any, spec: IOSpec, graph: str, caches: Mapping[str, NDArray[Any]], memory: Mapping[str, Any]
    ) -> None:
        batch, _, slots, _ = caches["self_k_0"].shape
        sizes = {"B": batch, "S": slots}
        self.session = session
        inputs = {item.name: item for item in spec.input_spec(graph, **sizes)}
        self.token, self.position = inputs["token"].zeros(), inputs["position"].zeros()
        outputs = {item.name: item.zeros() for item in spec.output_spec(graph, **sizes)}
        self.logits: Floats = outputs["logits"]
        self.writes = [
            (caches[old], outputs[new]) for old, new in zip(spec.caches("self"), spec.caches("new"), strict=True)
        ]
        self.binding = session.io_binding()
        arrays = {**caches, "token": self.token, "position": self.position, **outputs}
        # An OrtValue made from numpy shares its memory: the host writes what ONNX Runtime reads.
        self.bound = {name: ort.OrtValue.ortvalue_from_numpy(array) for name, array in arrays.items()}
        for name in inputs:
            self.binding.bind_ortvalue_input(name, self.bound.get(name) or memory[name])
        for name in outputs:
            self.binding.bind_ortvalue_output(name, self.bound[name])

    def read(self, token: Integers, position: int, count: int) -> Floats:
        """Read `count` tokens from `position` on; their slices go into the cache."""
        self.token[:] = token
        self.position[:] = position
        self.session.run_with_iobinding(self.binding)
        for cache, new in self.writes:
            cache[:, :, position : position + count] = new[:, :, :count]
        return self.logits


def _own(array: NDArray[Any]) -> Any:
    return ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


def _check_border(session: Any, spec: IOSpec, graph: str, path: Path) -> None:
    """The names and types of a graph's inputs and outputs must be the contract's."""
    both = (session.get_inputs(), spec.input_spec(graph)), (session.get_outputs(), spec.output_spec(graph))
    for found, expected in both:
        odd = {(item.name, DTYPES.get(item.type, item.type)) for item in found}
        odd ^= {(item.name, item.dtype) for item in expected}
        if odd:
            names = sorted({name for name, _ in odd})
            raise BundleError(f"{path} is no {graph} graph of this bundle: {names[:4]} differ; export it again")


def open_engine(files: Mapping[str, Path], spec: IOSpec, threads: int) -> OnnxEngine:
    """See `runtime.inference.engine.EngineFactory`."""
    chunked = next((files[kind] for kind in spec.chunked if kind in files), None)
    return OnnxEngine(files["encode"], files["decode"], spec, threads, chunked)


ENGINE = open_engine
