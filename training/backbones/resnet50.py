"""ResNet-50: residual convolutions."""

from torch import nn

from training.model.backbone import Backbone, timm_model


def build(channels: int, pretrained: bool) -> nn.Module:
    return timm_model("resnet50.a1_in1k", pretrained, in_chans=channels)


BACKBONE = Backbone(
    build=build,
    channels=2048,
    stride=32,
    height_stride=32,
    hub_id="microsoft/resnet-50",
    blocks=lambda network: [*network.layer1, *network.layer2, *network.layer3, *network.layer4],
)
