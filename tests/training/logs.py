"""What a run wrote into its log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def rows(run: Path) -> list[dict[str, Any]]:
    """Whole lines of a run's log, none before there is one."""
    text = (run / "metrics.jsonl").read_text(encoding="utf-8") if (run / "metrics.jsonl").exists() else ""
    return [json.loads(line) for line in text.splitlines() if line.endswith("}")]


def losses(run: Path, name: str = "loss") -> dict[int, float]:
    """Loss, or one part of it, of each logged step."""
    return {row["step"]: row[name] for row in rows(run) if "lr" in row}
