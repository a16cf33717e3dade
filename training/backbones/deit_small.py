"""DeiT-Small: ViT-Small pretrained on ImageNet-1k alone, without a distillation token."""

from training.backbones._patches import small_transformer

BACKBONE = small_transformer("deit_small_patch16_224.fb_in1k", "facebook/deit-small-patch16-224")
