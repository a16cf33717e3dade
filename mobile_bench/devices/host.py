"""This machine's processor, with ONNX Runtime; every measurement runs in a fresh process."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mobile_bench.device import Settings
from mobile_bench.worker import Task
from runtime.bundle.manifest import Artifact, Bundle
from runtime.errors import OmrError

ROOT = Path(__file__).resolve().parents[2]
TARGET = "onnx"


class Host:
    """The processor that runs this program."""

    label = "measured"

    def describe(self) -> dict[str, Any]:
        """Processor, usable cores, memory, system and how busy it is."""
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        facts: dict[str, Any] = {
            "processor": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
            "instructions": _instructions(),
            "cores": usable,
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        }
        memory = _field("/proc/meminfo", "MemTotal")
        if memory:
            facts["memory_gb"] = round(int(memory.split()[0]) * 1024 / 1e9, 1)
        if hasattr(os, "getloadavg"):
            facts["load_before"] = round(os.getloadavg()[0], 2)
        return facts

    def problem(self) -> str | None:
        """None: ONNX Runtime comes with the base install."""
        return None

    def run(self, bundle: Bundle, settings: Settings) -> list[dict[str, Any]]:
        """See `mobile_bench.device.Device`."""
        rows = []
        for artifact in _artifacts(bundle, settings):
            for threads in settings.threads:
                print(f"{bundle.manifest.name} {artifact.precision}, threads {threads} ..", file=sys.stderr)
                page = str(settings.page.absolute()) if settings.page else ""
                names = (artifact.target, artifact.precision)
                rows.append(_measure(Task(str(bundle.folder.absolute()), *names, threads, settings.runs, page)))
        return rows


def _artifacts(bundle: Bundle, settings: Settings) -> list[Artifact]:
    """The artifacts to time. A precision that the bundle lacks is an error."""
    if settings.precisions:
        return [bundle.manifest.choose([TARGET], precision) for precision in settings.precisions]
    bundle.manifest.choose([TARGET])
    return [artifact for artifact in bundle.manifest.artifacts if artifact.target == TARGET]


def _measure(task: Task) -> dict[str, Any]:
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"OMP_NUM_THREADS": str(task.threads), "PYTHONPATH": os.pathsep.join(paths)}
    call = [sys.executable, "-m", "mobile_bench.worker"]
    done = subprocess.run(call, input=json.dumps(asdict(task)), env=environment, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1].removeprefix("error: ")
        raise OmrError(f"timing {task.bundle} failed: {reason}")
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def _field(path: str, name: str) -> str | None:
    """First value of a `name : value` file of /proc."""
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _instructions() -> list[str]:
    """The instructions that decide how fast small integers and half precision are."""
    flags = (_field("/proc/cpuinfo", "flags") or _field("/proc/cpuinfo", "Features") or "").split()
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "amx_bf16", "asimddp", "i8mm")
    return [flag for flag in wanted if flag in flags]


DEVICE = Host()
