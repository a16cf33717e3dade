"""Swin-Tiny: attention inside windows of 7 x 7 patches that shift from layer to layer.

The study padded every picture to a multiple of 224 px, so that each stage's map divides into windows (7 patches of 4,
8, 16 and 32 px). That isn't needed. Inside each block timm 1.0 adds empty patches up to a whole window and removes them
again; where an odd number of patches is merged in pairs, it adds one more; and it makes masks of shifted windows for
each width. So any multiple of the patch, 4 px, works (a test tries each from 32 to 700 px). At multiples of the stride,
32 px, no row or column is half empty.

Windows are local, so padding changes only the features near a line's end, as with convolutions. It isn't masked.
"""

from typing import Any

from torch import Tensor, nn

from training.model.backbone import Backbone, timm_model


class WindowGrid(nn.Module):
    """image_BCHW -> features_BCHW; timm's Swin ends with channels last."""

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, image_BCHW: Tensor) -> Tensor:
        features_BHWC: Tensor = self.transformer(image_BCHW)
        return features_BHWC.permute(0, 3, 1, 2)


def build(channels: int, pretrained: bool, **sizes: Any) -> nn.Module:
    """`sizes`: other depths and widths than Swin-Tiny's, for tests of many pictures."""
    name = "swin_tiny_patch4_window7_224.ms_in1k"
    return WindowGrid(timm_model(name, pretrained, in_chans=channels, dynamic_img_size=True, **sizes))


BACKBONE = Backbone(
    build=build,
    channels=768,
    stride=32,
    height_stride=32,
    height_multiple=4,
    family="transformer",
    hub_id="microsoft/swin-tiny-patch4-window7-224",
    blocks=lambda grid: [block for stage in grid.transformer.layers for block in stage.blocks],
)
