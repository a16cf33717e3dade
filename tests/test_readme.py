"""What the documents say is true: generated blocks are current, commands and links exist, the README's thread runs."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.source import ROOT, project
from training.config import load_config

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = project()["scripts"]
THREAD = "`make test` runs these very lines."


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def label(value: str | list[str]) -> str:
    """A test's name for a document or a command line."""
    return value if isinstance(value, str) else " ".join(value[:4])


def shell_lines(text: str) -> list[list[str]]:
    """The command lines of all ```sh blocks, as words, comments removed."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    parts = [part for line in lines for part in re.split(r"\s(?:&&|\|)\s", line)]
    return [words for part in parts if (words := shlex.split(part, comments=True))]


def our_lines() -> list[tuple[str, list[str]]]:
    """(document, words) of every line that calls one of our commands."""
    return [
        (name_of(path), words)
        for path in DOCUMENTS
        for words in shell_lines(path.read_text(encoding="utf-8"))
        if words[0] in COMMANDS
    ]


@cache
def help_text(*command: str) -> str:
    module = COMMANDS[command[0]].split(":")[0].removesuffix(".__main__")
    call = [sys.executable, "-m", module, *command[1:], "--help"]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# argparse words its help differently from Python 3.13 on.
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="help blocks are generated with Python 3.11 or 3.12")
def test_generated_blocks_are_current() -> None:
    call = [sys.executable, "-m", "cogapp", "--check", "-I", "docs", *map(str, DOCUMENTS)]
    done = subprocess.run(call, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, f"run make docs\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_to_files_lead_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = [target.split("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text)]
    local = [target for target in targets if target and "://" not in target]
    assert [target for target in local if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_make_targets_that_are_named_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", path.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert named - targets == set()


@pytest.mark.parametrize(("document", "words"), our_lines(), ids=label)
def test_a_documented_line_uses_options_and_files_that_exist(document: str, words: list[str]) -> None:
    call = words[:2] if len(words) > 1 and re.fullmatch(r"[a-z]+", words[1]) else words[:1]
    known = help_text(*call)
    options = [word.split("=")[0] for word in words if re.fullmatch(r"--?[a-z-]+(=.*)?", word)]
    assert [option for option in options if not re.search(rf"(?<![\w-]){option}(?![\w-])", known)] == []
    shipped = [word for word in words if word.split("/")[0] in ("configs", "tests")]
    assert [word for word in shipped if not (ROOT / word).exists()] == []
    configs = [ROOT / word for word in shipped if word.endswith(".yaml") and "sweeps" not in word]
    if configs:
        load_config(configs, [word for word in words if re.fullmatch(r"[\w.]+=.*", word)])


def test_the_readmes_python_reads_the_demo() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    [code] = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    call = [sys.executable, "-c", code]
    done = subprocess.run(call, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("X:1\nL:1/8\n")


def thread() -> list[list[str]]:
    """The README's lines from tunes to a timed bundle, less those that install."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tiny = text.split(THREAD)[1].split("At full size")[0]
    return [words for words in shell_lines(tiny) if words[0] in COMMANDS]


def test_the_thread_in_the_readme_runs(tmp_path: Path) -> None:
    """From an empty folder that holds what the lines name: configurations and the demo page."""
    lines = thread()
    assert [words[0] for words in lines] == [
        "omr-data", "omr-train", "omr-train", "omr-export", "omr-transcribe", "omr-bench"
    ]  # fmt: skip
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    shutil.copytree(ROOT / "tests" / "data", tmp_path / "tests" / "data")
    for words in lines:
        module = COMMANDS[words[0]].split(":")[0].removesuffix(".__main__")
        call = [sys.executable, "-m", module, *words[1:]]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stderr}"
    assert (tmp_path / "runs/tiny.abc").read_text(encoding="utf-8").startswith("X:1\n")
