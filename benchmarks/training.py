"""Compares our training step and epoch with Hugging Face's `VisionEncoderDecoderModel` and `Trainer`, on the same
lines.

    pip install -e '.[bench]'
    python benchmarks/training.py --data DIR                    # a whole epoch on each side: hours on a CPU
    python benchmarks/training.py --data DIR --steps 6          # the epoch estimated from 6 batches of each side

What is compared is in `training_sides.py`, how it is measured in `training_measures.py`. The last line is JSON.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ in ("__main__", "training"):
    # Python puts a script's folder first, where this file's name hides the package `training` from every script here.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

if __name__ == "__main__":
    from benchmarks.training_measures import main
    from runtime.errors import run_command

    raise SystemExit(run_command(main))

if __name__ == "training":  # another script asked for the package, and gets it
    del sys.modules[__name__]
    import training  # noqa: F401
