"""Executors make the shards of a data set, here or on a cluster. Each is a file in `executors/`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Protocol, TypeVar

from runtime.registry import Registry

Job = TypeVar("Job")


class Executor(Protocol):
    """Spreads jobs over processes; `takes_address` ones can use a cluster that runs already."""

    takes_address: bool

    def run(
        self, jobs: Sequence[Job], make: Callable[[Job], bytes], workers: int | None, address: str | None
    ) -> Generator[tuple[Job, bytes], None, None]:
        """Make each job once; yields them as they get done. Closing the generator ends every process it started.

        Args:
            jobs: small and picklable.
            make: from a job to the content of its file; may be large.
            workers: jobs at a time; None: as many as there are cores.
            address: of the cluster; None: the executor's own choice.

        Raises:
            OmrError: processes die, or the cluster can't be reached.
        """


EXECUTORS = Registry("training.data.dataset.executors", "EXECUTOR", "executor")
