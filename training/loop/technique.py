"""The interface of fine-tuning techniques: each is a file in `training/techniques/` and has that file's name.

A technique changes a model in place before its optimizer is made: it freezes weights, adds adapters, packs weights or
rounds them. It may also add a loss. It can return the weights of a plain model that computes the same, so reading,
releasing and exporting a checkpoint need to know nothing about it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from runtime.bundle.tokenizer import Tokenizer
from runtime.errors import ConfigError, MissingExtraError
from runtime.registry import Registry

from ..config import Config, TechniqueConfig
from ..loading.batches import Batch
from ..model.music_trocr import MusicTrOCR, Output
from ..saving.checkpoint import Loaded

Load = Callable[[Path], Loaded]
TECHNIQUES = Registry("training.techniques", "TECHNIQUE", "technique")


class Lesson:
    """The losses that a technique adds to those of the labels. This one adds none.

    Attributes:
        weights: weight of each loss, by name; names of `training.loop.losses` replace the weight they have there.
    """

    weights: Mapping[str, float] = {}

    def sums(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Its losses, summed over the batch's tokens."""
        return {}


def plain_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights as they are."""
    return dict(model.state_dict())


def no_check(_settings: TechniqueConfig) -> None:
    """Any settings will do."""


def no_lesson(_config: Config, _tokenizer: Tokenizer, _device: torch.device, _load: Load) -> Lesson:
    """No further losses: learn from the labels only."""
    return Lesson()


@dataclass(frozen=True)
class Technique:
    """One way to train.

    Attributes:
        apply: (model, config) -> changes the model in place, and says in words what was done.
        settings: fields of the configuration's `technique` that it uses, besides the name.
        check: (settings) -> raises ConfigError if they make no sense.
        merged: (model as `apply` left it) -> weights of the plain model that computes the same.
        lesson: (config, tokenizer, device, how a checkpoint is opened) -> further losses.
        packages: what must be installed; the `train` extra brings it.
    """

    apply: Callable[[MusicTrOCR, Config], str]
    settings: tuple[str, ...] = ()
    check: Callable[[TechniqueConfig], None] = no_check
    merged: Callable[[MusicTrOCR], dict[str, Tensor]] = plain_weights
    lesson: Callable[[Config, Tokenizer, torch.device, Load], Lesson] = no_lesson
    packages: tuple[str, ...] = ()


def get_technique(settings: TechniqueConfig) -> Technique:
    """The technique that a configuration names; its settings are checked.

    Raises:
        OmrError: there is no such technique.
        ConfigError: a setting that makes no sense, or that the technique doesn't use.
        MissingExtraError: it needs a package that isn't installed.
    """
    technique: Technique = TECHNIQUES.get(settings.name)
    for item in fields(settings):
        value = getattr(settings, item.name)
        if item.name not in ("name", *technique.settings) and value != item.default:
            raise ConfigError(
                f"technique.{item.name} is {value!r}, but technique {settings.name!r} has no use for it: "
                "leave it out, or choose another technique.name"
            )
    technique.check(settings)
    for package in technique.packages:
        if find_spec(package) is None:
            needed = f"technique {settings.name!r} needs {package}"
            raise MissingExtraError(f"{needed}: pip install -e '.[train]'")
    return technique


def learnt(config: Config) -> str:
    """Which weights were learnt before this run: `all`, those of the `encoder`, or `none`."""
    if config.training.init_from:
        return "all"
    return "encoder" if config.model.params.pretrained else "none"
