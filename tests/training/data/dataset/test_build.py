"""omr-data build: what is interrupted goes on, and ends with the same data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from runtime.bundle.tokenizer import AtomTokenizer, load_tokenizer
from runtime.errors import InputError
from training.data.__main__ import main
from training.data.dataset.build import Recipe, build, digest, open_dataset

SIZE = 560  # three shards of the train split, one each of the others


def command(folder: Path, *options: str) -> list[str]:
    start = [sys.executable, "-m", "training.data", "build", "--out", str(folder), "--size", str(SIZE)]
    return [*start, "--seed", "4", "--mix", "invented", "--workers", "1", *options]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data set that was built without interruption, and its digest."""
    folder = tmp_path_factory.mktemp("data") / "whole"
    done = subprocess.run(command(folder), capture_output=True, text=True, check=True)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["rows"] == {"train": 504, "val": 28, "test": 28}
    return folder, summary["digest"]


def test_a_killed_build_goes_on_and_ends_with_the_same_data(whole: tuple[Path, str], tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    process = subprocess.Popen(command(folder), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    while not list((folder / ".shards").glob("*.parquet")) and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert list((folder / ".shards").glob("*.parquet")) and not (folder / "dataset_dict.json").exists()
    with pytest.raises(InputError, match="interrupted"):
        open_dataset(folder)
    subprocess.run(command(folder), capture_output=True, check=True)
    assert digest(folder) == whole[1]


def test_building_again_changes_nothing(whole: tuple[Path, str]) -> None:
    again = build(whole[0], Recipe(SIZE, seed=4, mix="invented"), workers=1)
    assert again["digest"] == whole[1]


def test_rows_have_the_columns_of_pdmx_synth_and_labels_that_read_back(whole: tuple[Path, str]) -> None:
    split = open_dataset(whole[0])["test"]
    assert split.column_names[:3] == ["image", "transcription", "filename"]
    atoms = AtomTokenizer()
    for row in split:
        assert atoms.decode(atoms.encode(row["transcription"])) == row["transcription"]
        assert row["image"].size[1] == 96 and row["symbols"]


def test_a_folder_with_something_else_in_it_is_refused(whole: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="no data set of ours"):
        build(tmp_path, Recipe(10, mix="invented"))
    with pytest.raises(InputError, match="another recipe"):
        build(whole[0], Recipe(SIZE, seed=5, mix="invented"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engraver", "verovi"], "did you mean 'verovio'"),
        (["--mix", "x"], "no mix called 'x'"),
        (["--splits", "dev"], "no split called 'dev'"),
        (["--degrade", "foto"], "no degradation preset called 'foto'"),
        (["--executor", "rya"], "no executor called 'rya'; did you mean 'ray'? (known: local, ray)"),
        (["--address", "head:6379"], "executor 'local' takes no --address"),
    ],
)
def test_mistakes_are_one_sentence(options: list[str], message: str, tmp_path: Path) -> None:
    done = subprocess.run(command(tmp_path / "new", *options), capture_output=True, text=True)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "new").exists()


def test_a_contact_sheet_figures_and_a_tokenizer_come_from_a_data_set(
    whole: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(whole[0])
    assert main(["show", folder, "--split", "test", "--degrade", "train", "-o", str(tmp_path / "sheet.png")]) == 0
    assert (tmp_path / "sheet.png").stat().st_size > 20_000
    assert main(["stats", folder]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["digest"] == whole[1] and found["splits"]["train"]["lines_with_atom"]["|"] > 300
    assert main(["tokenizer", folder, "--size", "400", "-o", str(tmp_path / "tokenizer.json")]) == 0
    line = open_dataset(whole[0])["test"][0]["transcription"]
    bpe = load_tokenizer(tmp_path / "tokenizer.json")
    assert bpe.decode(bpe.encode(line)) == line
    assert len(bpe.encode(line)) < len(AtomTokenizer().encode(line))
