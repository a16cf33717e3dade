"""ResNet-50: the convolutional one of the study (23.5M parameters)."""

from torch import nn

from training.backbone import Backbone, timm_model


def build(channels: int, pretrained: bool) -> nn.Module:
    return timm_model("resnet50", pretrained, in_chans=channels)


BACKBONE = Backbone(build=build, channels=2048, stride=32, height_stride=32)
