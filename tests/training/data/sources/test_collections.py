"""The table of collections is true, and nothing on restricted terms is taken or committed without being asked for."""

from __future__ import annotations

import subprocess
from collections import Counter

import pytest

from tests.source import ROOT
from training.data.dataset.build import Recipe
from training.data.sources.collections import ALL, COLLECTIONS, SCORES, Collection
from training.data.sources.corpus import load_sources, raw_tunes
from training.data.sources.scores import scores
from training.data.sources.splits import Source

OURS = {"tests/data/demo.abc", "tests/data/demo.ly"}  # Beethoven, 1824, typed in for this project
OPT_IN = tuple(collection.name for collection in ALL if collection.opt_in)
MUSIC = (".abc", ".ly", ".krn", ".mxl", ".musicxml", ".mscz", ".mscx", ".mei", ".mid", ".midi")


def counts(sources: list[Source]) -> Counter[str]:
    return Counter(source.name.split("/")[0] for source in sources)


def raw(name: str) -> int:
    """Tunes or lines of a collection."""
    return sum(1 for _ in (scores(name) if name in SCORES else raw_tunes((name,))))


@pytest.mark.parametrize("collection", [c for c in ALL if not c.opt_in], ids=lambda c: c.name)
def test_counts_of_a_collection_are_those_of_the_installed_package(
    collection: Collection, sources: list[Source]
) -> None:
    assert raw(collection.name) == collection.tunes
    assert counts(sources)[collection.name] == collection.used


@pytest.mark.slow
@pytest.mark.parametrize("collection", [c for c in ALL if c.opt_in], ids=lambda c: c.name)
def test_counts_of_a_collection_that_has_to_be_asked_for_are_those_of_the_package(collection: Collection) -> None:
    assert raw(collection.name) == collection.tunes
    assert counts(load_sources(COLLECTIONS + OPT_IN)[0])[collection.name] == collection.used


def test_only_public_domain_music_is_taken_without_being_asked_for() -> None:
    assert all(c.terms.startswith(("public domain", "CC0")) for c in ALL if c.name in Recipe(10).collections)
    assert not set(Recipe(10).collections) & set(OPT_IN)


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git checkout to look at")
def test_no_music_of_others_is_committed() -> None:
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name for name in done.stdout.split() if name.endswith(MUSIC)} == OURS
