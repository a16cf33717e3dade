"""Knowledge distillation: the model learns from the labels, and from how likely a trained teacher finds every token.

The loss of the tokens is kd_alpha * cross-entropy + (1 - kd_alpha) * temperature^2 * KL(teacher || student), both
models' logits divided by the temperature (Hinton et al. 2015, https://arxiv.org/abs/1503.02531, section 2).
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.bundle.tokenizer import Tokenizer
from runtime.errors import ConfigError
from runtime.page.preparation import Preparation, bucket_for
from training.config import Config, TechniqueConfig
from training.loading.batches import IGNORED, Batch, make_preparation
from training.loop.technique import Lesson, Load, Technique
from training.model.music_trocr import MusicTrOCR, Output
from training.saving.checkpoint import Loaded, load_checkpoint

SETTINGS = ("teacher", "kd_alpha", "temperature")


def check(settings: TechniqueConfig) -> None:
    """See `Technique.check`."""
    if not settings.teacher:
        raise ConfigError("technique 'distill' has no teacher: set technique.teacher to a run's folder or a checkpoint")
    if not 0 <= settings.kd_alpha <= 1:
        raise ConfigError(f"technique.kd_alpha is {settings.kd_alpha:g}; the labels' share must be in 0 to 1")
    if settings.temperature <= 0:
        raise ConfigError(f"technique.temperature is {settings.temperature:g}; it must be above 0, such as 2")


class Teacher(Lesson):
    """A trained model that teaches the one in training. The two may differ in everything but the tokenizer.

    Args:
        loaded: the teacher.
        preparation: of the student's pictures.
        settings: share and temperature.
    """

    def __init__(self, loaded: Loaded, preparation: Preparation, settings: TechniqueConfig) -> None:
        self.model = loaded.model.requires_grad_(False)
        self.own, self.other = loaded.preparation, preparation
        self.temperature = settings.temperature
        self.weights = {"token": settings.kd_alpha, "teacher": 1 - settings.kd_alpha}

    def sums(self, batch: Batch, output: Output) -> dict[str, Tensor]:
        """Tokens beyond the longest line that the teacher can hold are learnt from the labels only."""
        known = self.model.params.max_seq_len
        with torch.no_grad():
            image_BCHW, valid_width_B = reprepared(batch.image_BCHW, batch.valid_width_B, self.other, self.own)
            taught_BNV = self.model(image_BCHW, valid_width_B, batch.tokens_BN[:, :known]).logits_BNV
        here_BN = batch.targets_BN[:, :known] != IGNORED
        return {"teacher": divergence(taught_BNV[here_BN], output.logits_BNV[:, :known][here_BN], self.temperature)}


def divergence(teacher_KV: Tensor, student_KV: Tensor, temperature: float) -> Tensor:
    """temperature^2 * KL(teacher || student), summed over K tokens."""
    wanted_KV, found_KV = (F.log_softmax(logits.float() / temperature, dim=-1) for logits in (teacher_KV, student_KV))
    return F.kl_div(found_KV, wanted_KV, reduction="sum", log_target=True) * temperature**2


def reprepared(
    image_BCHW: Tensor, valid_width_B: Tensor, given: Preparation, wanted: Preparation
) -> tuple[Tensor, Tensor]:
    """A batch of prepared pictures as another model wants it.

    Both preparations frame a data set's lines alike, so heights differ by a scale. Enlarged pictures are less sharp
    than `runtime.page.preparation.prepare` would make them from the originals.
    """
    if given == wanted:
        return image_BCHW, valid_width_B
    grey_B1HW = image_BCHW[:, :1] * given.std + given.mean
    scale = wanted.height / given.height
    if scale != 1:
        size = (wanted.height, max(1, round(grey_B1HW.shape[-1] * scale)))
        grey_B1HW = F.interpolate(grey_B1HW, size, mode="bilinear", antialias=scale < 1).clamp(0, 1)
        valid_width_B = (valid_width_B * scale).round().to(valid_width_B.dtype)
    widest = int(valid_width_B.max())
    bucket = bucket_for(widest, wanted)
    if widest > bucket:  # wider than any line the other model was made for
        bucket = math.ceil(widest / wanted.width_multiple) * wanted.width_multiple
    grey_B1HW = grey_B1HW[..., :bucket]
    grey_B1HW = F.pad(grey_B1HW, (0, bucket - grey_B1HW.shape[-1]), value=1.0)
    return ((grey_B1HW - wanted.mean) / wanted.std).expand(-1, wanted.channels, -1, -1), valid_width_B


def give_same_ids(first: Tokenizer, second: Tokenizer) -> bool:
    """Whether two tokenizers give the same ids; their files tell."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("first", "second")]
        for file, tokenizer in zip(files, (first, second), strict=True):
            tokenizer.save(file)
        return files[0].read_bytes() == files[1].read_bytes()


def apply(_model: MusicTrOCR, config: Config) -> str:
    settings = config.technique
    return (
        f"every weight is trained, {1 - settings.kd_alpha:.0%} of the tokens' loss by the teacher {settings.teacher}, "
        f"temperature {settings.temperature:g}"
    )


def lesson(config: Config, tokenizer: Tokenizer, device: torch.device, load: Load = load_checkpoint) -> Lesson:
    """See `Technique.lesson`.

    Raises:
        OmrError: the teacher can't be loaded.
        ConfigError: it has another tokenizer, or its pictures can't be made from the student's.
    """
    settings = config.technique
    loaded = load(Path(settings.teacher))
    if not give_same_ids(tokenizer, loaded.tokenizer):
        raise ConfigError(
            f"teacher {settings.teacher} has another tokenizer than data.tokenizer_id {config.data.tokenizer_id}: "
            f"set data.tokenizer_id={loaded.folder / 'tokenizer.json'}"
        )
    preparation = make_preparation(config)
    whiten = loaded.config.data.whiten
    if config.data.whiten != whiten:
        raise ConfigError(
            f"data.whiten is {config.data.whiten}, but teacher {settings.teacher} was trained with "
            f"{whiten}: set data.whiten={str(whiten).lower()}"
        )
    loaded.model.to(device)
    return Teacher(loaded, preparation, settings)


TECHNIQUE = Technique(apply, SETTINGS, check, lesson=lesson)
