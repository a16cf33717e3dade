"""Counts what is in a data set: sizes of pictures and labels, how often each symbol occurs, where the lines come
from."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image
from tqdm import tqdm

from runtime.bundle.tokenizer import AtomTokenizer, Tokenizer
from training.data.dataset.build import digest, open_dataset

BARS, BAR_WIDTH = 16, 40  # of a histogram in text: lines, characters


@dataclass
class Figures:
    """Of one split, or of several together.

    Attributes:
        widths: of the pictures, in px.
        atoms: in each label.
        tokens: in each label, by the tokenizer that was given.
        symbols: how often each atom occurs.
        lines_with: lines in which each atom occurs.
        origins: lines of each collection, and invented ones.
    """

    widths: list[int] = field(default_factory=list)
    atoms: list[int] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    symbols: Counter[str] = field(default_factory=Counter)
    lines_with: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)

    def add(self, row: dict[str, Any], atoms: AtomTokenizer, tokenizer: Tokenizer | None) -> None:
        """Count a row whose picture isn't decoded."""
        self.widths.append(Image.open(io.BytesIO(row["image"]["bytes"])).size[0])
        texts = atoms.texts(atoms.encode(row["transcription"]))
        self.atoms.append(len(texts))
        self.symbols.update(texts)
        self.lines_with.update(set(texts))
        self.origins[(row.get("origin") or "unknown").split("/")[0]] += 1
        if tokenizer is not None:
            self.tokens.append(len(tokenizer.encode(row["transcription"])))

    def __add__(self, other: Figures) -> Figures:
        names = ("widths", "atoms", "tokens", "symbols", "lines_with", "origins")
        return Figures(*(getattr(self, name) + getattr(other, name) for name in names))


def count(folder: Path, tokenizer: Tokenizer | None = None) -> dict[str, Figures]:
    """The figures of each split."""
    atoms, out = AtomTokenizer(), {}
    data = open_dataset(folder).cast_column("image", datasets.Image(decode=False))
    with tqdm(total=sum(map(len, data.values())), unit="line", desc="counting") as bar:
        for name, split in data.items():
            out[name] = Figures()
            for row in split:
                out[name].add(row, atoms, tokenizer)
                bar.update()
    return out


def summary(folder: Path, splits: dict[str, Figures]) -> dict[str, Any]:
    """Everything as JSON can hold it, and the digest."""
    out: dict[str, Any] = {"splits": {}, "digest": digest(folder)}
    for name, figures in splits.items():
        out["splits"][name] = {
            "rows": len(figures.widths),
            "width_px": _percentiles(figures.widths),
            "atoms": _percentiles(figures.atoms),
            **({"tokens": _percentiles(figures.tokens)} if figures.tokens else {}),
            "lines_with_atom": dict(figures.lines_with.most_common()),
            "symbols": dict(figures.symbols.most_common()),
            "origins": dict(figures.origins.most_common()),
        }
    return out


def _percentiles(values: list[int]) -> dict[str, float]:
    return {f"p{q}": float(np.percentile(values, q)) for q in (1, 25, 50, 75, 95, 100)} if values else {}


def drawn(figures: Figures) -> str:
    """Histograms as text."""
    parts = [
        histogram("width of the pictures, px", figures.widths),
        histogram("length of the labels, atoms", figures.atoms),
        *([histogram("length of the labels, tokens of --tokenizer", figures.tokens)] if figures.tokens else []),
        shares("where the lines come from", figures.origins),
        shares("lines with a symbol, per 1,000; the rarest", _rarest(figures), scale=1000 / max(1, len(figures.atoms))),
    ]
    return "\n".join(parts)


def _rarest(figures: Figures) -> Counter[str]:
    return Counter(dict(figures.lines_with.most_common()[-BARS:]))


def histogram(title: str, values: list[int]) -> str:
    """A bar for each range of values."""
    counts, edges = np.histogram(values, bins=min(BARS, max(1, int(np.ptp(values)))))
    labels = [f"{low:.0f} to {high:.0f}" for low, high in zip(edges, edges[1:], strict=False)]
    return _table(title, labels, counts.tolist(), [str(count) for count in counts])


def shares(title: str, counts: Counter[str], scale: float = 1) -> str:
    """A bar for each name."""
    names, values = zip(*counts.most_common(), strict=True)
    return _table(title, [repr(n) if n.isspace() else n for n in names], values, [f"{v * scale:.4g}" for v in values])


def _table(title: str, labels: Any, values: Any, texts: list[str]) -> str:
    most = max(values)
    rows = [
        f"{label:>16} {'█' * round(BAR_WIDTH * value / most)}{'' if round(BAR_WIDTH * value / most) else '▏'} {text}"
        for label, value, text in zip(labels, values, texts, strict=True)
    ]
    return "\n".join([title, *rows, ""])
