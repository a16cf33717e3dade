"""The corpus, loaded once for all tests of the data room."""

from __future__ import annotations

import pytest

from training.data.sources.corpus import load_sources
from training.data.sources.splits import Source


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """All tunes in scope, split."""
    return load_sources()[0]
