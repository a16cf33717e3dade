"""Frozen encoder: the encoder and its batch statistics stay unchanged; everything after it is trained."""

from training.config import Config
from training.loop.technique import Technique, learnt
from training.model.music_trocr import MusicTrOCR


def apply(model: MusicTrOCR, config: Config) -> str:
    model.backbone.requires_grad_(False)
    if learnt(config) != "none":
        return "the encoder is frozen"
    return (
        "the encoder is frozen, and random, since nothing was learnt before this run "
        "(model.params.pretrained=true or training.init_from=CHECKPOINT would change that)"
    )


TECHNIQUE = Technique(apply)
