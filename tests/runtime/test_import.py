"""`import runtime` costs nothing; what applications use is there all the same."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import runtime
from runtime.page.load import load_pages
from runtime.reading.reader import Reader
from tests.source import ROOT

LATER = ("numpy", "onnxruntime", "cv2", "PIL", "tokenizers")


def loaded_after(code: str) -> list[str]:
    """Which of LATER a fresh Python holds after some code."""
    script = f"import json, sys\n{code}\nprint(json.dumps([name for name in {LATER} if name in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    found: list[str] = json.loads(done.stdout)
    return found


def test_importing_the_runtime_loads_nothing_heavy() -> None:
    assert loaded_after("import runtime") == []


def test_what_applications_use_is_loaded_when_it_is_asked_for() -> None:
    assert {"numpy", "cv2", "tokenizers"} <= set(loaded_after("from runtime import Reader"))
    assert "tokenizers" not in loaded_after("from runtime import load_pages")


def test_the_runtime_hands_out_the_reader_and_nothing_else() -> None:
    assert runtime.Reader is Reader and runtime.load_pages is load_pages
    assert {name: getattr(runtime, name) for name in runtime.__all__} == {"Reader": Reader, "load_pages": load_pages}
    with pytest.raises(AttributeError, match="module 'runtime' has no attribute 'Writer'"):
        runtime.Writer  # noqa: B018
