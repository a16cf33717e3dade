"""The shipped model reads a page with every engine that runs here as it does with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.__main__ import main
from runtime.errors import UnavailableError
from runtime.inference.engine import ENGINES
from runtime.page.preparation import load_pages
from runtime.reading.reader import Reader
from training.saving.checkpoint import SHIPPED, WEIGHTS

from ..source import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("engine", [name for name in ENGINES.names() if name != "onnx"])
@pytest.mark.skipif(not (SHIPPED / WEIGHTS).is_file(), reason=f"needs {SHIPPED}")
def test_the_demo_page_reads_the_same(engine: str, tmp_path: Path) -> None:
    try:
        ENGINES.get(engine)
    except UnavailableError as error:
        pytest.skip(str(error))
    assert main(["--target", f"onnx,{engine}", "--out", str(tmp_path / "bundle")]) == 0
    [page] = load_pages(ROOT / "tests" / "data" / "demo.png")
    read = [Reader(tmp_path / "bundle", name).read_page(page).abc for name in ("onnx", engine)]
    assert read[0] == read[1] and read[0].count("|") > 10
