"""ViT-Small: a plain transformer over patches of 16 px, pretrained on ImageNet-21k."""

from training.backbones._patches import small_transformer

BACKBONE = small_transformer("vit_small_patch16_224.augreg_in21k_ft_in1k", "WinKawaks/vit-small-patch16-224")
