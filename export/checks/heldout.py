"""200 lines that come with the project, and that neither training nor calibration has seen. An exported model reads
them before it is written.

They are engraved from tunes of the test split, with one to eight bars, the whole notation, and clutter: 150 clean ones
and 50 as a phone's camera sees them, as `omr-data build --mix heldout` makes them. Lines longer than `LONGEST` are left
out, because the reader cuts those; a model that reads them whole may repeat itself, which says nothing about a
precision. They are stored 96 px high and not prepared, so they suit every checkpoint. To make `heldout.parquet` again,
run

    python -m export.checks.heldout
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from runtime.output import write_whole
from training.data.dataset.build import Recipe, Shard, make_rows
from training.data.sources.corpus import load_sources

FILE = Path(__file__).with_name("heldout.parquet")
SPLIT = "test"
LONGEST = 2000  # px; `pocket`'s widest bucket is 2,048 px
RECIPES = {  # how many lines of each; their seeds are used nowhere else
    Recipe(160, 6001, mix="heldout", splits=(SPLIT,)): 150,
    Recipe(55, 6002, mix="heldout", splits=(SPLIT,), degrade="phone"): 50,
}


class Line(NamedTuple):
    """An encoded picture and its label."""

    picture: bytes
    abc: str


def lines() -> list[Line]:
    """The shipped lines in an order in which any beginning holds both kinds."""
    table = pq.read_table(FILE)
    pairs = zip(table["image"].to_pylist(), table["transcription"].to_pylist(), strict=True)
    return [Line(picture, abc) for picture, abc in pairs]


def engraved(recipe: Recipe, limit: int | None = None) -> list[tuple[Image.Image, str]]:
    """The lines of a recipe that aren't too long, made from its seed, with their labels.

    Args:
        limit: rows of the recipe to make, from the first.
    """
    sources, _ = load_sources(recipe.collections)
    rows = make_rows(Shard(SPLIT, 0, limit or recipe.size), recipe, [one for one in sources if one.split == SPLIT])
    pictures = [Image.open(io.BytesIO(row["image"]["bytes"])) for row in rows]
    pairs = zip(pictures, rows, strict=True)
    return [(picture.convert("L"), row["transcription"]) for picture, row in pairs if picture.width <= LONGEST]


def mixed(groups: list[list[Line]]) -> list[Line]:
    """The groups' lines spread evenly over one another."""
    places = [((place + 0.5) / len(group), line) for group in groups for place, line in enumerate(group)]
    return [line for _, line in sorted(places, key=lambda item: item[0])]


def compact(picture: Image.Image) -> bytes:
    """Its grey values in fewer bytes than PNG takes; a second a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", lossless=True, quality=100, method=6)
    return buffer.getvalue()


def main() -> None:
    groups = [engraved(recipe)[:number] for recipe, number in RECIPES.items()]
    made = mixed([[Line(compact(picture), abc) for picture, abc in group] for group in groups])
    buffer = io.BytesIO()
    columns = zip(*made, strict=True)
    pq.write_table(pa.table(dict(zip(("image", "transcription"), map(list, columns), strict=True))), buffer)
    write_whole(FILE, buffer.getvalue())
    print(f"{len(made)} lines, {len(buffer.getvalue()) / 1e6:.2f} MB: {FILE}")


if __name__ == "__main__":
    main()
