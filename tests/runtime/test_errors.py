"""How a command ends when it is stopped."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
from pathlib import Path

import pytest

from runtime.errors import run_command


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_an_error_that_a_library_made_of_an_interruption_is_no_error(stop: BaseException, code: int) -> None:
    def library() -> int:
        try:
            raise stop
        except BaseException:
            try:
                raise AttributeError("half imported")
            except AttributeError as error:
                raise RuntimeError("failed to export") from error

    assert run_command(library) == code


def test_an_error_of_its_own_passes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0)


def test_sigterm_ends_a_command_with_its_temporary_files_removed() -> None:
    made: list[Path] = []
    before = signal.getsignal(signal.SIGTERM)

    def work() -> int:
        with tempfile.TemporaryDirectory() as folder:
            made.append(Path(folder))
            os.kill(os.getpid(), signal.SIGTERM)
            return 0

    with pytest.raises(SystemExit) as left:
        run_command(work)
    assert left.value.code == 143
    assert made and not made[0].exists()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_command_may_run_beside_the_main_thread() -> None:
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run_command(lambda: 7)))
    thread.start()
    thread.join()
    assert codes == [7]
