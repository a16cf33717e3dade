"""Goes through a sweep's runs, one or several at a time, each in a process of its own, until all are done.

OUT/data/           the data set, where the sweep builds one
OUT/configs/        the configuration of each run
OUT/runs/           run folders
OUT/logs/           what each process printed
OUT/sweep.jsonl     what each process took: seconds, processor seconds, steps
OUT/results/        tables and figures of the runs so far
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runtime.errors import OmrError
from training.config import load_config, save_config
from training.results.groups import flat
from training.results.page import write_page
from training.results.runs import find_runs, read_lines
from training.saving.checkpoint import newest

from .estimate import duration_in_words, seconds_left
from .plan import PARENTS, Job, Sweep
from .worker import finished

TOLD_EVERY = 60.0  # seconds between two lines about a run under way
LOOKED_EVERY = 0.2  # seconds between two looks at whether a process has ended
PATHS = ("data.dataset_id", *PARENTS)  # the same place may be written in two ways


def say(text: str) -> None:
    """Progress goes to stderr; answers to stdout."""
    print(text, file=sys.stderr, flush=True)


class Work:
    """A sweep under way.

    Args:
        sweep: what is to be done.
        out: its folder.
        hours: of wall-clock time that this call may take; 0: as many as it needs.
        together: runs at a time.
    """

    def __init__(self, sweep: Sweep, out: Path, hours: float, together: int = 1) -> None:
        self.sweep, self.out, self.together = sweep, out, together
        self.deadline = time.monotonic() + 3600 * hours if hours else float("inf")
        self.failed: dict[str, str] = {}

    def go(self) -> dict[str, Any]:
        """Do what is left to do.

        Returns:
            Runs in all, finished, failed; processor hours of all calls so far.

        Raises:
            OmrError: a run was begun with other settings.
        """
        for job in self.sweep.jobs:
            self.refuse_other_settings(job)
        self.build_data()
        self.run_all()
        logs = list((self.out / "runs").glob("*/metrics.jsonl"))
        if logs:
            page = write_page(find_runs([self.out / "runs"]), self.out / "results", self.out / "results" / "results.md")
            say(f"tables and figures: {page[-1]}")
        left = self.left()
        if left:
            say(f"{len(left)} runs are left, {duration_in_words(self.estimate())} of work: the same command goes on")
        hours = sum(row["processor_seconds"] for row in self.journal()) / 3600
        finished_jobs = len(self.sweep.jobs) - len(left)
        return {
            "sweep": str(self.out), "runs": len(self.sweep.jobs), "finished": finished_jobs,
            "failed": self.failed, "processor_hours": round(hours, 3),
        }  # fmt: skip

    def run_all(self) -> None:
        """Start each run in its turn, once those it needs have ended; an interruption lets those under way leave."""
        waiting = self.left()
        running: dict[Future[None], Job] = {}
        with ThreadPoolExecutor(self.together) as pool:
            try:
                while time.monotonic() < self.deadline:
                    ahead = {job.name for job in [*waiting, *running.values()]}
                    ready = [job for job in waiting if not ahead & set(job.needs)]
                    for job in ready[: self.together - len(running)]:
                        waiting.remove(job)
                        running[pool.submit(self.run, job)] = job
                    if not running:
                        break
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        del running[future]
                        future.result()
            except BaseException:
                self.deadline = 0.0
                raise

    def folder(self, job: Job) -> Path:
        return self.out / "runs" / job.name

    def steps(self, job: Job) -> int:
        """Steps that are saved."""
        checkpoint = newest(self.folder(job))
        return int(checkpoint.name.removeprefix("step-")) if checkpoint else 0

    def done(self, job: Job) -> bool:
        return finished(self.folder(job), job.config.training.max_steps, self.sweep.split, self.sweep.presets)

    def left(self) -> list[Job]:
        return [job for job in self.sweep.jobs if not self.done(job)]

    def journal(self) -> list[dict[str, Any]]:
        return read_lines(self.out / "sweep.jsonl")

    def estimate(self) -> float | None:
        """Seconds of work left."""
        jobs = {job.name: job for job in self.sweep.jobs}
        took = [(jobs[row["run"]], row) for row in self.journal() if row["run"] in jobs and row["steps"]]
        known = [(job, row["seconds"] / row["steps"]) for job, row in took]
        return seconds_left(((job, job.config.training.max_steps - self.steps(job)) for job in self.left()), known)

    def refuse_other_settings(self, job: Job) -> None:
        """Hardware may have changed since a run began; nothing else may.

        Raises:
            OmrError: a run of that name has other settings.
        """
        begun = self.folder(job) / "config.yaml"
        if not begun.exists():
            return
        before = flat(asdict(load_config([begun])))
        for key, new in job.settings.items():
            old = before[key]
            if key in PATHS:
                old, new = Path(str(old)).name, Path(str(new)).name
            if not key.startswith("hardware.") and old != new:
                raise OmrError(
                    f"{begun.parent} was begun with {key} {old!r}, the sweep asks for {new!r}: "
                    "give another folder with --out, or delete that run"
                )

    def build_data(self) -> None:
        """Build the sweep's data set, or continue a build. `omr-data build` finds out what is there."""
        if not self.sweep.data:
            return
        options = [part for key, value in self.sweep.data.items() for part in (f"--{key}", *as_list(value))]
        call = ["-m", "training.data", "build", "--out", self.sweep.dataset, *options]
        if self.process(call, "data", self.out / "logs" / "data.txt", None):
            raise OmrError(f"the data set can't be built: {last_line(self.out / 'logs' / 'data.txt')}")

    def run(self, job: Job) -> None:
        """Start or continue a run. If a run that it needs is missing, it is left out."""
        missing = [name for name in job.needs if not any(o.name == name and self.done(o) for o in self.sweep.jobs)]
        if missing:
            self.failed[job.name] = f"needs {missing[0]}, which isn't finished"
            return
        number = 1 + len(self.sweep.jobs) - len(self.left())
        say(f"{number} of {len(self.sweep.jobs)}: {job.name}; left in all: {duration_in_words(self.estimate())}")
        config = self.out / "configs" / f"{job.name}.yaml"
        config.parent.mkdir(parents=True, exist_ok=True)
        save_config(job.config, config)
        sweep = self.sweep
        reading = [sweep.split, str(sweep.limit), ",".join(sweep.presets)]
        call = ["-m", "training.sweep.worker", str(config), str(self.folder(job)), *reading]
        log = self.out / "logs" / f"{job.name}.txt"
        code = self.process(call, job.name, log, job)
        if code and time.monotonic() < self.deadline:
            self.failed[job.name] = last_line(log)
            say(f"{job.name} failed with exit code {code}: {self.failed[job.name]} ({log})")

    def process(self, call: Sequence[str], name: str, log: Path, job: Job | None) -> int:
        """A Python process; at the deadline it is asked to leave. What it took is written down.

        Returns:
            Its exit code.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        began, steps = time.monotonic(), self.steps(job) if job else 0
        with log.open("a", encoding="utf-8") as file:
            process = subprocess.Popen([sys.executable, *call], stdout=file, stderr=subprocess.STDOUT)
            try:
                used = self.ended(process, job)
            except BaseException:
                process.terminate()
                process.wait()
                raise
        row = {
            "run": name, "seconds": round(time.monotonic() - began, 1), "processor_seconds": round(used, 1),
            "steps": self.steps(job) - steps if job else 0, "exit_code": process.returncode,
        }  # fmt: skip
        with (self.out / "sweep.jsonl").open("a", encoding="utf-8") as journal:
            journal.write(json.dumps(row) + "\n")
        return process.returncode

    def ended(self, process: subprocess.Popen[bytes], job: Job | None) -> float:
        """Wait for a process and report the progress of its run. After the deadline it is asked to stop with a
        checkpoint.

        Returns:
            Processor seconds of it and its children.
        """
        told, asked = time.monotonic(), False
        while (used := processor_seconds(process)) is None:
            time.sleep(LOOKED_EVERY)
            now = time.monotonic()
            if now >= self.deadline and not asked:
                say("the time is over: leaving after this step, with a checkpoint")
                process.terminate()
                asked = True
            elif now >= told + TOLD_EVERY and job is not None:
                told = now
                rows = read_lines(self.folder(job) / "metrics.jsonl")
                say(f"  {job.name}: step {rows[-1]['step'] if rows else 0:,} of {job.config.training.max_steps:,}")
        return used


def processor_seconds(process: subprocess.Popen[bytes]) -> float | None:
    """What a process took, once it has ended; others may be under way."""
    pid, status, used = os.wait4(process.pid, os.WNOHANG)
    if not pid:
        return None
    process.returncode = os.waitstatus_to_exitcode(status)
    return used.ru_utime + used.ru_stime


def as_list(value: Any) -> list[str]:
    return [str(part) for part in value] if isinstance(value, list) else [str(value)]


def last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else "it said nothing"
