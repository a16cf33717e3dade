"""What the published study says of itself: its reference configuration, and its table of backbones."""

from __future__ import annotations

from typing import NamedTuple

# Its configuration, to the letter; the other six differ in vision_model_name alone.
STUDY = """\
model:
  type: "MusicTrOCR"
  params:
    vision_model_name: "facebook/deit-small-patch16-224"
    d_model: 512
    n_heads: 8
    n_decoder_layers: 6
    d_ff: 2048
    max_seq_len: 2048
    dropout: 0.1
data:
  dataset_id: "guangyangmusic/PDMX-Synth"
  tokenizer_id: "guangyangmusic/legato"
  img_height: 224
training:
  batch_size: 8
  gradient_accumulation_steps: 4
  epochs: 10
  optimizer:
    type: "AdamW"
    learning_rate: 0.0003
    weight_decay: 0.01
    betas: [0.9, 0.99]
  scheduler:
    type: "LinearWarmup"
    warmup_ratio: 0.03
hardware:
  device: "auto"
  mixed_precision: true
"""


class Published(NamedTuple):
    """A row of its table of backbones.

    Attributes:
        name: ours.
        hub_id: vision_model_name in its configuration.
        encoder: parameters in whole millions.
        total: parameters of the whole model in millions.
    """

    name: str
    hub_id: str
    encoder: int
    total: float


PUBLISHED = [
    Published("deit_small", "facebook/deit-small-patch16-224", 22, 58.9),
    Published("convnext_tiny", "facebook/convnext-tiny-224", 28, 65.1),
    Published("swin_tiny", "microsoft/swin-tiny-patch4-window7-224", 28, 64.8),
    Published("vit_small", "WinKawaks/vit-small-patch16-224", 22, 58.9),
    Published("resnet50", "microsoft/resnet-50", 25, 61.5),
    Published("mobilevit_s", "apple/mobilevit-small", 6, 42.2),
    Published("efficientnet_b0", "google/efficientnet-b0", 5, 41.6),
]
