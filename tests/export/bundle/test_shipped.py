"""The shipped bundle is the shipped checkpoint's, small, and holds what it held when it was written."""

from __future__ import annotations

import json
import re

import pytest

from export.__main__ import main
from runtime.bundle.manifest import MANIFEST, read_bundle
from runtime.reading.reader import SHIPPED as BUNDLE
from training.saving.checkpoint import SHIPPED, WEIGHTS

pytestmark = pytest.mark.skipif(
    not ((BUNDLE / MANIFEST).is_file() and (SHIPPED / WEIGHTS).is_file()), reason=f"needs {BUNDLE} and {SHIPPED}"
)


def test_the_shipped_bundle_agrees_with_the_shipped_checkpoint(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(BUNDLE)]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["name"] == "pocket"
    assert found["checkpoint"] == str(SHIPPED)
    assert found["artifacts"][0]["self_test"] == "equal"


def test_the_shipped_bundle_is_int8_and_at_most_ten_megabytes() -> None:
    manifest = read_bundle(BUNDLE).manifest
    assert manifest.artifacts[0].precision == "int8"
    assert manifest.source["parameters"] <= 8e6
    assert sum(path.stat().st_size for path in BUNDLE.iterdir()) <= 10e6


def test_the_shipped_files_name_no_folder_of_a_machine() -> None:
    files = [path for folder in (BUNDLE, SHIPPED) for path in folder.iterdir()]
    texts = [path for path in files if path.suffix in (".json", ".jsonl", ".md", ".yaml")]
    assert texts
    for path in texts:
        assert not re.search(r"(^|[\s\"'`(])/\w+/\w", path.read_text(encoding="utf-8")), path
