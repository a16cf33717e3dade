"""The interface of backbones, the picture encoders: each is a file in `training/backbones/` and has that file's name.

Whatever is special about a backbone (its stride, its channels, the widths it accepts) is a field of its entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from runtime.errors import MissingExtraError, OmrError
from runtime.registry import Registry

BACKBONES = Registry("training.backbones", "BACKBONE", "backbone")


@dataclass(frozen=True)
class Backbone:
    """One picture encoder.

    Attributes:
        build: (channels of the picture, pretrained) -> module that maps image_BCHW to features_BCHW.
        channels: channels of the features.
        stride: pixels of width that one column of features covers.
        height_stride: pixels of height that one row of features covers.
        image_channels: channels the picture must have.
        width_multiple: a picture's width must be a multiple of this, in px.
        height_multiple: the same of its height.
        debug_size: height and width of a picture small enough for tests, in px.
        family: CNN, transformer or hybrid, as the study groups them.
        hub_id: its name on the Hugging Face hub, which published configurations use; empty without one.
        class_token: it has a class token beside the patches, which isn't part of the features.
        own_positions: the features already carry positions, so a grid memory adds none.
        blocks: the parts of the module that gradient checkpointing recomputes one by one; by default the module is one
            part.
        masks_padding: the module also takes the widths before padding (valid_width_B), and looks at nothing beyond
            them.
    """

    build: Callable[[int, bool], nn.Module]
    channels: int
    stride: int
    height_stride: int
    image_channels: int = 3
    width_multiple: int = 32
    height_multiple: int = 1
    debug_size: tuple[int, int] = (64, 128)
    family: str = "CNN"
    hub_id: str = ""
    class_token: bool = False
    own_positions: bool = False
    blocks: Callable[[Any], Iterable[nn.Module]] = lambda module: [module]
    masks_padding: bool = False

    def grid_height(self, height: int) -> int:
        """Rows of features of a picture `height` px high."""
        return -(-height // self.height_stride)


def backbone_name(name: str) -> str:
    """The registry's name of a backbone given by that name or by its id on the hub.

    Raises:
        OmrError: there is no such backbone.
    """
    if "/" in name:  # only then: asking an entry for its id imports it
        for known in BACKBONES.names():
            if BACKBONES.get(known).hub_id == name:
                return known
    return BACKBONES.check(name)


def get_backbone(name: str) -> Backbone:
    """The entry of a backbone given by name or hub id."""
    entry: Backbone = BACKBONES.get(backbone_name(name))
    return entry


def declare_torchvision_operators() -> None:
    """Make torchvision importable with a torch without CUDA.

    torchvision's wheel on PyPI is linked to CUDA. With a CPU torch its library doesn't load, and `import torchvision`
    (and so timm) fails with "operator torchvision::nms does not exist" (torch 2.13,
    torchvision 0.28). Nothing here calls these operators, so declaring their schemas before the first import
    is enough.
    """
    if torch.version.cuda is not None or torch.version.hip is not None:
        return
    for name, schema in {
        "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    }.items():
        try:
            torch.library.define(f"torchvision::{name}", schema)
        except RuntimeError:  # declared already: torchvision's library did load
            return


def timm_model(name: str, pretrained: bool, **options: Any) -> nn.Module:
    """A timm model without its classifier; its `forward` is the features before pooling.

    Raises:
        OmrError: the pretrained weights can't be reached.
    """
    declare_torchvision_operators()
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError(f"backbone {name!r} needs timm: pip install -e '.[train]'") from error
    try:
        model: nn.Module = timm.create_model(
            name, pretrained=pretrained, num_classes=0, global_pool="", **options
        )
    except Exception as error:  # the hub's, the network's and the cache's errors have no common class
        if not pretrained:
            raise
        reason = type(error).__name__
        raise OmrError(
            f"the pretrained weights of {name!r} can't be reached ({reason}): "
            "go online, or train from random weights with model.params.pretrained=false"
        ) from error
    return model
