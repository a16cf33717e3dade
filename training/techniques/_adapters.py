"""Adds low-rank adapters (LoRA, Hu et al. 2021, https://arxiv.org/abs/2106.09685) to dense layers, with peft.

A layer with the weight W computes (W + alpha / rank * B A) x; W stays, A and B are trained. B begins at 0.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from torch import Tensor, nn

from runtime.errors import ConfigError
from runtime.registry import quiet_imports
from training.config import Config, TechniqueConfig
from training.loop.technique import learnt
from training.model.backbone import declare_torchvision_operators
from training.model.music_trocr import MusicTrOCR

SETTINGS = ("rank", "alpha", "adapter_dropout", "targets")
PLACES = ("auto", "all", "encoder")
ADAPTER = "default"  # peft's name for it; it becomes a part of the tensors' names


def check(settings: TechniqueConfig) -> None:
    """See `Technique.check`."""
    if settings.rank < 1:
        raise ConfigError(f"technique.rank is {settings.rank}; an adapter needs a rank of 1 or more, such as 8")
    if settings.alpha <= 0:
        raise ConfigError(f"technique.alpha is {settings.alpha:g}; it must be above 0, such as twice the rank")
    if not 0 <= settings.adapter_dropout < 1:
        raise ConfigError(f"technique.adapter_dropout is {settings.adapter_dropout:g}; it must be in 0 to 1, below 1")
    if settings.targets not in PLACES:
        raise ConfigError(f"technique.targets is {settings.targets!r}; use {', '.join(PLACES)}")


def import_peft() -> Any:
    """Import peft, which imports torchvision and bitsandbytes.

    bitsandbytes 0.50 complains about a kernel that it would fetch from the hub and that nothing here calls.
    """
    declare_torchvision_operators()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    with quiet_imports():  # torchao warns where it is installed beside another torch than its own
        import peft

    return peft


def dense(module: nn.Module) -> bool:
    """Whether a layer can have an adapter that merges into it: linear, or a plain convolution.

    peft makes an adapter's convolutions without groups, dilation or padding by name. Subclasses may compute
    something else.
    """
    if type(module) is nn.Conv2d:
        plain = isinstance(module.padding, tuple) and module.padding_mode == "zeros"
        return module.groups == 1 and set(module.dilation) == {1} and plain
    return type(module) is nn.Linear


def add_adapters(model: MusicTrOCR, config: Config) -> str:
    """Add adapters to the dense layers of the encoder or of the whole model, and freeze these layers.

    If only the encoder has adapters, all other weights are trained.

    Returns:
        What was done, in words.

    Raises:
        ConfigError: there is no layer that can have an adapter.
    """
    settings, before = config.technique, learnt(config)
    everywhere = settings.targets == "all" or (settings.targets == "auto" and before != "encoder")
    prefix = "" if everywhere else "backbone."
    names = [name for name, module in model.named_modules() if name.startswith(prefix) and dense(module)]
    if not names:
        raise ConfigError(
            f"backbone {config.model.params.vision_model_name!r} has no dense layer that could have an adapter: "
            "set technique.targets=all or technique.name=full"
        )
    peft = import_peft()
    options = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.adapter_dropout,
        target_modules="|".join(re.escape(name) for name in names),
    )
    peft.inject_adapter_in_model(options, model, ADAPTER)
    # peft 0.21 would convert an adapter's input to fp32, and autocast back to half precision. The backward pass would
    # then keep the same values twice.
    for layer in adapted_layers(model).values():
        layer.cast_input_dtype_enabled = False
    if not everywhere:
        for name, parameter in model.named_parameters():
            if not name.startswith("backbone."):
                parameter.requires_grad_(True)
    where = "the whole model" if everywhere else "the encoder, the rest is trained whole"
    why = {"all": "init_from", "encoder": "the rest starts at random", "none": "nothing was learnt before this run"}
    reason = f" ({why[before]})" if settings.targets == "auto" else ""
    return f"adapters of rank {settings.rank} beside {len(names)} layers of {where}{reason}"


def adapted_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The layers that have adapters, by name."""
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}


def merged(model: nn.Module) -> dict[str, Tensor]:
    """See `Technique.merged`: each adapter's product is added to the weight of its layer."""
    weights = dict(model.state_dict())
    for name, layer in adapted_layers(model).items():
        for inside in [inside for inside in weights if inside.startswith(f"{name}.")]:
            del weights[inside]
        weights[f"{name}.weight"] = layer.base_layer.weight.detach() + layer.get_delta_weight(ADAPTER).detach()
        if layer.base_layer.bias is not None:
            weights[f"{name}.bias"] = layer.base_layer.bias.detach()
    return weights
