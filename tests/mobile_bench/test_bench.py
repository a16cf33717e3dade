"""Figures are of real runs, carry what made them, and mistakes are one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mobile_bench import report
from mobile_bench.__main__ import main
from mobile_bench.device import DEVICES
from mobile_bench.timing import Timing, measure
from mobile_bench.worker import Task, perform, place
from runtime.bundle.manifest import Bundle
from runtime.errors import OmrError, run_command


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A staff with some noteheads, 8 px from line to line."""
    picture = np.full((160, 700), 255, np.uint8)
    for y in range(60, 100, 8):
        cv2.line(picture, (40, y), (660, y), 0, 1)
    for x in range(90, 640, 60):
        cv2.ellipse(picture, (x, 76), (5, 4), 0, 0, 360, 0, -1)
    cv2.imwrite(str(tmp_path / "page.png"), picture)
    return tmp_path / "page.png"


def test_warm_up_runs_do_not_count() -> None:
    calls: list[int] = []
    timing = measure(lambda: calls.append(1), runs=30, warm_up=7)
    assert len(calls) == 37 and timing.runs == 30
    assert 0 <= timing.min_ms <= timing.median_ms <= timing.p90_ms


def test_a_timing_is_in_milliseconds() -> None:
    assert Timing.of([0.001 * n for n in range(1, 11)]) == Timing(5.5, 9.1, 1.0, 10)


def test_peak_memory_never_falls() -> None:
    """In a process of its own: one that once held more would not see the block."""
    code = (
        "import numpy as np; from mobile_bench.timing import peak_memory_mb as peak; before = peak(); "
        "block = np.ones(8_000_000); grown = peak(); del block; print(before, grown, peak())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, grown, after = map(float, done.stdout.split())
    assert grown >= before + 50
    assert after >= grown - 2  # Linux counts pages in batches, a few late


def test_every_case_is_timed_and_every_node_has_a_provider(bundle: Bundle) -> None:
    row = perform(Task(str(bundle.folder), "onnx", "fp32", 2, 30))
    assert list(row["cases"]) == ["load", "encode_64", "decode_8"]
    assert [timing["runs"] for timing in row["cases"].values()] == [3, 30, 30]
    assert all(timing["min_ms"] > 0 for timing in row["cases"].values())
    for graph in ("encode", "decode"):
        assert list(row["placement"][graph]) == ["CPUExecutionProvider"]
        assert row["placement"][graph]["CPUExecutionProvider"] >= 5
    assert row["peak_mb"] >= row["idle_mb"] > 10


def test_nodes_have_a_provider_where_each_bucket_has_its_graph(bundle: Bundle) -> None:
    files = {"encode_32": "encoder.onnx", "encode_64": "encoder.onnx", "decode_8": "decoder.onnx"}
    artifact = replace(bundle.manifest.artifacts[0], files=files)
    assert place(bundle, artifact, 1) == place(bundle, bundle.manifest.artifacts[0], 1)


def test_a_run_leaves_a_file_and_ends_with_a_line_of_json(
    bundle: Bundle, page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results"
    call = ["run", str(bundle.folder), "--out", str(out), "--threads", "1", "--page", str(page)]
    assert main(call) == 0
    printed = capsys.readouterr().out.strip().splitlines()
    last = json.loads(printed[-1])
    assert printed[0].startswith("| bundle | device | precision | threads | case | median ms")
    (stored,) = report.load(out)
    assert last["files"] == [str(path) for path in out.iterdir()]
    assert stored["label"] == "measured" and stored["date"].endswith("+00:00")
    assert {"onnxruntime", "numpy", "python"} <= set(stored["tools"])
    assert {"processor", "cores", "system"} <= set(stored["machine"])
    assert stored["bundle"]["bytes"]["decoder.onnx"] > 1000
    (row,) = stored["rows"]
    assert (row["precision"], row["threads"]) == ("fp32", 1)
    assert {name: timing["runs"] for name, timing in row["cases"].items() if name != "load"} == {
        "encode_64": 30, "decode_8": 30, "page": 30
    }  # fmt: skip
    assert last["results"][0]["median_ms"]["fp32/1/page"] == row["cases"]["page"]["median_ms"]


def stored(precision: str, decode_ms: float, date: str = "2026-01-01T00:00:00+00:00", case: str = "decode_256") -> Any:
    timing = {"median_ms": decode_ms, "p90_ms": decode_ms, "min_ms": decode_ms, "runs": 30}
    row = {"target": "onnx", "precision": precision, "threads": 1, "cases": {case: timing}, "peak_mb": 99.0}
    row["placement"] = {"decode": {"CPUExecutionProvider": 9}}
    machine = {"processor": "an abacus", "instructions": ["beads"]}
    head = {"schema": 1, "date": date, "label": "measured", "device": "host", "tools": {"onnxruntime": "1.0"}}
    return {**head, "machine": machine, "bundle": {"name": "tiny"}, "rows": [row]}


def write(folder: Path, name: str, content: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(content))
    return folder / name


def test_compare_gives_the_ratio_of_the_medians(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = write(tmp_path, "a.json", stored("fp32", 4.0)), write(tmp_path, "b.json", stored("fp32", 1.0))
    assert main(["compare", str(a), str(b)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert "| fp32 | 1 | decode_256 | 4.00 | 1.00 | 0.25x |" in printed
    assert json.loads(printed[-1])["ratios"][0]["ratio"] == 0.25


def test_two_precisions_are_compared_across(tmp_path: Path) -> None:
    rows = report.ratios([stored("fp32", 4.0)], [stored("int8", 2.0)])
    assert [(row["case"], row["ratio"]) for row in rows] == [("decode_256", 0.5)]


def test_of_a_folder_the_newest_result_is_compared(tmp_path: Path) -> None:
    write(tmp_path / "b", "x.json", stored("fp32", 3.0, "2026-02-02T00:00:00+00:00"))
    write(tmp_path / "b", "y.json", stored("fp32", 9.0, "2026-01-01T00:00:00+00:00"))
    assert report.ratios([stored("fp32", 3.0)], report.load(tmp_path / "b"))[0]["ratio"] == 1.0


def test_a_report_tells_machine_tools_and_placement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, "a.json", stored("int8", 2.5))
    assert main(["report", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "| tiny | host | int8 | 1 | decode_256 | 2.50 | 2.50 | 2.50 | 30 | 99.0 | measured |" in printed
    assert "processor an abacus, instructions beads; onnxruntime 1.0; nodes ran on CPUExecutionProvider" in printed


def test_devices_are_listed_with_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == DEVICES.names()
    assert any(line.startswith("host: processor ") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--runs", "5"], "--runs is 5; fewer than 30"),
        (["--threads", "0"], "--threads is 0; expected 1 or more"),
        (["--device", "hots"], "no device called 'hots'; did you mean 'host'?"),
        (["--precision", "int3"], "holds no onnx at precision 'int3'; choose from onnx fp32"),
        (["--page", "nowhere.png"], "nowhere.png is no file"),
    ],
)
def test_a_mistake_is_one_sentence(
    bundle: Bundle, arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["run", str(bundle.folder), "--out", str(tmp_path / "results"), *arguments]
    assert run_command(lambda: main(call)) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "results").exists()


def test_a_page_without_music_is_one_sentence(
    bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "blank.png"), np.full((200, 200), 255, np.uint8))
    call = ["run", str(bundle.folder), "--out", str(tmp_path / "r"), "--threads", "1"]
    assert run_command(lambda: main([*call, "--page", str(tmp_path / "blank.png")])) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: timing ") and "no staff of five lines" in error
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("content", ["no json", "[]", '{"schema": 7}'])
def test_what_holds_no_results_is_one_sentence(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(OmrError, match="holds no results"):
        report.load(tmp_path)
    with pytest.raises(OmrError, match="holds no results"):
        report.load(tmp_path / "missing")


def test_results_without_a_common_case_are_not_compared() -> None:
    with pytest.raises(OmrError, match="no case in common"):
        report.ratios([stored("fp32", 1.0)], [stored("fp32", 1.0, case="decode_512")])
