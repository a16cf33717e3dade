"""The corpus, loaded once for all tests of the data room."""

from __future__ import annotations

import pytest

from training.data.corpus import Source, load_sources


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """All tunes in scope, split."""
    return load_sources()[0]
