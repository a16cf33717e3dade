"""EfficientNet-B0: depthwise convolutions with squeeze-and-excitation, the smallest model of the study.

The hub id names weights that came from TensorFlow, whose padding is lopsided. We use timm's own weights for the same
network, because their padding doesn't depend on the width.
"""

from torch import nn

from training.model.backbone import Backbone, timm_model


def build(channels: int, pretrained: bool) -> nn.Module:
    return timm_model("efficientnet_b0.ra_in1k", pretrained, in_chans=channels)


BACKBONE = Backbone(
    build=build,
    channels=1280,
    stride=32,
    height_stride=32,
    hub_id="google/efficientnet-b0",
    blocks=lambda network: [block for stage in network.blocks for block in stage],
)
