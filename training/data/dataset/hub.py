"""Opens data sets and tokenizers by name: a folder, or an id on the Hugging Face hub.

A data set is one of three things:

- a folder that `omr-data build` made, recognised by its column `symbols`; its splits and canonical labels stay as they
  are;
- a folder in PDMX-Synth's schema (columns image, transcription, filename): `save_to_disk`'s, or parquet files named
  after their split, as repositories on the hub hold them;
- an id on the hub, `guangyangmusic/PDMX-Synth` among them.

Rows are whole tunes (PDMX-Synth: many systems, often many voices) or single systems (as in LEGATO 2). Both have the
same columns, so nothing here needs to tell them apart.

PDMX-Synth is gated and was never opened here. Its paper tells the columns, the splits train, val and test, 238,386
rows, ABC by xml2abc with every text masked as `<|text|>`, and `$` where a system ends. We guessed how masked texts are
quoted, that pictures are PNG, and how the study cut 80/10/10 with seed 42 (its sizes fit; see `resplit`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
from huggingface_hub import hf_hub_download
from huggingface_hub.utils import logging as hub_logging

from runtime.bundle.tokenizer import AtomTokenizer, Tokenizer, load_tokenizer
from runtime.errors import InputError, OmrError
from training.data.dataset.build import open_dataset
from training.data.dataset.labels import in_form, with_facts

COLUMNS = ("image", "transcription", "filename", "symbols")  # what is kept; the last two may be missing
STUDY = "PDMX-Synth"  # a data set of this name, on the hub or copied to a folder, is split as the study did
STUDY_SEED, STUDY_SHARE = 42, 0.2  # of the rows for val and test together


def make_tokenizer(tokenizer_id: str) -> Tokenizer:
    """`atoms`, the `tokenizer.json` of a folder or path, or one on the hub.

    Raises:
        OmrError: it can't be reached.
    """
    if tokenizer_id == "atoms":
        return AtomTokenizer()
    path = Path(tokenizer_id)
    if path.is_dir():
        path = path / "tokenizer.json"
        if not path.is_file():
            raise InputError(f"folder {tokenizer_id} holds no tokenizer.json; give one that does, or an id on the hub")
    if not path.is_file():
        try:
            with asking_hub(tokenizer_id):
                path = Path(hf_hub_download(tokenizer_id, "tokenizer.json"))
        except Exception as error:  # the hub's, the network's and the cache's errors have no common class
            raise OmrError(
                f"tokenizer {tokenizer_id!r} can't be reached ({type(error).__name__}): give "
                "data.tokenizer_id=atoms, a tokenizer.json, or after `hf auth login` an id that your account may read"
            ) from error
    return load_tokenizer(path)


@contextmanager
def asking_hub(name: str) -> Iterator[None]:
    """Says what is asked for; the hub's own account of every retry is left out."""
    print(f"asking the hub for {name}", file=sys.stderr)
    before = hub_logging.get_verbosity()
    hub_logging.set_verbosity_error()
    try:
        yield
    finally:
        hub_logging.set_verbosity(before)


def open_split(dataset_id: str, split: str, labels: str) -> Any:
    """One split of a data set; pictures stay encoded, and no picture is decoded here.

    Args:
        dataset_id: a folder, or an id on the hub.
        split: train, val or test.
        labels: `verbatim`: as they stand, those that `runtime.abc.reader` can't read are counted; `canonical`:
            through its canonical form, rows that can't be read are left out and counted. Of a data set of our
            own both are the same.

    Returns:
        A `datasets.Dataset`: image, transcription, filename and symbols where there are any; width and height of
        the pictures in px where the labels had to be read.

    Raises:
        InputError: there is no such data set, split, column or readable label.
    """
    if not dataset_id:
        raise InputError("no data set is given: set data.dataset_id to a folder made by `omr-data build`")
    splits = open_splits(dataset_id)
    ours = "symbols" in next(iter(splits.values())).column_names
    again = not ours and "train" in splits and (Path(dataset_id).name == STUDY or len(splits) == 1)
    source = "train" if again else split
    if source not in splits or (again and split not in ("train", "val", "test")):
        known = ("train", "val", "test") if again else splits
        raise InputError(f"data set {dataset_id!r} has no split {split!r} (it has {', '.join(known)})")
    rows = checked(splits[source], dataset_id)
    if ours:
        return rows
    rows = with_facts(rows)
    if again:
        rows = resplit(rows, dataset_id)[split]
        print(f"{split}: {len(rows)} rows of the train split, cut again 80/10/10 with seed 42", file=sys.stderr)
    return in_form(rows, labels, f"{dataset_id} {split}")


def open_splits(dataset_id: str) -> Mapping[str, Any]:
    """All splits of a data set, nothing read yet; `validation` is called val."""
    folder = Path(dataset_id)
    if (folder / "recipe.json").exists():
        return open_dataset(folder)
    try:
        if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
            found = datasets.load_from_disk(dataset_id)
        elif folder.exists():
            found = datasets.load_dataset(dataset_id)
        else:
            with asking_hub(dataset_id):
                found = datasets.load_dataset(dataset_id)
    except Exception as error:  # the hub's, the network's and Arrow's errors have no common class
        expected = "made by `omr-data build`, by save_to_disk, or with parquet files named after their split"
        hint = f"expected a folder {expected}"
        if not folder.exists():
            hint = f"there is no such folder, and the hub doesn't give it; {hint}, or after `hf auth login` an id there"
        raise InputError(f"data set {dataset_id!r} can't be opened ({type(error).__name__}): {hint}") from error
    splits = found if isinstance(found, Mapping) else {"train": found}
    return {"val" if name == "validation" else str(name): rows for name, rows in splits.items()}


def checked(rows: Any, dataset_id: str) -> Any:
    """The columns we know, pictures as their encoded bytes."""
    missing = [name for name in COLUMNS[:2] if name not in rows.column_names]
    if missing:
        expected = "expected PDMX-Synth's, image, transcription and filename"
        raise InputError(f"data set {dataset_id!r} has no column {missing[0]!r}: {expected}")
    rows = rows.select_columns([name for name in COLUMNS if name in rows.column_names])
    return rows.cast_column("image", datasets.Image(decode=False))


def resplit(rows: Any, dataset_id: str) -> Mapping[str, Any]:
    """Split 80/10/10 with seed 42, as the study says. That it took a fifth away and halved it is a guess."""
    if len(rows) < 10:
        raise InputError(f"data set {dataset_id!r} has {len(rows)} rows; val and test are cut from 10 or more")
    # `train_test_split` of rows writes indices beside them, where it may be read-only; splitting numbers doesn't.
    numbers = datasets.Dataset.from_dict({"row": range(len(rows))})
    first = numbers.train_test_split(STUDY_SHARE, seed=STUDY_SEED)
    rest = first["test"].train_test_split(0.5, seed=STUDY_SEED)
    parts = {"train": first["train"], "val": rest["train"], "test": rest["test"]}
    return {name: rows.select(part["row"][:]) for name, part in parts.items()}
