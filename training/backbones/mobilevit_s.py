"""MobileViT-Small: convolutions and small transformers in turn (4.9M parameters), made for phones."""

from torch import nn

from training.backbone import Backbone, timm_model


def build(channels: int, pretrained: bool) -> nn.Module:
    return timm_model("mobilevit_s.cvnets_in1k", pretrained, in_chans=channels)


BACKBONE = Backbone(
    build=build, channels=640, stride=32, height_stride=32, family="hybrid", hub_id="apple/mobilevit-small"
)
