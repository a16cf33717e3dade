"""MobileViT-Small: convolutions and small transformers in turn, made for phones.

Its transformers take pairs of columns. Where a map has an odd number, timm stretches it by one and back; at widths that
are multiples of 64 px all maps are even, and one exported graph holds for all of them.
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
