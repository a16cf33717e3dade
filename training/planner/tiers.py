"""The published study's decision tree: which backbone and technique for which GPU and aim.

best accuracy      full fine-tuning of the best backbone
limited memory     under 16 GB QLoRA on the smallest, under 24 GB LoRA of rank 8 on a middle one, from there on full
                   fine-tuning, or LoRA, of the best
fast, or a phone   a small backbone, distilled, then exported in int8

The tree leaves sizes open. We take as many lines at once as the GPU holds, and as many lines in a step as before. If
nothing fits, we try again with activations that are computed twice, which is slower.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from training.config import Config, TechniqueConfig
from training.model.activation_checkpointing import CHOICES
from training.model.backbone import backbone_name, get_backbone

from .advice import Estimate, Wish, estimate, most_of
from .sizes import splits

TIERS = (16, 24, 48)  # GB, the study's tables 12 to 14
# Validation loss in the study's table of results, best first.
PUBLISHED = {
    "deit_small": 0.3205, "convnext_tiny": 0.3371, "swin_tiny": 0.3555, "vit_small": 0.3922, "resnet50": 0.4529,
    "mobilevit_s": 0.4857, "efficientnet_b0": 0.5119,
}  # fmt: skip
BEST, MIDDLE = "deit_small", "vit_small"  # the lowest loss, and the median
SMALLEST = "efficientnet_b0"  # fewest parameters: 41.6M
GOALS = ("memory", "accuracy", "mobile")


def candidates(config: Config, gb: float, goal: str) -> Iterator[tuple[str, TechniqueConfig]]:
    """Backbones and techniques in the order of the tree's preference; of a backbone that the study doesn't have, what
    keeps most of the configuration.
    """
    own, teacher = backbone_name(config.model.params.vision_model_name), config.technique.teacher
    if own not in PUBLISHED:
        yield own, config.technique
        yield own, TechniqueConfig("lora", rank=8)
        yield own, TechniqueConfig("qlora", rank=8)
        return
    if goal == "mobile":
        yield SMALLEST, TechniqueConfig("distill", teacher=teacher)
        return
    if goal == "accuracy" or gb >= 24:
        yield BEST, TechniqueConfig("full")
        yield BEST, TechniqueConfig("lora", rank=8)
    if goal == "accuracy" or gb >= 16:
        yield MIDDLE, TechniqueConfig("lora", rank=8)
    yield SMALLEST, TechniqueConfig("qlora", rank=8)


def recommend(config: Config, wish: Wish, gb: float, goal: str = "memory") -> Estimate | None:
    """The tree's answer for a GPU, as a configuration; None where nothing fits, not even with one line at once.

    Args:
        config: what it doesn't settle: data, sizes of the decoder, lines of a step.
        wish: the batch it is for.
        gb: of the GPU.
        goal: memory, accuracy or mobile; the last needs a teacher in the configuration.
    """
    for where in CHOICES[CHOICES.index(config.hardware.gradient_checkpointing) :]:
        for backbone, technique in candidates(config, gb, goal):
            hardware = replace(config.hardware, gradient_checkpointing=where)
            sizes = splits(replace(around(config, backbone), technique=technique, hardware=hardware))
            if fitting := most_of(sizes, wish, gb):
                return estimate(sizes[fitting - 1], wish)
    return None


def around(config: Config, backbone: str) -> Config:
    """A configuration with another backbone, pretrained."""
    params = config.model.params
    if backbone_name(params.vision_model_name) == backbone:
        return config
    params = replace(params, vision_model_name=get_backbone(backbone).hub_id, pretrained=True)
    return replace(config, model=replace(config.model, params=params))
