"""Rehearses a training step without computing anything: runs the real model, technique, losses, backward pass and
optimizer on tensors that have a shape and no content (PyTorch's FakeTensorMode), and counts every byte.

A new backbone or technique needs no formula here. No weights or data are opened; of the study's tokenizer only the size
is used. The peak is that of any step but the first, because then the optimizer has its states.

Counted: everything that PyTorch's own allocator hands out for tensors. Not counted: what kernels use internally
(workspaces of cuDNN and cuBLAS), the CUDA context, memory lost to fragments, reading between steps, more processes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from accelerate.utils import convert_outputs_to_fp32
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from training.config import Config, load_config
from training.loading.batches import IGNORED, Batch, make_preparation
from training.loading.order import Place
from training.loop.parameter_counts import counts_of, vocabulary_size
from training.loop.run import Run, put_together
from training.loop.technique import Lesson, get_technique
from training.loop.train import take_step
from training.model.backbone import get_backbone
from training.model.music_trocr import MusicTrOCR
from training.saving.checkpoint import Loaded, build_model, find

from .gpu import CudaAutocast, cuda_bytes, keep_padding
from .known_contents import Contents
from .ledger import PARTS, Ledger
from .sizes import Sizes

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
STEPS = 100  # of the run that is never made; the learning rate moves with them


class Peak(NamedTuple):
    """The fullest moment of a step.

    Attributes:
        bytes: by part, see `training.planner.ledger`.
        parameters: number of the plain model's.
        trainable: number of those that are trained, adapters among them.
    """

    bytes: dict[str, int]
    parameters: int
    trainable: int

    @property
    def total(self) -> int:
        return sum(self.bytes.values())


class Tokens(SimpleNamespace):
    """A tokenizer of which only the number of ids is known."""

    vocab_size: int

    def save(self, file: Path) -> None:
        """What distillation compares."""
        file.write_text(f"{self.vocab_size}")


class Stage:
    """What the loop asks of Accelerate, in one process that computes nothing.

    Args:
        dtype: of autocast, if any.
    """

    num_processes = 1
    scaler = None

    def __init__(self, dtype: torch.dtype | None) -> None:
        self.device, self.dtype = torch.device("cpu"), dtype

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast("cpu", self.dtype) if self.dtype else nullcontext()

    def prepare_model(self, model: nn.Module, evaluation_mode: bool = False) -> nn.Module:
        """As Accelerate's: autocast around the forward pass, what comes out in fp32."""
        if self.dtype:
            model.forward = convert_outputs_to_fp32(torch.autocast("cpu", self.dtype)(model.forward))
        return model

    def no_sync(self, _model: nn.Module) -> AbstractContextManager[Any]:
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def clip_grad_norm_(self, parameters: Any, limit: float) -> Tensor:
        return torch.nn.utils.clip_grad_norm_(parameters, limit)


def rehearse(config: Config, sizes: Sizes, device: str = "cuda") -> Peak:
    """Run a step and return the account of its fullest moment.

    Args:
        config: of the run.
        sizes: of its batches.
        device: cuda or cpu, where the step would run.

    Raises:
        OmrError: what the run itself would refuse, too.
    """
    on_gpu = device == "cuda"
    model, lesson, counts = lay_out(config)
    ledger = Ledger(cuda_bytes if on_gpu else None)
    # bf16 and fp16 take equal space; for bf16 on a CPU the decoder's attention has a way of its own.
    dtype = AUTOCAST["fp16" if on_gpu and sizes.precision == "bf16" else sizes.precision]
    with ExitStack() as modes:
        modes.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
        modes.enter_context(ledger)
        modes.enter_context(Contents())
        if on_gpu:
            modes.enter_context(CudaAutocast())
        models = [model, *(value for value in vars(lesson).values() if isinstance(value, nn.Module))]
        for each in models:
            if on_gpu:
                keep_padding(each)
            each.to_empty(device="cpu")
            ledger.move_all([*each.parameters(), *each.buffers()], "parameters")
        run = put_together(config, Path(), Stage(dtype), get_technique(config.technique), model, lesson, None, STEPS)
        ledger.move_all(run.averages.average.values(), "averages")
        fill_optimizer(run)
        ledger.move_all((value for state in run.optimizer.state.values() for value in state.values()), "optimizer")
        ledger.watch_gradients(model)
        batches = [blank_batch(config, sizes) for _ in range(sizes.batches)]
        ledger.move_all((value for batch in batches for value in batch if isinstance(value, Tensor)), "batch")
        ledger.begin()
        # The second batch finds gradients of the first; a third would find the same.
        with ledger.keeping():
            take_step(run, batches[:2])
        fullest = {part: ledger.fullest[part] for part in PARTS}
    return Peak(fullest, *counts)


def lay_out(config: Config) -> tuple[MusicTrOCR, Lesson, tuple[int, int]]:
    """The model as the technique leaves it, its lesson, and how many parameters the plain model has and are trained.

    All lies on the meta device, where nothing has content.
    """
    technique, meta = get_technique(config.technique), torch.device("meta")
    preparation, tokenizer = make_preparation(config), Tokens(vocab_size=vocabulary_size(config.data.tokenizer_id))
    with meta:
        model = build_model(config, tokenizer, preparation)
        total = counts_of(model).total
        technique.apply(model, config)
        lesson = technique.lesson(config, tokenizer, meta, plan_of_checkpoint)
    model = model.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model, lesson, (total, counts_of(model).trainable)


def plan_of_checkpoint(path: Path) -> Loaded:
    """A model that isn't read: of a configuration, a run's folder or a checkpoint."""
    folder = path.parent if path.suffix in (".yaml", ".yml") else find(path)
    config = load_config([path if folder == path.parent else folder / "config.yaml"])
    own = folder / "tokenizer.json"
    size = vocabulary_size(str(own) if own.is_file() else config.data.tokenizer_id)
    tokenizer, preparation = Tokens(vocab_size=size), make_preparation(config)
    return Loaded(folder, config, tokenizer, preparation, build_model(config, tokenizer, preparation).eval())


def fill_optimizer(run: Run) -> None:
    """Give the optimizer its states, as the first step does."""
    for parameter in run.model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)


def blank_batch(config: Config, sizes: Sizes) -> Batch:
    """White pictures as wide as the batch, labels of zeros as long as it."""
    channels = make_preparation(config).channels
    stride = get_backbone(config.model.params.vision_model_name).stride
    lines, tokens = sizes.lines, sizes.tokens
    targets_BN = torch.full((lines, tokens), 5)
    targets_BN[:, -1] = IGNORED
    return Batch(
        image_BCHW=torch.ones(lines, channels, sizes.height, sizes.width),
        valid_width_B=torch.full((lines,), sizes.width),
        tokens_BN=torch.full((lines, tokens), 5),
        targets_BN=targets_BN,
        look_BN=torch.ones(lines, tokens),
        columns_3BT=torch.zeros(3, lines, -(-sizes.width // stride), dtype=torch.long),
        transcriptions=[""] * lines,
        names=[""] * lines,
        place=Place(),
    )
