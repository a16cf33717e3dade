"""AdamW, the learning-rate schedule, and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from runtime.errors import ConfigError

from ..config import OptimizerConfig, SchedulerConfig
from ..hardware.sharding import own_part, split_like

SCHEDULES = ("LinearWarmup", "Cosine", "Trapezoid")


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """AdamW; norms, biases and embeddings don't decay.

    Raises:
        ConfigError: another optimizer is asked for.
    """
    if config.type != "AdamW":
        raise ConfigError(f"training.optimizer.type is {config.type!r}; AdamW is the one there is")
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    decaying, steady = [], []
    for parameter in model.parameters():
        if parameter.requires_grad:
            (steady if parameter.ndim < 2 or id(parameter) in embeddings else decaying).append(parameter)
    groups = [
        {"params": decaying, "weight_decay": config.weight_decay},
        {"params": steady, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)


def learning_rate_factor(config: SchedulerConfig, step: int, total: int) -> float:
    """Learning rate of a step as a share of its highest value.

    Args:
        config: kind and shape of the course.
        step: 0 for the first.
        total: steps of the run.

    Raises:
        ConfigError: an unknown kind.
    """
    if config.type not in SCHEDULES:
        raise ConfigError(f"training.scheduler.type is {config.type!r}; use {', '.join(SCHEDULES)}")
    warmup = max(1, round(config.warmup_ratio * total))
    if step < warmup:
        return (step + 1) / warmup
    course = min(1.0, (step - warmup) / max(1, total - warmup))
    if config.type == "LinearWarmup":
        high = 1 - course
    elif config.type == "Cosine":
        high = 0.5 * (1 + math.cos(math.pi * course))
    else:
        high = min(1.0, (total - step) / max(1.0, config.decay_ratio * total))
    return config.final_ratio + (1 - config.final_ratio) * high


class AveragedWeights:
    """Exponential moving average of weights and changing buffers. In the first steps it forgets faster.

    Args:
        model: whose weights are averaged.
        decay: share kept a step; 0 means no average, the weights themselves.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay = model, decay
        frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        self.average = {
            name: value.detach().clone() for name, value in model.state_dict().items() if name not in frozen
        }

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` steps."""
        current = self.model.state_dict()
        keep = min(self.decay, (1 + step) / (10 + step)) if self.decay else 0.0
        names = [name for name, value in self.average.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [own_part(self.average[name]) for name in names], [own_part(current[name]) for name in names], 1 - keep
        )
        for name, value in self.average.items():
            if not value.is_floating_point():
                value.copy_(current[name])

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model with averaged weights, in evaluation mode, while the block runs."""
        state = self.model.state_dict()
        current = {name: state[name].detach().clone() for name in self.average}
        training = self.model.training
        self.model.load_state_dict(self.average, strict=False)
        self.model.eval()
        try:
            yield
        finally:
            self.model.load_state_dict(current, strict=False)
            self.model.train(training)


def named_states(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimizer's tensors by parameter: `exp_avg/decoder.head.weight`."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        f"{kind}/{names[id(parameter)]}": value
        for parameter, state in optimizer.state.items()
        for kind, value in state.items()
        if isinstance(value, Tensor)
    }


def restore_states(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Inverse of `named_states`."""
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        kind, name = key.split("/", 1)
        parameter = parameters[name]
        # Same memory layout as the parameter (channels last), which the fused kernel relies on.
        like = parameter if value.shape == parameter.shape else value
        optimizer.state[parameter][kind] = torch.empty_like(
            like, dtype=value.dtype, device=parameter.device
        ).copy_(split_like(value, like))
