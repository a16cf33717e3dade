"""The random bundle of the runtime's tests."""

from tests.runtime.conftest import bundle, contents, graphs, manifest, weights

__all__ = ["bundle", "contents", "graphs", "manifest", "weights"]
