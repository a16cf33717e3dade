"""LoRA: the weights stay, and small matrices beside each dense layer are trained; they merge into the weights."""

from training.loop.technique import Technique
from training.techniques._adapters import SETTINGS, add_adapters, check, merged

EXTRA = "train"

TECHNIQUE = Technique(add_adapters, SETTINGS, check, merged, packages=("peft",))
