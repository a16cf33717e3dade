"""What a person sees of a data set is what stands in it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runtime.bundle.tokenizer import AtomTokenizer, BpeTokenizer
from runtime.errors import run_command
from training.data.__main__ import main
from training.data.dataset.build import Recipe, build, digest, open_dataset
from training.data.inspection.sheet import again, contact_sheet
from training.data.inspection.stats import histogram
from training.data.sources.corpus import Source

SIZE = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, sources: list[Source]) -> Path:
    """A small data set of real and invented lines."""
    folder = tmp_path_factory.mktemp("look") / "data"
    build(folder, Recipe(SIZE, seed=8), workers=1)
    return folder


@pytest.fixture(scope="module")
def tokenizer(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    BpeTokenizer.train(open_dataset(data)["train"]["transcription"], 400).save(path)
    return path


def test_a_line_says_which_tune_of_its_split_it_comes_from(data: Path, sources: list[Source]) -> None:
    splits = {source.name: source.split for source in sources}
    origins = {(split, row) for split, rows in open_dataset(data).items() for row in rows["origin"]}
    real = {(split, name) for split, name in origins if name != "invented"}
    assert len(real) > 20 and len(origins) > len(real)
    assert all(splits[name] == split for split, name in real)


def test_figures_are_those_of_the_rows(data: Path, tokenizer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stats", str(data), "--tokenizer", str(tokenizer)]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out.splitlines()[-1])
    assert found["digest"] == digest(data)
    atoms, bpe = AtomTokenizer(), BpeTokenizer.train(open_dataset(data)["train"]["transcription"], 400)
    for name, split in open_dataset(data).items():
        lines = [atoms.texts(atoms.encode(text)) for text in split["transcription"]]
        figures = found["splits"][name]
        assert figures["symbols"] == Counter(atom for line in lines for atom in line)
        assert figures["lines_with_atom"]["|"] == sum("|" in line for line in lines)
        assert figures["atoms"]["p100"] == max(map(len, lines))
        assert figures["width_px"]["p100"] == max(image.size[0] for image in split["image"])
        assert figures["tokens"]["p50"] == np.median([len(bpe.encode(text)) for text in split["transcription"]])
        assert sum(figures["origins"].values()) == figures["rows"] == len(split)
        assert set(figures["origins"]) <= {"invented", "oneills1850", "airdsAirs", "ryansMammoth"}
    assert "tokens of --tokenizer" in said.err and "oneills1850" in said.err


def test_bars_of_a_histogram_are_as_long_as_their_counts() -> None:
    title, *rows = histogram("px", [10] * 40 + [11] * 20 + [14]).splitlines()
    assert title == "px" and [int(row.split()[-1]) for row in rows] == [40, 20, 0, 1]
    assert [row.count("█") for row in rows] == [40, 20, 0, 1]


def test_figures_are_drawn_as_a_picture(data: Path, tmp_path: Path) -> None:
    assert main(["stats", str(data), "--plot", str(tmp_path / "figures.png")]) == 0
    picture = np.array(Image.open(tmp_path / "figures.png").convert("L"))
    assert picture.shape == (1100, 1600) and (picture < 255).mean() > 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["stats", "--plot", "figures.xyz"], "'figures.xyz' is no name for a picture"),
        (["stats", "--tokenizer", "none.json"], "none.json is not a tokenizer"),
        (["show", "--split", "dev"], "has no split 'dev'"),
        (["stats", "--plot", "none.json/figures.png"], "figures.png can't be written"),
        (["show", "--rows", "0"], "--rows 0 is too small"),
        (["show", "-o", "sheet.xyz"], "'sheet.xyz' is no name for a picture"),
    ],
)
def test_mistakes_are_one_sentence(
    options: list[str], message: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "none.json").write_text("{}")
    assert run_command(lambda: main([options[0], str(data), *options[1:]])) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ") and message in last


def test_a_sheet_holds_each_picture_and_what_its_label_says(data: Path, tmp_path: Path) -> None:
    contact_sheet(data, "train", "clean", tmp_path / "sheet.png", count=3)
    sheet = np.array(Image.open(tmp_path / "sheet.png").convert("RGB"))[..., ::-1]
    rows = open_dataset(data)["train"].select(range(3))
    for row in rows:
        drawn = again(row["transcription"])
        tops = [top for top in range(len(sheet) - 95) if (sheet[top : top + 96, : drawn.shape[1]] == drawn).all()]
        assert len(tops) == 1
        above = sheet[tops[0] - 96 : tops[0], : row["image"].size[0]]
        unmarked = above[6:].max(axis=2) == np.array(row["image"])[6:]
        assert unmarked.mean() > 0.95


def test_another_label_is_drawn_differently_and_a_broken_one_is_said_to_be() -> None:
    first, second = again("X:1\nL:1/8\nK:C clef=treble\nABc dfe|"), again("X:1\nL:1/8\nK:C clef=treble\nABc dfg|")
    assert first.shape != second.shape or (first != second).any()
    assert len(again("nothing that could be read")) < 96
