"""Builds a data set: excerpts -> pictures -> a Hugging Face `datasets` folder with PDMX-Synth's columns and ours.

Rows are made in shards, each a pure function of the recipe, its split and its number, written under a temporary name
and renamed; a build that was interrupted goes on with the shards that are missing and ends with the same data set.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image
from tqdm import tqdm

from runtime.abc import Tune
from runtime.abc_staves import write_staves
from runtime.errors import InputError, OmrError
from runtime.output import write_whole
from training.data.collections import COLLECTIONS
from training.data.corpus import SPLITS, Source, load_sources
from training.data.degrade import degrade
from training.data.engraver import ENGRAVERS, EngraveError, Engraving, as_read, draw_many
from training.data.excerpt import Mix, excerpt_staves

SHARD_ROWS = 250
COLUMNS = datasets.Features(
    {
        "image": datasets.Image(), "transcription": datasets.Value("string"), "filename": datasets.Value("string"),
        "symbols": datasets.Sequence(datasets.Sequence(datasets.Value("int16"))),
    }
)  # fmt: skip
CLEFS = (
    ("treble", 0.46), ("bass", 0.22), ("alto", 0.12), ("tenor", 0.08), ("treble-8", 0.06), ("soprano", 0.02),
    ("mezzosoprano", 0.01), ("bass-8", 0.02), ("treble+8", 0.01),
)  # fmt: skip
MIXES = {
    "train": Mix(wide=True, drilled=0.25, clutter=0.4, clefs=CLEFS),
    "invented": Mix(wide=True, invented=1.0, clutter=0.4, clefs=CLEFS),  # needs no tunes
    "heldout": Mix(wide=True, drilled=0.3, clutter=0.4, clefs=CLEFS, invented=0.3),  # tests of the whole notation
    "grand": Mix(grand=True),
    # One simple voice: three clefs, no signs. `simple_heldout` holds every symbol often enough to be measured on 1,000.
    "simple": Mix(drilled=0.35),
    "simple_heldout": Mix(first_lines=0.95, invented=0.62, clefs=(("treble", 0.4), ("bass", 0.3), ("alto", 0.3))),
}


@dataclass(frozen=True)
class Recipe:
    """All that a data set depends on."""

    size: int
    seed: int = 0
    engravers: tuple[str, ...] = ("verovio",)
    collections: tuple[str, ...] = COLLECTIONS
    mix: str = "train"
    splits: tuple[str, ...] = tuple(name for name, _ in SPLITS)
    degrade: str = "clean"

    def rows(self) -> dict[str, int]:
        """Rows of each split; they sum to `size`."""
        shares = {name: share for name, share in SPLITS if name in self.splits}
        out = {name: max(1, self.size * share // sum(shares.values())) for name, share in shares.items()}
        first = next(iter(out))
        out[first] += self.size - sum(out.values())
        return out


@dataclass(frozen=True)
class Shard:
    """Rows `start` to `stop` of a split."""

    split: str
    start: int
    stop: int

    def path(self, folder: Path) -> Path:
        return folder / f"{self.split}-{self.start:08d}-{self.stop:08d}.parquet"


_SOURCES: dict[str, list[Source]] = {}  # by split; filled in the parent, inherited by forked workers


def build(out: Path, recipe: Recipe, workers: int | None = None) -> dict[str, Any]:
    """Build the data set in folder `out`, or go on with it.

    Returns:
        A summary: rows by split, digest, what the corpus left out.

    Raises:
        InputError: the folder holds something else.
        OmrError: a worker died; running again goes on.
    """
    work = out / ".shards"
    if out.exists() and any(out.iterdir()) and not (out / "recipe.json").exists():
        raise InputError(f"{out} isn't empty and holds no data set of ours; give --out a new folder")
    work.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(recipe), indent=1, default=list)
    if (out / "recipe.json").exists() and (out / "recipe.json").read_text() != text:
        raise InputError(f"{out} holds a data set of another recipe (recipe.json); give --out a new folder")
    write_whole(out / "recipe.json", text.encode())
    if (out / "dataset_dict.json").exists():
        shutil.rmtree(work)
        return {"rows": recipe.rows(), "digest": digest(out)}
    shards = list(plan(recipe))
    missing = [shard for shard in shards if not shard.path(work).exists()]
    left_out: Mapping[str, int] = {}
    if missing:
        sources: list[Source] = []
        if MIXES[recipe.mix].invented < 1:
            sources, left_out = load_sources(recipe.collections)
        for split in recipe.rows():
            _SOURCES[split] = [source for source in sources if source.split == split]
        _run(missing, recipe, work, workers or os.cpu_count() or 1)
    splits = {
        split: datasets.Dataset.from_parquet(
            [str(s.path(work)) for s in shards if s.split == split], features=COLUMNS, cache_dir=str(work / "cache")
        )
        for split in recipe.rows()
    }
    temporary = out / ".arrow"
    shutil.rmtree(temporary, ignore_errors=True)
    datasets.DatasetDict(splits).save_to_disk(str(temporary))
    del splits
    for path in sorted(
        temporary.iterdir(), key=lambda p: p.name == "dataset_dict.json"
    ):  # the mark of a whole set last
        shutil.rmtree(out / path.name, ignore_errors=True)
        path.rename(out / path.name)
    temporary.rmdir()
    shutil.rmtree(work)
    return {"rows": recipe.rows(), "left_out": dict(left_out), "digest": digest(out)}


def plan(recipe: Recipe) -> Iterator[Shard]:
    """All shards of a recipe, in order."""
    for split, rows in recipe.rows().items():
        for start in range(0, rows, SHARD_ROWS):
            yield Shard(split, start, min(rows, start + SHARD_ROWS))


def _run(missing: list[Shard], recipe: Recipe, work: Path, workers: int) -> None:
    total = sum(shard.stop - shard.start for shard in missing)
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("fork")) as pool,
        tqdm(total=total, unit="picture", desc="engraving") as bar,
    ):
        futures = {pool.submit(make_shard, shard, recipe, work): shard for shard in missing}
        try:
            for future in as_completed(futures):
                future.result()
                bar.update(futures[future].stop - futures[future].start)
        except BrokenProcessPool as error:
            raise OmrError("an engraving process died; run the same command again to go on where it stopped") from error


def make_shard(shard: Shard, recipe: Recipe, work: Path) -> None:
    """Engrave a shard's rows and write them to its parquet file."""
    rows = make_rows(shard, recipe)
    table = datasets.Dataset.from_list(rows, features=COLUMNS)
    temporary = shard.path(work).with_suffix(".tmp")
    table.to_parquet(str(temporary))
    temporary.rename(shard.path(work))


def make_rows(shard: Shard, recipe: Recipe) -> list[dict[str, Any]]:
    """A shard's rows; excerpt, engraver and style of each follow from the recipe's seed and its number."""
    rows: dict[int, dict[str, Any]] = {}
    mix = MIXES[recipe.mix]
    split_number = [name for name, _ in SPLITS].index(shard.split)
    for attempt in range(20):
        missing = [index for index in range(shard.start, shard.stop) if index not in rows]
        jobs: dict[str, list[tuple[int, list[Tune], np.random.Generator]]] = {}
        for index in missing:
            rng = np.random.default_rng((recipe.seed, split_number, index, attempt))
            staves = excerpt_staves(_SOURCES[shard.split], int(rng.integers(2**60)), index, mix)
            name = recipe.engravers[int(rng.integers(len(recipe.engravers)))]
            if staves:
                jobs.setdefault(name, []).append((index, staves, rng))
        for name, wanted in jobs.items():
            drawn = draw_many(ENGRAVERS.get(name), [j[1] for j in wanted], [j[2] for j in wanted], mix.clutter)
            for (index, staves, rng), engraving in zip(wanted, drawn, strict=True):
                if engraving is not None:
                    filename = f"{shard.split}/{index:07d}-{name}.png"
                    rows[index] = make_row(write_staves(staves), engraving, filename, recipe.degrade, rng)
        if len(rows) == shard.stop - shard.start:
            return [rows[index] for index in range(shard.start, shard.stop)]
    raise EngraveError(f"engravers {recipe.engravers} drew none of 20 excerpts for some rows of {shard}")


def make_row(label: str, engraving: Engraving, filename: str, preset: str, rng: np.random.Generator) -> dict[str, Any]:
    """One row of the data set; where the picture is degraded, its symbols move with it."""
    picture, x_map = degrade(engraving.image, preset, rng)
    if picture.shape[0] != engraving.image.shape[0]:
        picture = as_read(picture)
    symbols = [list(row) for row in engraving.symbols] if picture.shape == engraving.image.shape else []
    if symbols and preset != "clean":
        places = x_map(np.array([row[1] for row in symbols], np.float64))
        symbols = [[row[0], round(float(x)), *row[2:]] for row, x in zip(symbols, places, strict=True)]
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    image = {"bytes": buffer.getvalue(), "path": None}
    return {"image": image, "transcription": label, "filename": filename, "symbols": symbols}


def open_dataset(folder: Path) -> datasets.DatasetDict:
    """A data set that `build` wrote.

    Raises:
        InputError: there is none in `folder`.
    """
    if not (folder / "dataset_dict.json").exists():
        unfinished = (
            " (its build was interrupted: run omr-data build again)" if (folder / "recipe.json").exists() else ""
        )
        raise InputError(f"{folder} holds no data set{unfinished}; omr-data build --out {folder} --size N makes one")
    return datasets.load_from_disk(str(folder))


def digest(folder: Path) -> str:
    """SHA-256 over (filename, transcription, PNG) in order: what "the same data" means."""
    total = hashlib.sha256()
    for split in open_dataset(folder).values():
        for row in split.cast_column("image", datasets.Image(decode=False)):
            total.update(
                row["filename"].encode() + b"\0" + row["transcription"].encode() + b"\0" + row["image"]["bytes"]
            )
    return total.hexdigest()
