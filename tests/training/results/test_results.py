"""omr-train results: tables and figures from run folders alone; what wasn't measured stays a dash."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from PIL import Image

from runtime.errors import run_command
from training.__main__ import main
from training.results.groups import group_runs
from training.results.page import write_page
from training.results.runs import find_runs

from .made_up import evaluated, write_run, write_sweep

FIGURES = ("12", "13", "14", "16", "20", "21", "22")
TABLES = ("06", "07", "08", "09", "10", "11", "12", "13", "14", "15-decoders")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of a whole made-up sweep of three seeds."""
    folder = tmp_path_factory.mktemp("results")
    assert main(["results", str(write_sweep(folder / "runs")), "--out", str(folder / "out")]) == 0
    return folder / "out"


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / f"table-{name}.csv").read_text(encoding="utf-8"))))


def results(runs: Path, out: Path) -> str:
    """The page about some runs."""
    return write_page(find_runs([runs]), out, out / "results.md")[-1].read_text(encoding="utf-8")


def test_every_table_and_figure_of_the_study_is_written_and_linked(made: Path) -> None:
    page = (made / "results.md").read_text(encoding="utf-8")
    names = [*(f"table-{n}.csv" for n in TABLES), *(f"figure-{n}.png" for n in FIGURES)]
    assert sorted(path.name for path in made.iterdir()) == sorted([*names, "results.md"])
    assert sorted(re.findall(r"\]\(([^)]+)\)", page)) == sorted(names)


@pytest.mark.parametrize("number", FIGURES)
def test_a_figure_is_a_picture_that_isnt_blank(number: str, made: Path) -> None:
    with Image.open(made / f"figure-{number}.png") as picture:
        assert min(picture.size) > 300
        assert len(set(picture.convert("RGB").resize((200, 100)).get_flattened_data())) > 20


@pytest.mark.parametrize("number", TABLES)
def test_every_row_with_a_figure_tells_steps_seeds_data_and_machine(number: str, made: Path) -> None:
    shown = [row for row in rows(made, number) if any(row.get(name) for name in ("SER %", "it/s"))]
    assert shown or number == "11"
    for row in shown:
        assert row["steps"] == "200" and row["seeds"] in ("1, 2, 3", "1")
        assert row["data set"] == "lines 01234567" and row["machine"].startswith("Made-Up 9000")


def test_seeds_make_one_row_with_students_interval(tmp_path: Path) -> None:
    for seed, ser in ((1, 10.0), (2, 12.0), (3, 14.0)):
        write_run(tmp_path / f"s{seed}", ser, seed=seed)
    page = results(tmp_path, tmp_path / "out")
    # Standard deviation 2 over the root of 3, times 4.303, the 97.5 % quantile of two degrees of freedom; the checks
    # of made-up runs add 60 exp(-4).
    [row] = [row for row in rows(tmp_path / "out", "06") if row["backbone"] == "resnet50"]
    assert float(row["SER %"]) == pytest.approx(12 + 1.0989, abs=1e-3)
    assert float(row["SER %, ± (95 %)"]) == pytest.approx(4.303 * 2 / 3**0.5, abs=1e-3)
    assert row["seeds"] == "1, 2, 3" and "13.10 ± 4.97" in page


def test_what_was_not_run_is_a_dash_and_one_seed_has_neither_interval_nor_place(tmp_path: Path) -> None:
    write_run(tmp_path / "only", 10.0)
    page = results(tmp_path, tmp_path / "out")
    table = page.split("### Table 6")[1].split("###")[0]
    [absent] = [line for line in table.splitlines() if line.startswith("| swin_tiny")]
    assert set(absent.split(" | ")[1:-1]) == {"–"}
    [present] = [line for line in table.splitlines() if line.startswith("| resnet50")]
    assert "11.10 |" in present and "±" not in present
    [row] = [row for row in rows(tmp_path / "out", "06") if row["backbone"] == "resnet50"]
    assert row["place by SER"] == "" == row["SER %, ± (95 %)"]


def test_runs_without_a_record_keep_their_cells_empty(tmp_path: Path) -> None:
    write_run(tmp_path / "old", 10.0, record=False)
    results(tmp_path, tmp_path / "out")
    [row] = [row for row in rows(tmp_path / "out", "06") if row["backbone"] == "resnet50"]
    assert row["parameters M"] == "" and float(row["SER %"]) > 10
    assert not (tmp_path / "out" / "figure-14.png").exists()


def test_places_are_given_only_where_intervals_part(tmp_path: Path) -> None:
    sers = {"resnet50": (10.0, 10.2), "swin_tiny": (30.0, 30.2), "vit_small": (9.0, 12.0)}
    for name, values in sers.items():
        for seed, ser in enumerate(values, 1):
            write_run(tmp_path / f"{name}-{seed}", ser, f"vision_model_name={name}", seed=seed)
    results(tmp_path, tmp_path / "out")
    places = {row["backbone"]: row["place by SER"] for row in rows(tmp_path / "out", "06")}
    # vit_small's interval, 19 points to each side, parts from nothing.
    assert (places["resnet50"], places["swin_tiny"], places["vit_small"]) == ("1 to 2", "2 to 3", "")


@pytest.mark.parametrize("pretrained", ["false", "true"])
def test_one_network_under_two_names_is_told_without_pretrained_weights(pretrained: str, tmp_path: Path) -> None:
    for name in ("vit_small", "deit_small"):
        write_run(tmp_path / name, 10.0, f"vision_model_name={name}", f"model.params.pretrained={pretrained}")
    assert ("are one network" in results(tmp_path, tmp_path / "out")) == (pretrained == "false")


def test_adapted_runs_stand_beside_what_they_began_with(made: Path) -> None:
    found = {(r["backbone"], r["technique"]): r for r in rows(made, "08")}
    assert {name for name, _ in found} == {"resnet50", "vit_small"}
    row = found["resnet50", "lora 8"]
    assert float(row["SER % before"]) == pytest.approx(65.0) and 20 < float(row["SER %"]) < 25
    assert float(row["trainable parameters M"]) == pytest.approx(1.23, abs=0.01)
    full = found["resnet50", "full"]
    apart = float(row["SER %"]) - float(full["SER %"])
    assert float(row["SER against full, points"]) == pytest.approx(apart, abs=1e-3)
    assert full["SER against full, points"] == ""


def test_a_pair_of_distillation_is_found_by_its_settings(made: Path) -> None:
    models = [(row["model"], row["backbone"], row["seeds"]) for row in rows(made, "10")]
    seeds = "1, 2, 3"
    assert models == [
        ("teacher", "convnext_tiny", seeds),
        ("student alone", "mobilevit_s", seeds),
        ("student taught", "mobilevit_s", seeds),
    ]


def test_quantisation_is_read_from_what_export_wrote(made: Path) -> None:
    found = {row["precision"]: row for row in rows(made, "11")}
    assert float(found["INT8 dynamic"]["SER change, points"]) == pytest.approx(0.6)
    assert found["FP16"]["SER %"] == "" and found["FP32"]["size MB"] == "244"


def test_a_tier_holds_only_what_was_measured_to_fit_on_a_gpu(made: Path, tmp_path: Path) -> None:
    peaks = [{row["backbone"]: row["peak memory GB"] for row in rows(made, name)} for name in ("12", "14")]
    assert [peak["swin_tiny"] for peak in peaks] == ["", "19"]
    assert [peak["vit_small"] for peak in peaks] != ["", ""]
    write_run(tmp_path / "cpu", 10.0, device="cpu")
    results(tmp_path, tmp_path / "out")
    assert all(row["SER %"] == "" for row in rows(tmp_path / "out", "12"))


def test_decoders_of_several_sizes_are_compared(made: Path) -> None:
    found = [(row["backbone"], row["layers"]) for row in rows(made, "15-decoders")]
    assert found == [("resnet50", "2"), ("resnet50", "4"), ("resnet50", "6")]


def test_another_machine_or_data_set_is_another_row(tmp_path: Path) -> None:
    write_run(tmp_path / "gpu", 10.0)
    write_run(tmp_path / "cpu", 11.0, device="cpu", seed=2)
    assert [len(group.runs) for group in group_runs(find_runs([tmp_path]))] == [1, 1]


def test_evaluations_come_before_the_check_at_the_end(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 10.0, "data.degrade=phone")
    evaluated(run, 50.0, "phone")
    [found] = find_runs([run])
    assert found.score("ser", "phone") == 50.0 and found.score("ser", "") == pytest.approx(11.1, abs=0.01)


def test_the_page_says_what_the_runs_are_and_are_not(made: Path) -> None:
    page = (made / "results.md").read_text(encoding="utf-8")
    head = page.split("## Tables")[0]
    assert head.startswith("# Results of 66 runs on a GPU") and "Made-Up 9000 (avx2), PyTorch 2.13.0" in head
    assert "not the published study's figures" in head and "pretrained encoders: no (there yes)" in head
    assert "PDMX-Synth" in head and "Student's t" in head


@pytest.mark.parametrize("name", ["metrics.jsonl", "evaluations.jsonl"])
def test_a_damaged_log_is_named(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", 10.0)
    (run / name).write_text("{\n{}\n")
    assert run_command(lambda: main(["results", str(run), "--out", str(tmp_path / "out")])) == 2
    assert f"line 1 of {run / name} is no JSON" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_runs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(lambda: main(["results", str(tmp_path), "--out", str(tmp_path / "out")])) == 2
    assert f"{tmp_path} holds no run" in capsys.readouterr().err


def test_pictures_lie_beside_a_page_that_is_elsewhere(tmp_path: Path) -> None:
    write_run(tmp_path / "run", 10.0)
    call = ["results", str(tmp_path / "run"), "--out", str(tmp_path / "docs" / "results")]
    assert main([*call, "--page", str(tmp_path / "docs" / "results.md")]) == 0
    links = re.findall(r"\]\(([^)]+)\)", (tmp_path / "docs" / "results.md").read_text(encoding="utf-8"))
    assert "results/figure-12.png" in links and all((tmp_path / "docs" / link).is_file() for link in links)
