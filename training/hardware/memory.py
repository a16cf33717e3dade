"""Memory of this process in bytes: what is in use, the peak, and whether memory ran out.

On a GPU the figures come from PyTorch's allocator, on a CPU from the system (resident pages, Linux and macOS).
"""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from contextlib import suppress
from pathlib import Path

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# How it is said by those who don't raise PyTorch's class for it.
WORDS = (
    "DefaultCPUAllocator: can't allocate memory", "DefaultCPUAllocator: not enough memory",
    "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
    "could not create a primitive",  # oneDNN, which asks for its own memory
)  # fmt: skip


def ran_out(error: BaseException) -> bool:
    """Whether an exception means that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in WORDS)


def peaks(device: torch.device) -> dict[str, float]:
    """For the log, in MB: the process's own peak, and on a GPU that of what PyTorch has given out there."""
    found = {"peak_rss_mb": round(peak(torch.device("cpu")) / 1e6, 1)}
    if device.type == "cuda":
        found["peak_vram_mb"] = round(peak(device) / 1e6, 1)
    return found


def peak(device: torch.device) -> int:
    """The most that was in use since the process began, or since `restart_peak`; 0 if the system doesn't tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return 0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def in_use(device: torch.device) -> int:
    """What is taken now; where a system doesn't tell, the peak."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return peak(device)


def available(device: torch.device) -> int:
    """What this process can have in all, right after it got no more: what it had, and a GPU's free rest."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device) + torch.cuda.mem_get_info(device)[0]
    return peak(device)


def give_back(device: torch.device) -> None:
    """Return what is no longer used to the system, as far as it goes."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def restart_peak(device: torch.device) -> bool:
    """Whether the peak now counts from here."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return True
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux: man 5 proc
    except OSError:
        return False
    return True


def first_line(error: BaseException) -> str:
    """The first line of what an exception says."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
