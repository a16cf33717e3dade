"""Every test runs on one thread, without network; GPU and cluster tests say why they are skipped."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from pathlib import Path

# Before numpy, torch or OpenCV are imported: the tests already run in two processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

import pytest  # noqa: E402  after the settings above


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow-log", type=Path, help="skip slow cases that FILE says have passed; add those that pass")


def pytest_configure(config: pytest.Config) -> None:
    # Jobs in the background of a shell begin with SIGINT ignored, and hand that on to commands that tests interrupt.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    file = config.getoption("--slow-log")
    if file:
        from tests.slow_log import SlowLog

        alone = not hasattr(config, "workerinput")  # of pytest-xdist's processes the first one writes
        config.pluginmanager.register(SlowLog(config.rootpath / file, alone))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests marked `gpu` where there is none, `cluster` without Ray, and `slurm` without SLURM."""
    for marker, missing in (("gpu", no_gpu), ("cluster", no_ray), ("slurm", no_slurm)):
        marked = [item for item in items if item.get_closest_marker(marker)]
        reason = missing() if marked else ""
        for item in marked if reason else []:
            item.add_marker(pytest.mark.skip(reason=reason))


def no_gpu() -> str:
    import torch

    return "" if torch.cuda.is_available() else "needs a CUDA GPU, and torch finds none here"


def no_ray() -> str:
    return "" if importlib.util.find_spec("ray") else "needs ray: make setup-cluster"


def no_slurm() -> str:
    from tests.training.slurm import PROGRAMS

    lacking = [name for name in PROGRAMS if not shutil.which(name)]
    if lacking:
        return f"needs SLURM ({', '.join(lacking)}): make setup-cluster"
    return "" if os.geteuid() == 0 else "needs to be root, as whom SLURM's daemons start jobs"
