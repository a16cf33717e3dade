"""Stores results and makes tables of them. Every figure has its unit, machine and how it was measured."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from runtime.bundle.manifest import CHECKSUMS, Bundle, sha256
from runtime.errors import InputError
from runtime.output import write_whole

SCHEMA = 1
TOOLS = ("onnxruntime", "numpy", "opencv-python-headless", "tokenizers")
Key = tuple[str, str, int, str]  # target, precision, threads, case


def result(
    bundle: Bundle, device: str, label: str, machine: dict[str, Any], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    """One bundle on one device, as it is stored."""
    return {
        "schema": SCHEMA,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "label": label,
        "device": device,
        "machine": machine,
        "tools": {"python": platform.python_version(), **{name: _version(name) for name in TOOLS}},
        "bundle": {
            "name": bundle.manifest.name,
            "created": bundle.manifest.created,
            "checksums_sha256": sha256(bundle.folder / CHECKSUMS),
            "bytes": {name: (bundle.folder / name).stat().st_size for name in sorted(bundle.manifest.files)},
        },
        "rows": rows,
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def save(stored: dict[str, Any], folder: Path) -> Path:
    """Write a result under a name of its own, whole or not at all."""
    stamp = stored["date"].replace("-", "").replace(":", "").split("+")[0]
    path = folder / f"{stored['bundle']['name']}-{stored['device']}-{stamp}.json"
    number = 1
    while path.exists():
        number += 1
        path = folder / f"{stored['bundle']['name']}-{stored['device']}-{stamp}-{number}.json"
    write_whole(path, (json.dumps(stored, indent=1) + "\n").encode())
    return path


def load(path: Path) -> list[dict[str, Any]]:
    """The results in a file, or in all files of a folder, oldest first.

    Raises:
        InputError: there are none.
    """
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    out = []
    for file in files:
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{file} holds no results ({error}); expected what omr-bench run wrote") from error
        if not isinstance(stored, dict) or stored.get("schema") != SCHEMA or "rows" not in stored:
            raise InputError(f"{file} holds no results of schema {SCHEMA}; expected what omr-bench run wrote")
        out.append(stored)
    if not out:
        raise InputError(f"{path} holds no results; run omr-bench run --out {path} first")
    return sorted(out, key=lambda stored: str(stored["date"]))


def cases(stored: dict[str, Any]) -> Iterator[tuple[Key, dict[str, float]]]:
    """Every timed case of a result."""
    for row in stored["rows"]:
        for name, timing in row["cases"].items():
            yield (row["target"], row["precision"], row["threads"], name), timing


def table(results: Iterable[dict[str, Any]]) -> str:
    """Markdown: a line a case, times in milliseconds."""
    what = ("bundle", "device", "precision", "threads", "case")
    heads = (*what, "median ms", "p90 ms", "min ms", "runs", "peak MB", "how")
    lines = [_line(heads), "|---" * len(heads) + "|"]
    for stored in results:
        peaks = {(row["precision"], row["threads"]): row["peak_mb"] for row in stored["rows"]}
        for (_, precision, threads, name), timing in cases(stored):
            times = [f"{timing[k]:.2f}" for k in ("median_ms", "p90_ms", "min_ms")]
            case = (stored["bundle"]["name"], stored["device"], precision, threads, name)
            lines.append(_line([*case, *times, timing["runs"], peaks[precision, threads], stored["label"]]))
    return "\n".join(lines)


def machines(results: Iterable[dict[str, Any]]) -> str:
    """Under the table: what ran it, and where the nodes went."""
    lines = []
    for stored in results:
        facts = ", ".join(f"{name} {_text(value)}" for name, value in stored["machine"].items())
        tools = ", ".join(f"{name} {number}" for name, number in stored["tools"].items())
        graphs = [graph for row in stored["rows"] for graph in row["placement"].values()]
        placed = " and ".join(sorted({provider for graph in graphs for provider in graph}))
        lines.append(f"{stored['date']} {stored['device']}: {facts}; {tools}; nodes ran on {placed}")
    return "\n".join(dict.fromkeys(lines))


def ratios(first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Median of the second over that of the first, for every case both hold; the newest result of each counts.

    If each of the two has just one precision, and they differ, these two are compared.

    Raises:
        InputError: no case in common.
    """
    a, b = ({key: timing for stored in side for key, timing in cases(stored)} for side in (first, second))
    names = [{(target, precision) for target, precision, _, _ in side} for side in (a, b)]
    if not a.keys() & b.keys() and len(names[0]) == len(names[1]) == 1:
        (only,) = names[0]
        b = {(*only, threads, name): timing for (_, _, threads, name), timing in b.items()}
    common = [key for key in a if key in b]
    if not common:
        raise InputError("the results have no case in common; compare bundles of equal sizes, timed with equal threads")
    return [
        {
            "precision": key[1],
            "threads": key[2],
            "case": key[3],
            "a_ms": a[key]["median_ms"],
            "b_ms": b[key]["median_ms"],
            "ratio": round(b[key]["median_ms"] / a[key]["median_ms"], 3),
        }
        for key in common
    ]


def ratio_table(rows: Sequence[dict[str, Any]]) -> str:
    """Markdown of `ratios`."""
    heads = ("precision", "threads", "case", "A median ms", "B median ms", "B / A")
    lines = [_line(heads), "|---" * len(heads) + "|"]
    for row in rows:
        figures = (f"{row['a_ms']:.2f}", f"{row['b_ms']:.2f}", f"{row['ratio']:.2f}x")
        lines.append(_line([row["precision"], row["threads"], row["case"], *figures]))
    return "\n".join(lines)


def _line(cells: Iterable[object]) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
