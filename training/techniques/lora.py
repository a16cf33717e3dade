"""LoRA: the weights stay unchanged; small matrices that are added to each dense layer are trained, and merged at the
end."""

from training.loop.technique import Technique
from training.techniques._adapters import SETTINGS, add_adapters, check, merged

EXTRA = "train"

TECHNIQUE = Technique(add_adapters, SETTINGS, check, merged, packages=("peft",))
