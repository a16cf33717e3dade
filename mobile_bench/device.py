"""The interface of devices, where bundles are timed: each is a file in `mobile_bench/devices` and has that file's
name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from runtime.bundle.manifest import Bundle
from runtime.registry import Registry

DEVICES = Registry("mobile_bench.devices", "DEVICE", "device")


@dataclass(frozen=True)
class Settings:
    """What to time.

    Attributes:
        threads: every case is timed with each of these numbers.
        runs: how often each case is timed.
        precisions: only these; empty for all of the bundle.
        page: picture or PDF to read whole; None leaves that case out.
    """

    threads: Sequence[int] = (1, 2)
    runs: int = 30
    precisions: Sequence[str] = field(default_factory=tuple)
    page: Path | None = None


class Device(Protocol):
    """A driver of one kind of device."""

    label: str  # printed beside its figures in reports: measured, vendor estimate, model estimate

    def describe(self) -> dict[str, Any]:
        """The machine: model, processor, memory, system."""

    def problem(self) -> str | None:
        """Why it can't be used here; None if it can."""

    def run(self, bundle: Bundle, settings: Settings) -> list[dict[str, Any]]:
        """A row for each precision and number of threads: see `mobile_bench.worker.perform`."""
