"""Registries: one file an entry, its name the file's name; listing imports nothing, errors are one sentence."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from runtime.errors import MissingExtraError, OmrError, OtherSystemError, UnavailableError
from runtime.registry import SYSTEMS, Registry
from tests.source import ROOT, Source, project, registries

OURS = registries()
ENTRIES = [(package, name) for package in OURS for name in Registry(package, *OURS[package]).names()]
HERE = SYSTEMS.get(platform.system(), platform.system())
KNOWN = "apple, banana, cherry, damson, elder, fig, grape"


@pytest.fixture
def fruit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """A registry of our own: apple works, the others each fail in their way."""
    folder = tmp_path / "fruit_room" / "fruits"
    folder.mkdir(parents=True)
    files = {
        "__init__": "",
        "_helper": "raise AssertionError('a helper is no entry')",
        "apple": "FRUIT = 'an apple'",
        "banana": "EXTRA = 'tropical'\nimport no_such_distribution.core\nFRUIT = 'a banana'",
        "cherry": "import no_such_distribution",
        "damson": "import training.no_such_module",
        "fig": "SYSTEM = 'Plan9'\nEXTRA = 'tropical'\nimport no_such_distribution",
        "grape": f"SYSTEM = {platform.system()!r}\nFRUIT = 'a grape'",
        "elder": "EXTRA = 'tropical'\nraise AssertionError('imported')",
    }
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("fruit_room")]:
        monkeypatch.delitem(sys.modules, name)
    return Registry("fruit_room.fruits", "FRUIT", "fruit")


def test_listing_names_imports_no_entry(fruit: Registry) -> None:
    assert fruit.names() == KNOWN.split(", ")
    assert not [name for name in sys.modules if name.startswith("fruit_room.fruits.")]


def test_an_entry_is_the_attribute_of_its_file(fruit: Registry) -> None:
    assert fruit.get("apple") == "an apple"


@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("appel", OmrError, f"no fruit called 'appel'; did you mean 'apple'? (known: {KNOWN})"),
        ("xyz", OmrError, f"no fruit called 'xyz' (known: {KNOWN})"),
        ("banana", MissingExtraError, "fruit 'banana' needs no_such_distribution: pip install -e '.[tropical]'"),
        ("fig", OtherSystemError, f"fruit 'fig' runs on Plan9 alone, this is {HERE}; choose another one"),
        ("cherry", MissingExtraError, "fruit 'cherry' needs no_such_distribution: pip install no_such_distribution"),
    ],
)
def test_a_wrong_name_or_a_missing_extra_is_one_sentence(
    fruit: Registry, name: str, kind: type[OmrError], message: str
) -> None:
    with pytest.raises(kind) as caught:
        fruit.get(name)
    assert str(caught.value) == message


def test_an_entry_of_this_system_is_got(fruit: Registry) -> None:
    assert fruit.get("grape") == "a grape"


def test_an_entry_that_is_broken_is_not_called_a_missing_extra(fruit: Registry) -> None:
    with pytest.raises(ModuleNotFoundError, match="training.no_such_module"):
        fruit.get("damson")


def test_one_broken_entry_leaves_its_neighbours_alone(fruit: Registry) -> None:
    with pytest.raises(AssertionError, match="imported"):
        fruit.get("elder")
    assert fruit.get("apple") == "an apple"


def test_the_projects_registries_are_found() -> None:
    assert {"training.backbones", "training.data.engraving.engravers", "runtime.engines"} <= set(OURS)


@pytest.mark.parametrize(("package", "name"), ENTRIES)
def test_every_entry_loads_or_names_the_extra_it_needs(package: str, name: str) -> None:
    attribute, noun = OURS[package]
    try:
        entry = Registry(package, attribute, noun).get(name)
    except UnavailableError as error:
        assert str(error).startswith((f"{noun} {name!r} needs ", f"{noun} {name!r} runs on "))
    else:
        assert entry is not None


@pytest.mark.parametrize(("package", "name"), ENTRIES)
def test_every_entry_says_what_it_is_and_names_an_extra_that_exists(package: str, name: str) -> None:
    source = Source(ROOT, ROOT / package.replace(".", "/") / f"{name}.py")
    assert source.summary.endswith("."), f"{source.name} needs a docstring that begins with a sentence: tables print it"
    extra = source.extra()
    assert extra is None or extra in project()["optional-dependencies"]
