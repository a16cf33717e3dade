"""Full training: every weight is trained."""

from training.config import Config
from training.loop.technique import Technique
from training.model.music_trocr import MusicTrOCR


def apply(_model: MusicTrOCR, _config: Config) -> str:
    return "every weight is trained"


TECHNIQUE = Technique(apply)
