"""Brings labels into the form that a run wants: verbatim, or canonical (through `runtime.abc.reader` and
`runtime.abc.tune`).

Every label of a foreign data set is read once, in either form. Labels that can't be read are counted by cause.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa

from runtime.abc import reader, tidy, tune, words
from runtime.bundle.tokenizer import AtomTokenizer, Tokenizer
from runtime.errors import ConfigError, InputError
from training.data.dataset.pictures import picture_sizes

FORMS = ("verbatim", "canonical")
MANY = 10_000  # rows from which on labels are read in several processes; one reads 200 to 500 whole tunes a second
FACTS = datasets.Features(
    {
        "canonical": datasets.Value("string"), "cause": datasets.Value("string"),
        "width": datasets.Value("int32"), "height": datasets.Value("int32"),
    }
)  # fmt: skip


def label_form(labels: str, tokenizer: Tokenizer) -> str:
    """`verbatim` or `canonical`; if none is given, the one that the tokenizer can spell.

    The study's configurations name a byte-pair tokenizer and no form, so its labels are learnt verbatim.

    Raises:
        ConfigError: an unknown form, or one that the tokenizer can't spell.
    """
    atoms = isinstance(tokenizer, AtomTokenizer)
    if labels not in ("", *FORMS):
        raise ConfigError(f"data.labels is {labels!r}; use {' or '.join(FORMS)}")
    if atoms and labels == "verbatim":
        raise ConfigError(
            "data.labels is 'verbatim', but data.tokenizer_id 'atoms' spells canonical ABC alone: use "
            "data.labels=canonical or a byte-pair tokenizer"
        )
    return labels or ("canonical" if atoms else "verbatim")


def with_facts(rows: Any) -> Any:
    """Rows and what was found in each: canonical label or cause, size of the picture; kept in the cache of `datasets`.

    Only the texts and the pictures' headers are read. The cache belongs to this version of the reader.
    """
    sources = [Path(module.__file__ or "").read_bytes() for module in (tune, reader, tidy, words)]
    key = hashlib.sha256(b"".join([rows._fingerprint.encode(), *sources])).hexdigest()[:32]
    cache = Path(datasets.config.HF_DATASETS_CACHE) / "omr-labels" / f"{key}.arrow"
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        wanted = "set HF_DATASETS_CACHE to a folder that can be written"
        raise InputError(f"folder {cache.parent} can't be made ({type(error).__name__}): {wanted}") from error
    texts = rows.select_columns(["image", "transcription"]).with_format("arrow")
    facts = texts.map(
        read_labels, batched=True, remove_columns=texts.column_names, features=FACTS, new_fingerprint=key,
        cache_file_name=str(cache), num_proc=min(8, os.cpu_count() or 1) if len(rows) > MANY else None,
        desc="reading labels",
    )  # fmt: skip
    return datasets.concatenate_datasets([rows, facts.with_format(None)], axis=1)


def read_labels(table: pa.Table) -> pa.Table:
    """The facts of some rows."""
    labels = [canonical(text or "") for text in table.column("transcription").to_pylist()]
    sizes = picture_sizes(table.column("image"))
    columns = [*zip(*labels, strict=True), *zip(*sizes, strict=True)]
    return pa.table(dict(zip(FACTS, map(list, columns), strict=True)), FACTS.arrow_schema)


def canonical(text: str) -> tuple[str, str]:
    """A label in canonical form and an empty cause, or an empty label and why it can't be read."""
    try:
        line = reader.parse(text, strict=True)
    except reader.AbcError as error:
        return "", error.cause
    return (tune.write(line), "") if line.events else ("", "no notes")


def in_form(rows: Any, labels: str, name: str) -> Any:
    """Rows with the labels asked for; says how many can't be read, and why."""
    causes = rows["cause"][:]
    counts = Counter(cause for cause in causes if cause)
    fate = "kept as they stand" if labels == "verbatim" else "left out"
    why = "".join(f"\n  {count:>7,} {cause}" for cause, count in counts.most_common())
    print(f"{name}: {counts.total():,} of {len(rows):,} labels can't be read and are {fate}{why}", file=sys.stderr)
    if labels == "canonical":
        readable = [index for index, cause in enumerate(causes) if not cause]
        if not readable:
            raise InputError(f"data set {name!r} has no label of one voice that can be read; use data.labels=verbatim")
        rows = rows.remove_columns("transcription").rename_column("canonical", "transcription")
        rows = rows.select(readable) if counts else rows
    return rows.remove_columns([column for column in ("canonical", "cause") if column in rows.column_names])
