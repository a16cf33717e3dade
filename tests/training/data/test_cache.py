"""What is kept between starts is what would be made again, whatever state the cache folder is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.data import cache


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "omr-in-a-phone"


def unexpected() -> list[int]:
    raise AssertionError("made again")


def test_a_value_is_made_once() -> None:
    assert cache.kept("numbers", lambda: [1, 2]) == [1, 2]
    assert cache.kept("numbers", unexpected) == [1, 2]


def test_other_code_makes_its_own_value(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.kept("numbers", lambda: [1, 2])
    monkeypatch.setattr(cache, "fingerprint", lambda: "other")
    assert cache.kept("numbers", lambda: [3]) == [3]


@pytest.mark.parametrize("file", ["runtime/abc/tune.py", "training/data/sources/musicxml/lines.py"])
def test_the_fingerprint_follows_the_source(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    (tmp_path / file).parent.mkdir(parents=True)
    for text in ("a = 1", "a = 2", "a = 1"):
        (tmp_path / file).write_text(text)
        found.append(cache.fingerprint.__wrapped__())
    assert found[0] == found[2] != found[1]


def test_a_damaged_file_is_made_again(folder: Path) -> None:
    cache.kept("numbers", lambda: [1, 2])
    [path] = folder.iterdir()
    path.write_bytes(path.read_bytes()[:-3])
    assert cache.kept("numbers", lambda: [1, 2]) == [1, 2]
    assert cache.kept("numbers", unexpected) == [1, 2]


def test_a_place_that_takes_no_folder_only_costs_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert cache.kept("numbers", lambda: [1, 2]) == [1, 2]


def test_only_the_newest_versions_stay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(cache.VERSIONS + 3):
        monkeypatch.setattr(cache, "fingerprint", lambda number=number: f"code{number:02d}")
        cache.kept("numbers", lambda: [1])
    assert len(list(folder.iterdir())) == cache.VERSIONS
