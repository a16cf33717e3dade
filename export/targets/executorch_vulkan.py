"""ExecuTorch on Vulkan, for Android's GPUs: one `.pte` for each precision, which Vulkan runs as a whole; fp32, and fp16
inside.

The delegate takes every operator of every graph. Nothing here can run it, so the contract is checked before the graphs
are lowered, and the manifest has no figures. Others report encoders and decoders that give NaN (executorch #22322,
#15344), so an app should read the self-test picture on the device before it trusts the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

from export.target import Files, Target
from export.targets.executorch import VARIABLE, check, exported, graph_view, load, lowered, operators, quiet
from runtime.bundle.io_spec import IOSpec
from training.model.music_trocr import MusicTrOCR

EXTRA = "executorch"


def convert(model: MusicTrOCR, spec: IOSpec, precisions: Sequence[str], folder: Path) -> dict[str, Files]:
    """Write `model.vulkan.PRECISION.pte` for each precision; values at the border are fp32 in both."""
    files = {}
    with quiet():
        programs = exported(model, replace(spec, chunk=0))
        for precision in precisions:
            path = folder / f"model.vulkan.{precision}.pte"
            path.write_bytes(lowered(programs, VulkanPartitioner({"force_fp16": precision == "fp16"})))
            files[precision] = dict.fromkeys(programs, path)
    return files


TARGET = Target(("fp32", "fp16"), convert, load, operators, check, VARIABLE, delegate="VulkanBackend",
                graph_view=graph_view, half=("fp16",))  # fmt: skip
