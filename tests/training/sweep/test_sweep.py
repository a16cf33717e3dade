"""omr-train sweep: runs from one file, each in its own process; what is done is left, what was stopped goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from runtime.errors import OmrError, run_command
from tests.source import ROOT
from training.__main__ import main
from training.sweep.estimate import seconds_left
from training.sweep.plan import Job, read_sweep
from training.sweep.scheduler import Work

SWEEPS = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))
COMMON = {
    "model": {"params": {"pretrained": False, "d_model": 16, "n_heads": 2, "n_decoder_layers": 1, "d_ff": 32,
                         "max_seq_len": 128, "memory": "columns", "mixers": 1}},
    "data": {"img_height": 96, "preparation": "staff_space", "staff_space": 7.0, "eval_limit": 2},
    "training": {"batch_size": 2, "gradient_accumulation_steps": 1, "max_steps": 2, "log_every": 1, "eval_every": 0},
    "hardware": {"device": "cpu", "precision": "fp32", "threads": 1},
}  # fmt: skip
RUNS: dict[str, Any] = {
    "clean": {"seeds": [1, 2], "each": {"vision_model_name": ["pocket_cnn", "resnet50"]}},
    "phone": {
        "begins_with": {"run": "clean"},
        "each": {"vision_model_name": ["pocket_cnn", "resnet50"], "technique.name": ["full", "lora"]},
        "set": {"data.degrade": "phone"},
    },
    "taught": {
        "teacher": {"run": "clean", "vision_model_name": "resnet50"},
        "set": {"technique.name": "distill", "vision_model_name": "pocket_cnn", "n_decoder_layers": 2},
    },
}


def write(file: Path, runs: dict[str, Any], parts: dict[str, Any] | None = None) -> Path:
    content = {"data": {"folder": "lines"}, "evaluate": {"limit": 2}, "common": COMMON, "runs": runs} | (parts or {})
    file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return file


def test_runs_go_seed_by_seed_and_after_what_they_begin_with(tmp_path: Path) -> None:
    jobs = read_sweep(write(tmp_path / "sweep.yaml", RUNS), tmp_path / "out").jobs
    assert [job.name for job in jobs] == [
        "clean-pocket_cnn-s1", "clean-resnet50-s1", "phone-pocket_cnn-full-s1", "phone-pocket_cnn-lora-s1",
        "phone-resnet50-full-s1", "phone-resnet50-lora-s1", "taught-s1", "clean-pocket_cnn-s2", "clean-resnet50-s2",
    ]  # fmt: skip
    by_name = {job.name: job for job in jobs}
    assert by_name["phone-resnet50-lora-s1"].needs == ("clean-resnet50-s1",)
    taught = by_name["taught-s1"].config
    assert taught.technique.teacher == str(tmp_path / "out" / "runs" / "clean-resnet50-s1")
    assert (taught.training.init_from, taught.model.params.n_decoder_layers) == ("", 2)


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_a_shipped_sweep_compares_equals(file: Path, tmp_path: Path) -> None:
    """Seven backbones with equal samples, four ways of adapting each, a distilled pair, decoders of several sizes."""
    assert file.read_text(encoding="utf-8").startswith("# ")
    jobs = read_sweep(file, tmp_path).jobs
    clean = [job for job in jobs if job.group == "clean"]
    assert len({job.config.model.params.vision_model_name for job in clean}) == 7
    assert len({samples(job) for job in clean}) == 1
    adapted = [job for job in jobs if job.config.training.init_from]
    assert {job.config.technique.name for job in adapted} == {"full", "frozen", "lora", "qlora"}
    assert len({samples(job) for job in adapted}) == 1
    assert any(job.config.technique.name == "distill" for job in jobs)
    assert len({job.config.model.params.n_decoder_layers for job in jobs}) > 2


def samples(job: Job) -> int:
    training = job.config.training
    return training.max_steps * training.batch_size * training.gradient_accumulation_steps


def test_a_sweep_is_done_once_and_goes_on_where_it_was_stopped(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(os.environ, "PYTHONPATH", str(ROOT))
    runs = {
        "clean": {"set": {"vision_model_name": "pocket_cnn"}},
        "phone": {"begins_with": {"run": "clean"}, "set": {"data.degrade": "phone", "vision_model_name": "pocket_cnn"}},
    }
    parts = {"data": {"folder": str(data)}, "evaluate": {"limit": 2, "degrade": ["clean", "phone"]}}
    file = write(tmp_path / "sweep.yaml", runs, parts)
    call = ["sweep", str(file), "--out", str(tmp_path / "out")]
    assert main([*call, "--budget-hours", "1e-9"]) == 0
    stopped = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (stopped["runs"], stopped["finished"]) == (2, 0)
    assert main(call) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (first["runs"], first["finished"], first["failed"]) == (2, 2, {}) and first["processor_hours"] > 0
    read = [json.loads(line) for line in (tmp_path / "out/runs/phone-s1/evaluations.jsonl").read_text().splitlines()]
    assert [(row["split"], row["degrade"], row["lines"]) for row in read] == [("val", "", 2), ("val", "phone", 2)]
    assert "| pocket_cnn | phone | full |" in (tmp_path / "out" / "results" / "results.md").read_text(encoding="utf-8")
    took = (tmp_path / "out" / "sweep.jsonl").read_text()
    assert main(call) == 0 and (tmp_path / "out" / "sweep.jsonl").read_text() == took  # nothing was started again
    write(file, runs | {"clean": {"set": {"vision_model_name": "pocket_cnn", "max_steps": 3}}}, parts)
    with pytest.raises(OmrError, match=r"clean-s1 was begun with training.max_steps 2, the sweep asks for 3"):
        main(call)


def test_what_failed_is_told_and_what_needs_it_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = read_sweep(write(tmp_path / "sweep.yaml", RUNS), tmp_path / "out")
    started: list[str] = []

    def fails(self: Work, call: Any, name: str, log: Path, job: Job | None) -> int:
        started.append(name)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("error: no such data set\n")
        return 2

    monkeypatch.setattr(Work, "process", fails)
    report = Work(jobs, tmp_path / "out", 0).go()
    assert started == [job.name for job in jobs.jobs if job.group == "clean"]
    assert report["failed"]["clean-resnet50-s1"] == "no such data set" and report["finished"] == 0
    assert report["failed"]["taught-s1"] == "needs clean-resnet50-s1, which isn't finished"


@pytest.mark.parametrize("together", [1, 2, 3])
def test_so_many_runs_go_at_a_time_each_after_what_it_needs(
    together: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = read_sweep(write(tmp_path / "sweep.yaml", RUNS), tmp_path / "out")
    lock, under_way, most, full = threading.Lock(), set[str](), 0, threading.Event()
    ended: list[str] = []

    def takes_a_while(self: Work, call: Any, name: str, log: Path, job: Job) -> int:
        nonlocal most
        with lock:
            assert set(job.needs) <= set(ended)
            under_way.add(name)
            most = max(most, len(under_way))
            if most == together:
                full.set()
        full.wait(60)  # the first ones for each other, however slowly they start
        time.sleep(0.05)  # for one too many to be seen
        with lock:
            under_way.remove(name)
            ended.append(name)
        return 0

    monkeypatch.setattr(Work, "process", takes_a_while)
    monkeypatch.setattr(Work, "done", lambda self, job: job.name in ended)
    report = Work(sweep, tmp_path / "out", 0, together).go()
    assert (report["finished"], report["failed"], most) == (len(sweep.jobs), {}, together)


def test_a_sweep_that_is_interrupted_lets_its_runs_leave_with_a_checkpoint(data: Path, tmp_path: Path) -> None:
    runs = {"clean": {"seeds": [1, 2], "set": {"vision_model_name": "pocket_cnn", "max_steps": 100_000}}}
    file = write(tmp_path / "sweep.yaml", runs, {"data": {"folder": str(data)}})
    out = tmp_path / "out"
    command = [sys.executable, "-m", "training", "sweep", str(file), "--out", str(out), "--together", "2"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while len(list(out.glob("runs/*/metrics.jsonl"))) < 2 and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=600)[1]
    assert process.returncode == 143, said
    assert len(list(out.glob("runs/*/checkpoints/step-*"))) == 2 and not list(out.glob("runs/*/running.json"))
    rows = [json.loads(line) for line in (out / "sweep.jsonl").read_text().splitlines()]
    assert [row["exit_code"] for row in rows] == [143, 143] and all(row["processor_seconds"] > 0 for row in rows)


def test_the_rest_is_estimated_from_the_runs_most_like_it(tmp_path: Path) -> None:
    jobs = {job.name: job for job in read_sweep(write(tmp_path / "sweep.yaml", RUNS), tmp_path).jobs}
    left = [(jobs["clean-resnet50-s2"], 2), (jobs["phone-pocket_cnn-lora-s1"], 1)]
    assert seconds_left(left, []) is None
    done = [(jobs["clean-resnet50-s1"], 5.0), (jobs["clean-pocket_cnn-s1"], 1.0)]
    assert seconds_left(left, done) == 2 * 5.0 + 1.0
    assert seconds_left([(jobs["clean-resnet50-s2"], 2)], done[1:]) == 2 * 1.0  # any run, where there is no better


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"runs": {"clean": {"seed": [1]}}}, "runs.clean has no use for 'seed'; it knows seeds, each, set"),
    ({"runs": {}}, "has no runs"),
    ({"data": {"folder": "lines", "size": 4}}, "data needs a size to build, or the folder of a data set"),
    ({"run": {}}, "has no use for 'run'"),
    ({"runs": {"clean": {"each": {"vision_model_name": ["resnet"]}}}}, "no backbone called 'resnet'"),
    ({"runs": {"clean": {"set": {"max_step": 4}}}}, "unknown key max_step; did you mean training.max_steps?"),
    ({"runs": {"clean": {"set": {"max_steps": 0}}}}, "run clean-s1 has no number of steps"),
    ({"runs": {"phone": {"begins_with": {"run": "clean"}}}}, "0 runs of group 'clean' have seed 1"),
    ({"runs": {"phone": {"begins_with": "clean"}}}, "begins_with is 'clean'; expected {run: GROUP}"),
]


@pytest.mark.parametrize(("parts", "message"), MISTAKES, ids=[message[:40] for _, message in MISTAKES])
def test_a_mistake_in_a_sweep_is_one_sentence(
    parts: dict[str, Any], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "sweep.yaml", {"clean": {}}, parts)
    assert run_command(lambda: main(["sweep", str(file), "--out", str(tmp_path / "out")])) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ") and message in last
    assert not (tmp_path / "out").exists()


def test_no_run_at_a_time_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "sweep.yaml", {"clean": {}})
    call = ["sweep", str(file), "--out", str(tmp_path / "out"), "--together", "0"]
    assert run_command(lambda: main(call)) == 2
    assert "--together 0 is too few" in capsys.readouterr().err
