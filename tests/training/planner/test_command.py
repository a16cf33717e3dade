"""`omr-train plan`: what it says adds up, what it recommends loads and fits, what it can't take is one sentence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runtime.errors import run_command
from tests.source import ROOT
from tests.training.study import STUDY
from training.__main__ import main
from training.config import Config, TechniqueConfig, load_config
from training.loading.batches import make_preparation
from training.loop.parameter_counts import count_parameters
from training.planner import advice, tiers
from training.planner.advice import GB, Wish, estimate, most
from training.planner.command import difference
from training.planner.ledger import PARTS
from training.planner.tiers import BEST, MIDDLE, PUBLISHED, SMALLEST, candidates

DEBUG = str(ROOT / "configs" / "debug.yaml")
# Small in parameters, too large for 8 GB in its activations.
FEW = ["n_decoder_layers=1", "mixers=0", "guide_weight=0"]
LARGE = [DEBUG, *FEW, "--batch", "64", "--height", "320", "--vram", "8", "--width", "1280"]


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[list[str], dict[str, Any]]:
    """The lines of a plan and its JSON."""
    assert main(["plan", *arguments]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    return lines, json.loads(last)


def test_the_studys_configuration_is_planned_without_network_or_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(STUDY)
    lines, found = answer(capsys, str(file), "--width", "448", "--tokens", "128")
    assert found["parameters"] == found["trainable"] == count_parameters(load_config([file])).total
    assert sum(found["bytes"].values()) == found["total"]
    assert (found["fits"], found["sizes"]["precision"]) == (None, "bf16")
    assert f"{found['total'] / 1e9:.2f} GB  together" in lines[-1]


def test_json_alone_is_one_line_and_without_wishes_for_the_largest_batch(capsys: pytest.CaptureFixture[str]) -> None:
    lines, found = answer(capsys, DEBUG, "--vram", "8", "--json")
    assert lines == []
    assert found["sizes"] == {
        "lines": 2, "height": 96, "width": 1280, "tokens": 256, "precision": "fp32", "batches": 1
    }  # fmt: skip
    assert found["fits"]
    assert found["changes"] == []


def test_what_does_not_fit_gets_changes_that_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "recommended.yaml"
    lines, found = answer(capsys, *LARGE, "-o", str(out))
    assert not found["fits"]
    assert "does not fit in 8 GB" in lines
    given = [*FEW, "batch_size=64", "img_height=320"]
    assert {text.split("=")[0] for change in found["changes"] for text in change["set"]} >= {
        "hardware.precision", "training.batch_size"
    }  # fmt: skip
    for change in found["changes"]:
        changed = load_config([Path(DEBUG)], [*given, *change["set"]])
        assert estimate(changed, Wish()).total == change["total"] <= 8e9
    recommended = load_config([out])
    assert recommended == load_config([Path(DEBUG)], [*given, *found["recommended"]["set"]])
    assert estimate(recommended, Wish()).fits(8)


def test_narrower_pictures_are_proposed_where_they_make_it_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a plan that takes a GB for every 100 px, 9 GB hold the buckets up to 896."""

    def planned(config: Config, _wish: Wish) -> Any:
        width = make_preparation(config).width_buckets[-1]
        return SimpleNamespace(config=config, total=width * 10**7, fits=lambda gb: width * 10**7 <= gb * GB)

    monkeypatch.setattr(advice, "estimate", planned)
    found = list(advice.changes(load_config([Path(DEBUG)]), Wish(), 9))
    assert [max(each.config.data.width_buckets) for each in found] == [896]


@pytest.mark.parametrize(
    ("gb", "checkpointing", "technique"),
    [(13, "none", "lora"), (11, "none", "qlora"), (9, "decoder", "qlora"), (7, "all", "lora"), (3, None, None)],
)
def test_the_recommendation_computes_twice_where_nothing_else_fits(
    gb: float, checkpointing: str | None, technique: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With plans of 12, 10 and 6 GB for one line, 2 GB less with quantised weights."""

    def planned(config: Config, _wish: Wish) -> Any:
        kept = {"none": 12, "decoder": 10, "all": 6}[config.hardware.gradient_checkpointing]
        total = (kept - 2 * (config.technique.name == "qlora")) * GB
        return SimpleNamespace(config=config, total=total)

    monkeypatch.setattr(advice, "estimate", planned)
    monkeypatch.setattr(tiers, "estimate", planned)
    config = replace(load_config([Path(DEBUG)]), technique=TechniqueConfig("lora", rank=8))
    found = tiers.recommend(config, Wish(), gb)
    assert (found and found.config.hardware.gradient_checkpointing) == checkpointing
    assert (found and found.config.technique.name) == technique


@pytest.mark.parametrize(
    ("before", "gb", "after"),
    [("none", 9, ["all"]), ("none", 11, ["decoder", "all"]), ("decoder", 9, ["all"]), ("all", 5, [])],
)
def test_gradient_checkpointing_is_proposed_where_it_makes_it_fit(
    before: str, gb: float, after: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a plan of 12, 10 and 6 GB, whatever else changes."""

    def planned(config: Config, _wish: Wish) -> Any:
        total = {"none": 12, "decoder": 10, "all": 6}[config.hardware.gradient_checkpointing] * GB
        return SimpleNamespace(config=config, total=total, fits=lambda gb: total <= gb * GB)

    monkeypatch.setattr(advice, "estimate", planned)
    config = load_config([Path(DEBUG)], [f"gradient_checkpointing={before}"])
    found = list(advice.changes(config, Wish(), gb))
    assert [each.config.hardware.gradient_checkpointing for each in found] == after
    assert all(difference(config, each.config) == [f"hardware.gradient_checkpointing={where}"]
               for each, where in zip(found, after, strict=True))  # fmt: skip


@pytest.mark.parametrize(
    ("gb", "goal", "first"),
    [
        (8, "memory", (SMALLEST, "qlora")), (15.9, "memory", (SMALLEST, "qlora")), (16, "memory", (MIDDLE, "lora")),
        (24, "memory", (BEST, "full")), (48, "memory", (BEST, "full")), (8, "accuracy", (BEST, "full")),
        (80, "mobile", (SMALLEST, "distill")),
    ],
)  # fmt: skip
def test_the_decision_tree_is_the_studys(gb: float, goal: str, first: tuple[str, str]) -> None:
    config = load_config([ROOT / "configs/backbones/swin_tiny.yaml"], ["technique.name=distill", "teacher=x"])
    backbone, technique = next(candidates(config, gb, goal))
    assert (backbone, technique.name) == first
    assert technique.rank == TechniqueConfig().rank == 8


def test_best_and_middle_are_so_by_the_studys_losses() -> None:
    ranked = sorted(PUBLISHED, key=PUBLISHED.__getitem__)
    assert (ranked[0], ranked[len(ranked) // 2]) == (BEST, MIDDLE)
    sizes = {name: count_parameters(load_config([ROOT / f"configs/backbones/{name}.yaml"])).total for name in PUBLISHED}
    assert min(sizes, key=sizes.__getitem__) == SMALLEST


@pytest.mark.parametrize("limit", [0, 9, 10, 55, 400, 1e6])
def test_the_most_that_fits_is_what_trying_all_would_find(limit: float) -> None:
    def cost(lines: int) -> int:
        return max(10 * lines, 25 * lines - 200, 3 * lines + 7)

    assert most(cost, limit, 64) == max((n for n in range(1, 65) if cost(n) <= limit), default=0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--vram", "7"], "--vram is 7; expected 8 to 80 GB"),
        (["--vram", "81"], "--vram is 81; expected 8 to 80 GB"),
        (["--vram", "nan"], "--vram is nan; expected 8 to 80 GB"),
        (["--batch", "0"], "--batch is 0; expected 1 to 64 lines"),
        (["--batch", "65"], "--batch is 65; expected 1 to 64 lines"),
        (["--height", "96"], "--height is 96; expected 128 to 320 px"),
        (["--height", "321"], "--height is 321; expected 128 to 320 px"),
        (["--width", "2000"], "--width is 2000; expected 1 to 1280 px, the widest of data.width_buckets"),
        (["--tokens", "257"], "--tokens is 257; expected 1 to 256, model.params.max_seq_len"),
        (["-o", "x.yaml"], "--out writes what is recommended for a GPU: give --vram, too"),
        (["--vram", "8", "--goal", "mobile"], "--goal mobile distils: set technique.teacher to a run, a checkpoint or "
         "its configuration"),
        (["vision_model_name=facebook/deit-small-patch16-224", "img_height=100"], "data.img_height is 100; "
         "facebook/deit-small-patch16-224 takes multiples of 16 px"),
        (["technique.name=distill", "teacher=no.yaml"], "configuration no.yaml can't be read: expected a YAML file "
         "such as configs/pocket.yaml"),
        (["hardware.precision=int8"], "hardware.precision is 'int8'; use auto, fp32, bf16 or fp16"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(lambda: main(["plan", DEBUG, *arguments])) == 2
    assert capsys.readouterr() == ("", f"error: {sentence}\n")


def test_a_picture_of_the_parts_is_drawn(tmp_path: Path) -> None:
    from training.planner.plot import COLOURS, draw

    assert set(COLOURS) == {*PARTS, "framework"}
    estimates = {name: estimate(load_config([Path(DEBUG)], [f"batch_size={lines}"]), Wish(128, 9))
                 for name, lines in (("small", 1), ("large", 8))}  # fmt: skip
    draw(estimates, "two models", tmp_path / "parts.png")
    assert (tmp_path / "parts.png").read_bytes().startswith(b"\x89PNG")
