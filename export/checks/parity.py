"""Measures whether an exported model computes what PyTorch computes, before anything is written.

fp32 and fp16 must agree up to rounding. Compared are each output at several widths and cache sizes (at all sizes that
have their own graph), and readings with a cache with PyTorch's whole-sequence pass without one. Other precisions must
predict the same token at MIN_TOP1 of 100 positions, given the same tokens before. Every precision must read a line
alone as in a batch. Graphs for several given tokens must meet the same limits. A trained model's artifacts also read
held-out lines (`export.checks.reading_trial`), with limits on the difference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from runtime.bundle.io_spec import IOSpec, is_decoder, kind_of
from runtime.bundle.tokenizer import Tokenizer
from runtime.errors import BundleError
from runtime.inference.engine import Engine, Floats
from runtime.reading.decode import greedy
from training.model.music_trocr import MusicTrOCR

from ..graphs.contract import modules
from ..target import TARGETS, Arrays, Run, Target
from .loaded_graphs import Graphs, open_engine
from .probe import Pictures, Probe
from .torch_engine import TorchEngine, whole_sequence

MIN_PSNR = 80.0  # dB; rounding gives 100 to 140, a wrong constant under 40
MIN_TOP1 = 90.0  # percent of the tokens
# Stricter limits for some precisions: dB of every output, percent of the tokens.
LEAST = {"fp32": (MIN_PSNR, MIN_TOP1), "fp16": (40.0, 99.0)}
MIN_TOP1_FOUR = 50.0  # percent, with weights of 4 bits: random ones agree on 65 to 75
# For trained models, on the shipped lines, by precision: percent of the lines that must read as in PyTorch, and points
# that the symbol error rate may be worse. int4 has no limit; its figures are only reported.
LEAST_EQUAL = {"fp32": 100.0, "fp16": 99.0}
MOST_WORSE = {"fp32": 0.0, "fp16": 0.1, "int8": 0.3, "int8_static": 0.3, "mixed": 0.5}
# For models with random weights, which read no held-out lines. Random encoders of 50 layers amplify small differences
# (int8 weights leave 28 dB in ResNet-50), so a decoder gets PyTorch's memory, and encoders are judged by dB.
LEAST_RANDOM = {"int8": 20.0, "int8_static": 10.0}
MOST_APART = 5.0  # percent of the tokens: chunks against steps, whose rounding differs
MOST_PSNR = 200.0  # dB; stands for equality, since JSON has no infinity
NOT_EXECUTED = "not executed here"
REGRET = 1e-3  # how far below the highest logit a choice of fp32 may be: rounding may decide a tie
MOST_TOKENS = 96  # of each reading

Rows = list[list[int]]


def psnr(reference: NDArray[Any], found: NDArray[Any]) -> float:
    """Highest magnitude of `reference` over the root mean square difference, in dB; 0 where `found` isn't finite."""
    if reference.shape != found.shape or not np.isfinite(found).all():
        return 0.0
    error = math.sqrt(float(np.mean((reference.astype(np.float64) - found) ** 2)))
    peak = float(np.abs(reference).max())
    if error == 0:
        return MOST_PSNR
    return round(min(MOST_PSNR, 20 * math.log10(peak / error)), 1) if peak else 0.0


def compare(model: MusicTrOCR, spec: IOSpec, graph: str, run: Run, inputs: Arrays) -> dict[str, float]:
    """PSNR of each output of a graph for some inputs, in dB."""
    with torch.inference_mode():
        flat = [torch.from_numpy(inputs[name]) for name in spec.input_names(graph)]
        expected = [tensor.numpy() for tensor in modules(model, fold=False)[graph](*flat)]
    found = run(inputs)
    return {name: psnr(value, found[name]) for name, value in zip(spec.output_names(graph), expected, strict=True)}


def encoder_numbers(
    model: MusicTrOCR, spec: IOSpec, run: Run, pictures: Callable[[int], Pictures], every: bool = False
) -> dict[str, Any]:
    """The encoder at the narrowest, a middle and the widest bucket.

    Args:
        pictures: width in px -> a batch padded to it.
        every: run at every bucket.
    """
    widths = sorted({spec.widths[0], spec.widths[len(spec.widths) // 2], spec.widths[-1]})
    widths = list(spec.widths) if every else widths
    rows = []
    for width in widths:
        image, valid = pictures(width)
        inputs = {"image": image, "valid_width": valid.astype(spec.integer_dtype)}
        rows.append(compare(model, spec, "encode", run, inputs))
    return {"psnr_db": lowest(rows), "widths": widths}


def decoder_numbers(
    model: MusicTrOCR, spec: IOSpec, run: Run, pictures: Pictures, kind: str = "decode"
) -> dict[str, Any]:
    """One step or chunk at every cache size, each row at a place of its own; slots not yet filled hold noise."""
    image, _ = pictures
    cross = memory_of(model, spec, pictures)
    rng = np.random.default_rng(0)
    rows = []
    for slots in spec.slots:
        inputs = {item.name: item.zeros() for item in spec.input_spec(kind, B=len(image), S=slots, T=1)[:2]}
        inputs["token"][:] = rng.integers(spec.vocab_size, size=inputs["token"].shape)
        inputs["position"][:] = [slots - 1, *rng.integers(slots, size=len(image) - 1)]
        for item in spec.input_spec(kind, B=len(image), S=slots):
            if item.name.startswith("self_"):
                inputs[item.name] = rng.normal(size=[int(n) for n in item.shape]).astype(np.float32)
        rows.append(compare(model, spec, kind, run, {**inputs, **cross}))
    return {"psnr_db": lowest(rows), "slots": list(spec.slots)}


def memory_of(model: MusicTrOCR, spec: IOSpec, pictures: Pictures) -> dict[str, NDArray[Any]]:
    """A decoder's inputs from the encoder, by PyTorch."""
    memory = TorchEngine(model, spec).encode(*pictures).encoded
    flat = [tensor.numpy() for cache in memory.cross for tensor in cache]
    return dict(zip([*spec.caches("cross"), "memory_mask"], [*flat, memory.mask_B11T.numpy()], strict=True))


def lowest(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The worst value of each output."""
    return {name: min(row[name] for row in rows) for name in rows[0]}


def read(engine: Engine, pictures: Pictures, tokenizer: Tokenizer, limit: int) -> Rows:
    """Greedy readings of a batch."""
    image, valid = pictures
    decoder = engine.start(engine.encode(image, valid))
    found = greedy(decoder, len(image), tokenizer.bos_id, tokenizer.eos_id, limit)
    return [reading.tokens for reading in found]


def read_alone(engine: Engine, pictures: Pictures, tokenizer: Tokenizer, limit: int) -> Rows:
    """The same lines one by one, in the same bucket."""
    image, valid = pictures
    return [read(engine, (image[i : i + 1], valid[i : i + 1]), tokenizer, limit)[0] for i in range(len(image))]


def forced(engine: Engine, pictures: Pictures, tokens: Rows, begin: int) -> list[Floats]:
    """Logits [n + 1, V] of each row while it is given `tokens`, step by step through the cache."""
    decoder, given = engine.start(engine.encode(*pictures)), padded(tokens, begin)
    steps = [decoder.step(given[:, position], position).copy() for position in range(given.shape[1])]
    return cut(np.stack(steps, axis=1), tokens)


def scored(engine: Engine, pictures: Pictures, tokens: Rows, begin: int) -> list[Floats]:
    """The same, several tokens at once where the engine can."""
    decoder, given = engine.start(engine.encode(*pictures)), padded(tokens, begin)
    return cut(decoder.score(given, 0), tokens)


def decoded(model: MusicTrOCR, spec: IOSpec, run: Run, pictures: Pictures, tokens: Rows, begin: int) -> list[Floats]:
    """The same from the graph of a step alone, with PyTorch's memory."""
    cross, given = memory_of(model, spec, pictures), padded(tokens, begin)
    slots = spec.slots_for(given.shape[1])
    items = spec.input_spec("decode", B=len(given), S=slots, T=1)
    inputs = {item.name: item.zeros() for item in items if item.name not in cross}
    steps = []
    for position in range(given.shape[1]):
        inputs["token"][:], inputs["position"][:] = given[:, position], position
        found = run({**inputs, **cross})
        steps.append(found["logits"].copy())
        for old, new in zip(spec.caches("self"), spec.caches("new"), strict=True):
            inputs[old][:, :, position] = found[new][:, :, 0]
    return cut(np.stack(steps, axis=1), tokens)


def uncached(model: MusicTrOCR, pictures: Pictures, tokens: Rows, begin: int) -> list[Floats]:
    """The same from PyTorch's whole-sequence pass."""
    return cut(whole_sequence(model, *pictures, padded(tokens, begin)), tokens)


def cut(logits_BNV: Floats, tokens: Rows) -> list[Floats]:
    """Each row's logits without those after its end."""
    return [logits_BNV[row, : len(ids) + 1] for row, ids in enumerate(tokens)]


def padded(tokens: Rows, begin: int) -> NDArray[np.int64]:
    """Begin, then the tokens; shorter rows end in begin again, which nothing looks at."""
    longest = 1 + max(len(ids) for ids in tokens)
    return np.array([[begin, *ids, *[begin] * (longest - 1 - len(ids))] for ids in tokens], np.int64)


def readings(
    model: MusicTrOCR, engine: Engine, step: Run, batches: Sequence[Pictures], tokenizer: Tokenizer
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What an artifact reads, against PyTorch.

    Args:
        step: the artifact's graph of a step.

    Returns:
        Of steps, `cached_psnr_db`: logits with the artifact's cache against PyTorch's pass without one, given
        PyTorch's own readings; `top1_percent`: same highest token there; `step_top1_percent`: the same with PyTorch's
        memory, too; `regret`: how far, at worst, a token of the artifact's own reading is below PyTorch's highest
        logit;
        `alone_equals_batch`; `lines` and `positions` compared. Of chunks of tokens, the first two and `positions`.
    """
    limit = min(MOST_TOKENS, engine.spec.slots[-1] - 1)
    begin, reference = tokenizer.bos_id, TorchEngine(model, engine.spec)
    expected: list[Floats] = []
    found: list[Floats] = []
    chunked: list[Floats] = []
    stepped: list[Floats] = []
    regret, alone, lines = 0.0, True, 0
    for pictures in batches:
        tokens = read(reference, pictures, tokenizer, limit)
        expected += uncached(model, pictures, tokens, begin)
        found += forced(engine, pictures, tokens, begin)
        chunked += scored(engine, pictures, tokens, begin)
        stepped += decoded(model, engine.spec, step, pictures, tokens, begin)
        own = read(engine, pictures, tokenizer, limit)
        alone = alone and own == read_alone(engine, pictures, tokenizer, limit)
        for logits, ids in zip(uncached(model, pictures, own, begin), own, strict=True):
            chosen = logits[np.arange(len(ids)), ids]
            regret = max(regret, float((logits[: len(ids)].max(1) - chosen).max(initial=0)))
        lines += len(tokens)
    own_numbers = {
        "step_top1_percent": compared(expected, stepped)["top1_percent"], "regret": round(regret, 6),
        "alone_equals_batch": alone, "lines": lines,
    }  # fmt: skip
    return compared(expected, found) | own_numbers, compared(expected, chunked)


def compared(expected: Sequence[Floats], found: Sequence[Floats]) -> dict[str, Any]:
    """How logits [n, V] of several rows agree with PyTorch's."""
    every, made = np.concatenate(expected), np.concatenate(found)
    return {
        "cached_psnr_db": psnr(every, made),
        "top1_percent": round(100 * float(np.mean(every.argmax(1) == made.argmax(1))), 2),
        "positions": len(every),
    }


def failures(precision: str, numerics: dict[str, Any]) -> Iterator[str]:
    """Reasons why an artifact must not be written, in words."""
    decode = numerics["decode"]
    least_psnr, least_top1 = LEAST.get(precision, (0.0, MIN_TOP1_FOUR if precision in ("int4", "mixed") else MIN_TOP1))
    if "psnr_db" not in decode:
        return  # nothing was measured, as the figures say
    kinds = [name for name in numerics if "psnr_db" in numerics[name]]
    if precision in LEAST:
        for graph in kinds:
            for name, value in numerics[graph]["psnr_db"].items():
                if value < least_psnr:
                    yield f"{name} of {graph} agrees with PyTorch to {value} dB, {least_psnr:g} are needed"
        if decode["cached_psnr_db"] < least_psnr or (precision == "fp32" and decode["regret"] > REGRET):
            yield (
                f"reading with a cache differs from reading without ({decode['cached_psnr_db']} dB, "
                f"a token {decode['regret']} under the best)"
            )
    trained = "held_out" in numerics
    if not trained and min(numerics["encode"]["psnr_db"].values()) < (least := LEAST_RANDOM.get(precision, 0.0)):
        yield f"the encoder agrees with PyTorch to less than {least:g} dB"
    if not trained and (same := decode["step_top1_percent"]) < least_top1:
        yield f"with PyTorch's memory {same} % of the tokens are PyTorch's, {least_top1:g} % are needed"
    for graph in filter(is_decoder, kinds):
        found = numerics[graph]
        least = least_top1 if trained else min(least_top1, decode["top1_percent"] - MOST_APART)
        if graph != "decode" and found["cached_psnr_db"] < least_psnr:
            yield f"given tokens read by {graph} differ from PyTorch's: {found['cached_psnr_db']} dB"
        if found["top1_percent"] < least:
            yield f"{found['top1_percent']} % of the tokens of {graph} are PyTorch's, {least:g} % are needed"
    if not decode["alone_equals_batch"]:
        yield "a line reads differently alone and in a batch"
    if held_out := numerics.get("held_out"):
        least, most = LEAST_EQUAL.get(precision, 0.0), MOST_WORSE.get(precision, math.inf)
        if held_out["equal_percent"] < least:
            yield f"{held_out['equal_percent']} % of the held-out lines read as PyTorch's, {least:g} % are needed"
        if held_out["ser_difference_points"] > most:
            yield (
                f"the symbol error rate on held-out lines is {held_out['ser_difference_points']} points above "
                f"PyTorch's, {most:g} are allowed"
            )


def gate(target: str, precision: str, numerics: dict[str, Any], after: str = "") -> None:
    """Refuse an artifact that doesn't compute what PyTorch does.

    Args:
        after: what the message ends with.

    Raises:
        BundleError: with the first reason.
    """
    for reason in failures(precision, numerics):
        raise BundleError(f"{target} {precision} fails its parity check: {reason}{after}")


def measure(
    model: MusicTrOCR, spec: IOSpec, tokenizer: Tokenizer, probe: Probe, target: str, files: Mapping[str, Path]
) -> dict[str, Any]:
    """All figures of one artifact: graph name -> what was measured."""
    entry: Target = TARGETS.get(target)
    if entry.delegate:
        return unmeasured(entry, files)
    graphs = Graphs(entry, files, spec)
    engine = open_engine(target, files, spec)
    narrow = probe.pair(spec.widths[0])
    numbers = {"encode": encoder_numbers(model, spec, graphs.encode, probe.pair, every="W" not in entry.variable)}
    kinds = dict.fromkeys(filter(is_decoder, map(kind_of, files)))
    for kind, read_with in zip(kinds, readings(model, engine, graphs.decode, probe.batches(), tokenizer), strict=False):
        numbers[kind] = decoder_numbers(model, spec, graphs.decode, narrow, kind) | read_with
    return numbers


def unmeasured(target: Target, files: Mapping[str, Path]) -> dict[str, Any]:
    """Replaces figures if nothing here can run the graphs: says so, and what they consist of.

    Returns:
        By kind of graph: `numerics`, the words "not executed here"; `delegate`, what runs them; `outside`, operators
        that it doesn't.
    """
    found: dict[str, Any] = {}
    for graph, path in files.items():
        outside = set(target.operators(path, graph)) - {target.delegate}
        row = found.setdefault(kind_of(graph), {"numerics": NOT_EXECUTED, "delegate": target.delegate, "outside": []})
        row["outside"] = sorted({*row["outside"], *outside})
    return found
