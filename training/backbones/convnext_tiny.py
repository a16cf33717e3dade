"""ConvNeXt-Tiny: 7x7 depthwise convolutions between wide linear layers."""

from torch import nn

from training.model.backbone import Backbone, timm_model


def build(channels: int, pretrained: bool) -> nn.Module:
    return timm_model("convnext_tiny.fb_in1k", pretrained, in_chans=channels)


BACKBONE = Backbone(
    build=build,
    channels=768,
    stride=32,
    height_stride=32,
    hub_id="facebook/convnext-tiny-224",
    blocks=lambda network: [block for stage in network.stages for block in stage.blocks],
)
