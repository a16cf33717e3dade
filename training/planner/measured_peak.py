"""Measures the peak of real steps, to check the plans: on a CPU with PyTorch's profiler, on a GPU with its
allocator."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch.profiler import ProfilerActivity, profile, record_function

from training.config import Config
from training.loading.batches import make_preparation
from training.loop.parameter_counts import vocabulary_size
from training.loop.run import Run, put_together
from training.loop.technique import get_technique
from training.loop.train import take_step
from training.saving.checkpoint import build_model, load_checkpoint

from .rehearsal import STEPS, Tokens, blank_batch, fill_optimizer
from .sizes import Sizes

MARK = "measured step"


def build(config: Config, accelerator: Accelerator, load: Any = load_checkpoint) -> Run:
    """A run with random weights, at step 0."""
    technique, preparation = get_technique(config.technique), make_preparation(config)
    tokenizer: Any = Tokens(vocab_size=vocabulary_size(config.data.tokenizer_id))
    model = build_model(config, tokenizer, preparation)
    technique.apply(model, config)
    lesson = technique.lesson(config, tokenizer, accelerator.device, load)
    model = model.train().to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return put_together(config, Path(), accelerator, technique, model, lesson, tokenizer, STEPS)


def cpu_peak(config: Config, sizes: Sizes, accelerator: Accelerator, load: Any = load_checkpoint) -> int:
    """Most bytes that PyTorch's CPU allocator had given out in a step of a run whose optimizer has its states.

    All that the run allocates is followed from before its model is built, so what it begins with counts, too.
    """
    gc.collect()  # otherwise memory of earlier runs could be freed while this one is measured
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as followed:
        run = build(config, accelerator, load)
        fill_optimizer(run)
        batches = [blank_batch(config, sizes) for _ in range(sizes.batches)]
        with record_function(MARK):
            take_step(run, batches[:2])
    events = followed.profiler.kineto_results.events()
    begun = next(event.start_ns() for event in events if event.name() == MARK)
    living = most = 0
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda event: event.start_ns()):
        living += event.nbytes()
        if event.start_ns() >= begun:
            most = max(most, living)
    return most


def gpu_peak(config: Config, sizes: Sizes, accelerator: Accelerator, load: Any = load_checkpoint) -> dict[str, int]:
    """Bytes of the second and third step on a CUDA GPU.

    Returns:
        allocated: the most that tensors had; reserved: the most that the allocator held; device: all that the GPU
        had given out afterwards, the CUDA context included, to whichever process.
    """
    torch.cuda.empty_cache()
    run = build(config, accelerator, load)
    batches = [blank_batch(config, sizes) for _ in range(sizes.batches)]
    take_step(run, batches)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):
        take_step(run, batches)
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return {
        "allocated": torch.cuda.max_memory_allocated(),
        "reserved": torch.cuda.max_memory_reserved(),
        "device": total - free,
    }
