"""Builds a data set: excerpts -> pictures -> a Hugging Face `datasets` folder with PDMX-Synth's columns and ours.

Rows are made in shards. A shard depends only on the recipe, its split and its number. It is written under a temporary
name and renamed. An interrupted build continues with the missing shards and ends with the same data set.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from PIL import Image
from tqdm import tqdm

from runtime.abc.staves import write_staves
from runtime.abc.tune import Tune
from runtime.errors import InputError
from runtime.output import write_whole
from training.data.dataset.executor import EXECUTORS
from training.data.degradation.degrade import degrade
from training.data.engraving.engraver import ENGRAVERS, EngraveError, Engraving, as_read, draw_many
from training.data.lines.excerpt import Mix, excerpt_staves
from training.data.sources.collections import COLLECTIONS
from training.data.sources.corpus import load_sources
from training.data.sources.splits import SPLITS, Source

SHARD_ROWS = 250
COLUMNS = datasets.Features(
    {
        "image": datasets.Image(), "transcription": datasets.Value("string"), "filename": datasets.Value("string"),
        "symbols": datasets.Sequence(datasets.Sequence(datasets.Value("int16"))), "origin": datasets.Value("string"),
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
    # Lines that few steps can learn, for comparisons: bars of real tunes in one clef, most of them one note at a time.
    "short": Mix(bars=(1, 2), invented=0.0, clefs=(("treble", 1.0),)),
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

    def __str__(self) -> str:
        return f"rows {self.start} to {self.stop} of {self.split}"

    def path(self, folder: Path) -> Path:
        return folder / f"{self.split}-{self.start:08d}-{self.stop:08d}.parquet"


@dataclass(frozen=True)
class Maker:
    """Makes a shard's file anywhere: forked processes inherit it, a cluster gets a copy."""

    recipe: Recipe
    sources: Mapping[str, Sequence[Source]]  # by split

    def __call__(self, shard: Shard) -> bytes:
        datasets.disable_progress_bars()
        buffer = io.BytesIO()
        rows = make_rows(shard, self.recipe, self.sources[shard.split])
        datasets.Dataset.from_list(rows, features=COLUMNS).to_parquet(buffer)
        return buffer.getvalue()


def build(
    out: Path, recipe: Recipe, workers: int | None = None, executor: str = "local", address: str | None = None
) -> dict[str, Any]:
    """Build the data set in folder `out`, or continue a build. The result doesn't depend on where it is made.

    Returns:
        A summary: rows by split, digest, what the corpus left out.

    Raises:
        InputError: the folder holds something else.
        OmrError: a worker died; the same command continues.
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
        wide = MIXES[recipe.mix].wide
        fitting = [source for source in sources if wide or source.simple]
        by_split = {split: [source for source in fitting if source.split == split] for split in recipe.rows()}
        finished = EXECUTORS.get(executor).run(missing, Maker(recipe, by_split), workers, address)
        write_shards(finished, work, sum(shard.stop - shard.start for shard in missing))
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


def write_shards(finished: Generator[tuple[Shard, bytes], None, None], work: Path, rows: int) -> None:
    """Write each shard's file as it gets done."""
    tqdm.monitor_interval = 0  # a thread that could hold a lock while a process is forked
    with closing(finished), tqdm(total=rows, unit="picture", desc="engraving") as bar:
        for shard, content in finished:
            write_whole(shard.path(work), content)
            bar.update(shard.stop - shard.start)


@dataclass(frozen=True)
class Job:
    """A row to draw: its number, staves, where the music comes from, and what draws its style."""

    index: int
    staves: list[Tune]
    origin: str
    rng: np.random.Generator


def make_rows(shard: Shard, recipe: Recipe, sources: Sequence[Source]) -> list[dict[str, Any]]:
    """A shard's rows. Excerpt, engraver and style of each row follow from the recipe's seed and the row's number."""
    rows: dict[int, dict[str, Any]] = {}
    mix = MIXES[recipe.mix]
    split_number = [name for name, _ in SPLITS].index(shard.split)
    for attempt in range(20):
        missing = [index for index in range(shard.start, shard.stop) if index not in rows]
        jobs: dict[str, list[Job]] = {}
        for index in missing:
            rng = np.random.default_rng((recipe.seed, split_number, index, attempt))
            staves, origin = excerpt_staves(sources, int(rng.integers(2**60)), index, mix)
            name = recipe.engravers[int(rng.integers(len(recipe.engravers)))]
            if staves:
                jobs.setdefault(name, []).append(Job(index, staves, origin, rng))
        for name, wanted in jobs.items():
            drawn = draw_many(ENGRAVERS.get(name), [j.staves for j in wanted], [j.rng for j in wanted], mix.clutter)
            for job, engraving in zip(wanted, drawn, strict=True):
                if engraving is not None:
                    filename = f"{shard.split}/{job.index:07d}-{name}.png"
                    rows[job.index] = make_row(job, engraving, filename, recipe.degrade)
        if len(rows) == shard.stop - shard.start:
            return [rows[index] for index in range(shard.start, shard.stop)]
    raise EngraveError(f"engravers {recipe.engravers} drew none of 20 excerpts for some rows of {shard}")


def make_row(job: Job, engraving: Engraving, filename: str, preset: str) -> dict[str, Any]:
    """One row of the data set. If the picture is degraded, the places of its symbols move along."""
    picture, x_map = degrade(engraving.image, preset, job.rng)
    if picture.shape[0] != engraving.image.shape[0]:
        picture = as_read(picture)
    symbols = [list(row) for row in engraving.symbols] if picture.shape == engraving.image.shape else []
    if symbols and preset != "clean":
        places = x_map(np.array([row[1] for row in symbols], np.float64))
        symbols = [[row[0], round(float(x)), *row[2:]] for row, x in zip(symbols, places, strict=True)]
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    image = {"bytes": buffer.getvalue(), "path": None}
    return {
        "image": image, "transcription": write_staves(job.staves), "filename": filename, "symbols": symbols,
        "origin": job.origin,
    }  # fmt: skip


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
