"""The shipped model's backbone: a small residual network of plain 3x3 convolutions, for lines 96 px high at 7 px per
staff space.

A column of its features is 8 px wide, a little less than a notehead; a row is 16 px high.
"""

import torch
from torch import Tensor, nn

from runtime.errors import OmrError
from training.model.backbone import Backbone


class Block(nn.Module):
    """Two convolutions around a shortcut: [B, C, H, W] -> the same shape."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(channels, channels),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return torch.relu(x_BCHW + self.body(x_BCHW))


def conv(channels_in: int, channels_out: int, stride: int | tuple[int, int] = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class PocketCnn(nn.Module):
    """image [B, C, H, W] -> features [B, 192, H/16, W/8]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            conv(channels, 32, 2),
            conv(32, 64, 2),
            Block(64),
            conv(64, 128, 2),
            Block(128),
            Block(128),
            conv(128, 192, (2, 1)),
            Block(192),
        )

    def forward(self, image_BCHW: Tensor) -> Tensor:
        # White paper is 1 (mean 0.5, std 0.5). As ink, paper is 0, so the zeros around the picture look like
        # paper.
        features_BCHW: Tensor = self.layers(1 - image_BCHW)
        return features_BCHW


def build(channels: int, pretrained: bool) -> nn.Module:
    if pretrained:
        raise OmrError(
            "pocket_cnn has no pretrained weights: set model.params.pretrained=false, "
            "or start from a checkpoint with training.init_from"
        )
    return PocketCnn(channels)


BACKBONE = Backbone(
    build=build,
    channels=192,
    stride=8,
    height_stride=16,
    image_channels=1,
    width_multiple=8,
    debug_size=(32, 128),
    blocks=lambda network: network.layers,
)
