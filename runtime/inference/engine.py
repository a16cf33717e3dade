"""The interface of engines, which run a bundle's graphs, and the choice of one.

    memory = engine.encode(image, valid_width)      # once a batch of lines
    decoder = engine.start(memory)                  # an empty cache
    logits = decoder.step(token, position)          # once a token
    logits = decoder.score(tokens, position)        # several tokens that are known already
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..bundle.io_spec import IOSpec
from ..bundle.manifest import Artifact, Bundle
from ..errors import UnavailableError
from ..registry import Registry

ENGINES = Registry("runtime.engines", "ENGINE", "engine")

Floats = NDArray[np.float32]
Integers = NDArray[np.integer[Any]]


class Memory(Protocol):
    """What the encoder computed for the decoder. Its arrays stay where the engine keeps them."""

    @property
    def batch(self) -> int:
        """Rows."""

    @property
    def column_logits(self) -> Floats | None:
        """[B, T, V], or None where the model has no column head."""


class Decoder(Protocol):
    """The decoder and the cache of one batch."""

    def step(self, token: Integers, position: int) -> Floats:
        """Read one more token.

        Args:
            token: [B] ids at `position`.
            position: 0 for the begin token, then one more each step.

        Returns:
            [B, vocabulary] logits of the next token; overwritten by the next step.
        """

    def score(self, tokens: Integers, position: int) -> Floats:
        """Read several given tokens. Afterwards the cache is as if they had been read in steps.

        Args:
            tokens: [B, n] ids, n at least 1.
            position: of the first, as for `step`.

        Returns:
            [B, n, vocabulary] logits, each of the token after.
        """

    def keep(self, rows: Integers) -> None:
        """Continue with these rows, in this order. A row may be left out, or appear several times."""


class Engine(Protocol):
    """A bundle's two graphs, loaded."""

    spec: IOSpec

    def encode(self, image: Floats, valid_width: Integers) -> Memory:
        """Pictures [B, C, H, W] with their widths before padding [B] in px -> memory."""

    def start(self, memory: Memory) -> Decoder:
        """A decoder with an empty cache."""


# Graph name -> its file, the contract's sizes, threads (0: the engine's choice) -> engine.
EngineFactory = Callable[[Mapping[str, Path], IOSpec, int], Engine]


def load_engine(
    bundle: Bundle, engine: str | None = None, precision: str | None = None, threads: int = 0
) -> tuple[Engine, Artifact]:
    """Load the first artifact of the bundle that can run here.

    Args:
        bundle: from `read_bundle`.
        engine: name of an engine; otherwise any.
        precision: name of a precision; otherwise the first.
        threads: most threads to use; 0 leaves it to the engine.

    Raises:
        OmrError: no such engine, or it can't run here.
        BundleError: the bundle holds nothing of the kind.
    """
    if engine:
        ENGINES.get(engine)  # refuses what can't run here, whatever the bundle holds
    names = [engine] if engine else _runnable(bundle)
    artifact = bundle.manifest.choose(names, precision)
    factory: EngineFactory = ENGINES.get(artifact.target)
    return factory(bundle.paths(artifact), bundle.manifest.io_of(artifact), threads), artifact


def _runnable(bundle: Bundle) -> list[str]:
    """The bundle's targets that have an engine which can run here.

    Raises:
        UnavailableError: none has; about the bundle's first target.
    """
    known = [a.target for a in bundle.manifest.artifacts if a.target in ENGINES.names()]
    names, problem = [], None
    for name in dict.fromkeys(known):
        try:
            ENGINES.get(name)
            names.append(name)
        except UnavailableError as error:
            problem = problem or error
    if problem and not names:
        raise problem
    return names or ENGINES.names()
