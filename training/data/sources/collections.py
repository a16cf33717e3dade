"""The collections of tunes that data sets are made of: where they come from, on what terms, and how many there are.

All are read from the installed package music21 (10.5); none is copied into the project. To add a collection, add a row.
They are loaded in this order, and of two versions of a tune the first stays.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import MissingExtraError


@dataclass(frozen=True)
class Collection:
    """One folder of music21's corpus.

    Attributes:
        name: of the folder.
        terms: what may be done with the music.
        note: what it is and who typed it in.
        tunes: in the folder.
        used: in scope of one staff, and no repeat of another (test_collections.py counts again).
        opt_in: left out unless it is asked for; the shipped weights have seen none of these.
    """

    name: str
    terms: str
    note: str
    tunes: int
    used: int
    opt_in: bool = False


ALL = (
    Collection(
        "oneills1850", "public domain",
        "O'Neill's *Music of Ireland*, printed 1903; typed in by Norbert Paap and others", 2009, 1895,
    ),
    Collection(
        "airdsAirs", "public domain",
        "Aird's *Selection of Scotch, English, Irish and Foreign Airs*, printed 1778 to 1801; typed in by Jack Campin",
        1180, 1154,
    ),
    Collection(
        "ryansMammoth", "public domain", "*Ryan's Mammoth Collection*, printed 1883; typed in by Ray Davies and others",
        1059, 890,
    ),
    Collection(
        "essenFolksong", "non-commercial use only, further rights unclear",
        "the Essen folk songs; ABC by Seymour Schlien, licence in the folder's license.txt", 8514, 8252, opt_in=True,
    ),
    Collection(
        "scores", "CC0, public domain or CC BY, as each file states (training/data/sources/scores.py)",
        "MusicXML by M. S. Cuthbert (works by Johnson, Liliuokalani, Lusitano; Corelli under CC BY), O. Seely (Weber) "
        "and Wikifonia (Foster); lines of one staff", 21, 21,
    ),
    Collection(
        "scores_unclear", "terms not stated, unclear, or share-alike (CC BY-SA), as each file states",
        "MusicXML and MuseData by many: Bach, Monteverdi, Trecento, Schubert, Joplin and others; no string quartets",
        2385, 2118, opt_in=True,
    ),
)  # fmt: skip
SCORES = ("scores", "scores_unclear")
COLLECTIONS = tuple(collection.name for collection in ALL if not collection.opt_in)


def corpus_folder() -> Path:
    """The corpus folder of the installed music21 package, without importing music21."""
    spec = importlib.util.find_spec("music21")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("the tunes come from the package music21: pip install -e '.[train]'")
    return Path(next(iter(spec.submodule_search_locations))) / "corpus"
