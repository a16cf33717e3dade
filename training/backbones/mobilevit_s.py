"""MobileViT-Small: alternates convolutions and small transformers, made for phones.

Its transformers take pairs of columns. If a map has an odd number of columns, timm stretches it by one and back. At
widths that are multiples of 64 px all maps are even, so one exported graph works for all widths.
"""

from torch import nn

from training.model.backbone import Backbone, timm_model


def build(channels: int, pretrained: bool) -> nn.Module:
    return timm_model("mobilevit_s.cvnets_in1k", pretrained, in_chans=channels)


BACKBONE = Backbone(
    build=build,
    channels=640,
    stride=32,
    height_stride=32,
    width_multiple=64,
    family="hybrid",
    hub_id="apple/mobilevit-small",
    blocks=lambda network: [block for stage in network.stages for block in stage],
)
