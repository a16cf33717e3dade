"""Chooses the number format to train in. It is measured, because the same instructions are 2x faster on one processor
and 50x slower on the next."""

from __future__ import annotations

import platform
import time
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from runtime.errors import ConfigError

from ..config import HardwareConfig

GAIN = 1.1  # a format with fewer bits must be faster by this much


def settle_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        ConfigError: it isn't there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name not in ("cpu", "cuda"):
        raise ConfigError(f"hardware.device is {name!r}; use auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("hardware.device is cuda, but PyTorch finds no CUDA GPU; use hardware.device=cpu")
    return torch.device(name)


def processor_name(device: torch.device) -> str:
    """Name of the processor, different for processors that compute differently.

    Virtual machines hide the model ("AMD EPYC" is Zen 3 and Zen 4), so the vector units are named too.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    model, flags = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line)
        found = {key.strip(): value.strip() for key, value in lines.items()}
        model, flags = found.get("model name", model), found.get("flags", "")
    units = [unit for unit in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if unit in flags.split()]
    return f"{model} ({', '.join(units)})" if units else model


def milliseconds(device: torch.device, dtype: torch.dtype | None) -> float:
    """Best of three of a small convolution and matrix product, forward and backward, in milliseconds."""
    image = torch.ones(4, 32, 24, 64, device=device, requires_grad=True)
    kernel = torch.ones(64, 32, 3, 3, device=device, requires_grad=True)
    square = torch.ones(512, 512, device=device, requires_grad=True)
    best = float("inf")
    for _ in range(4):  # the first one warms up
        start = time.perf_counter()
        with torch.autocast(device.type, dtype or torch.bfloat16, enabled=dtype is not None):
            out = F.conv2d(image, kernel, padding=1).float().sum() + (square @ square).float().sum()
        out.backward()  # type: ignore[no-untyped-call]
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, 1000 * (time.perf_counter() - start))
    return best


def measure(device: torch.device) -> tuple[str, str]:
    """The precision to train in and the reason, in words."""
    if device.type == "cuda":
        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "this GPU has bfloat16 in hardware"
        return "fp16", "this GPU has no bfloat16 in hardware"
    plain, half = milliseconds(device, None), milliseconds(device, torch.bfloat16)
    chosen = "bf16" if half * GAIN < plain else "fp32"
    return chosen, f"convolution and matrix product: {plain:.1f} ms in fp32, {half:.1f} ms in bf16"


def settle_precision(hardware: HardwareConfig, device: torch.device) -> tuple[HardwareConfig, str]:
    """The configuration with its precision and threads decided, and what to tell about it.

    A precision measured before is kept on the same kind of processor and measured again on another.
    """
    if hardware.precision not in ("auto", "fp32", "bf16", "fp16"):
        raise ConfigError(f"hardware.precision is {hardware.precision!r}; use auto, fp32, bf16 or fp16")
    processor = processor_name(device)
    threads = hardware.threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    said = f"{device.type}, {threads} thread{'s' * (threads > 1)}, {processor}"
    if not hardware.mixed_precision:
        return replace(hardware, precision="fp32", threads=threads), f"{said}: fp32 (mixed_precision is off)"
    if hardware.precision != "auto" and hardware.processor in ("", processor):
        why = "measured when the run began" if hardware.processor else "as configured"
        return replace(hardware, threads=threads), f"{said}: {hardware.precision} ({why})"
    precision, reason = measure(device)
    if hardware.processor:
        before = f"{hardware.processor} in {hardware.precision}"
        reason += f"; the run began on another processor, {before}: losses may differ from here on"
    settled = replace(hardware, precision=precision, processor=processor, threads=threads)
    return settled, f"{said}: {precision} ({reason})"
