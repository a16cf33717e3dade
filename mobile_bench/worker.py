"""Times one precision with one number of threads, in a process of its own: load, encode, decode, read a page.

A device driver starts `python -m mobile_bench.worker` and writes a `Task` as JSON to stdin. The answer is JSON on
stdout.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from runtime.bundle.io_spec import GRAPHS, IOSpec, graph_for, kind_of, named
from runtime.bundle.manifest import Artifact, Bundle, read_bundle
from runtime.errors import run_command
from runtime.inference.engine import load_engine
from runtime.page.preparation import load_pages
from runtime.reading.reader import Reader

from .placement import providers
from .timing import Timing, measure, once, peak_memory_mb

LOADS = 3


@dataclass(frozen=True)
class Task:
    """One measurement.

    Attributes:
        bundle: folder.
        target, precision: which artifact.
        threads: for one operator.
        runs: how often each case is timed.
        page: picture to read as a whole; empty to leave that out.
    """

    bundle: str
    target: str
    precision: str
    threads: int
    runs: int
    page: str = ""


def perform(task: Task) -> dict[str, Any]:
    """Times by case, where the nodes ran, and memory.

    Returns:
        `cases`: name -> timing; `load` is a cold start of both graphs, `encode_W` a picture W px wide, `decode_S`
        one token with S cache slots, `decode_Sx8` eight given ones, `page` the whole way from the file to ABC.
        `placement`: graph -> provider -> nodes. `peak_mb`: of the process, libraries included; `idle_mb`: of the
        same before anything was loaded.
    """
    idle = peak_memory_mb()
    bundle = read_bundle(task.bundle)

    def load() -> Any:
        return load_engine(bundle, task.target, task.precision, task.threads)

    loads = Timing.of([once(load) for _ in range(LOADS)])
    engine, artifact = load()
    spec = engine.spec
    widths = sorted({spec.widths[len(spec.widths) // 2], spec.widths[-1]})
    cases = {"load": loads}
    for width in widths:
        cases[f"encode_{width}"] = measure(partial(engine.encode, *picture(spec, width)), task.runs)
    cases[f"decode_{spec.slots[0]}"] = time_decoder(engine, widths[0], task.runs)
    for kind in {*spec.chunked} & {*map(kind_of, artifact.files)}:
        cases[named(kind, spec.slots[0])] = time_decoder(engine, widths[0], task.runs, tokens=spec.chunk)
    if task.page:
        cases["page"] = time_page(task)
    return {
        "cases": {name: timing.to_dict() for name, timing in cases.items()},
        "placement": place(bundle, artifact, task.threads),
        "peak_mb": peak_memory_mb(),
        "idle_mb": idle,
    }


def picture(spec: IOSpec, width: int) -> tuple[Any, Any]:
    """Grey noise and its width: speed doesn't depend on what is drawn."""
    shape = (1, spec.channels, spec.height, width)
    image = np.random.default_rng(0).normal(size=shape).astype(spec.float_dtype)
    return image, np.array([width], spec.integer_dtype)


def time_decoder(engine: Any, width: int, runs: int, tokens: int = 1, warm_up: int = 5) -> Timing:
    """One step of the decoder, or several given tokens, with its smallest cache, started anew where it is full."""
    spec: IOSpec = engine.spec
    memory = engine.encode(*picture(spec, width))
    seconds: list[float] = []
    places = range(0, spec.slots[0] - tokens + 1, tokens)
    while len(seconds) < runs:
        decoder = engine.start(memory)
        for number, position in enumerate(places):
            given = np.ones((1, tokens), np.int64)
            several = partial(decoder.score, given, position)
            taken = once(several if tokens > 1 else partial(decoder.step, given[:, 0], position))
            if number >= min(warm_up, len(places) - 1):
                seconds.append(taken)
    return Timing.of(seconds[:runs])


def time_page(task: Task) -> Timing:
    """Reading a file of one page or several, the graphs being loaded: picture, systems, encoder, decoder, ABC."""
    reader = Reader(task.bundle, task.target, task.precision, task.threads)

    def read() -> list[str]:
        return [reader.read_page(grey).abc for grey in load_pages(Path(task.page))]

    return measure(read, task.runs, warm_up=1)


def place(bundle: Bundle, artifact: Artifact, threads: int) -> dict[str, dict[str, int]]:
    """Where the nodes of each kind of graph ran, in its smallest size."""
    spec = bundle.manifest.io
    sizes = {"B": 1, "W": spec.widths[0], "T": spec.memory[0], "S": spec.slots[0]}
    out = {}
    for kind, smallest in zip(GRAPHS, (spec.widths[0], spec.slots[0]), strict=True):
        graph = graph_for(artifact.files, kind, smallest)
        feeds = {tensor.name: tensor.zeros() for tensor in spec.input_spec(graph, **sizes | spec.bucket(graph))}
        out[kind] = providers(bundle.path(artifact, graph), feeds, threads)
    return out


def main() -> int:
    """Answer one task."""
    task = Task(**json.load(sys.stdin))
    print(json.dumps({**asdict(task), **perform(task)}))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
