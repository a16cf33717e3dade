"""Configurations: the published one loads as it stands; what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.errors import OmrError
from tests.training.study import PUBLISHED, STUDY, Published
from training.config import full_key, keys, load_config, save_config
from training.loading.batches import make_preparation
from training.model.backbone import backbone_name


def written(folder: Path, text: str, name: str = "a.yaml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_the_published_configuration_loads_as_it_stands(tmp_path: Path) -> None:
    config = load_config([written(tmp_path, STUDY)])
    params, training = config.model.params, config.training
    assert (config.model.type, params.vision_model_name) == ("MusicTrOCR", "facebook/deit-small-patch16-224")
    assert (params.d_model, params.n_heads, params.n_decoder_layers, params.d_ff) == (512, 8, 6, 2048)
    assert (params.max_seq_len, params.dropout, params.memory) == (2048, 0.1, "grid")
    assert (config.data.img_height, config.data.preparation) == (224, "height")
    assert (training.batch_size, training.gradient_accumulation_steps, training.epochs) == (8, 4, 10)
    assert (training.optimizer.learning_rate, training.optimizer.betas) == (3e-4, (0.9, 0.99))
    assert (training.scheduler.type, training.scheduler.warmup_ratio) == ("LinearWarmup", 0.03)
    assert (config.hardware.device, config.hardware.mixed_precision) == ("auto", True)


def test_numbers_may_be_written_as_yaml_reads_them_as_text(tmp_path: Path) -> None:
    text = "training:\n  optimizer:\n    learning_rate: 3e-4\n  max_steps: 1e3\n"
    training = load_config([written(tmp_path, text)]).training
    assert training.optimizer.learning_rate == 0.0003
    assert training.max_steps == 1000


def test_later_files_and_then_overrides_win_key_by_key(tmp_path: Path) -> None:
    first = written(tmp_path, STUDY)
    second = written(tmp_path, "model:\n  params:\n    d_model: 64\n    n_heads: 2\n", "b.yaml")
    config = load_config([first, second], ["n_heads=4", "training.optimizer.betas=[0.8, 0.9]", "memory=columns"])
    params = config.model.params
    assert (params.d_model, params.n_heads, params.d_ff, params.memory) == (64, 4, 2048, "columns")
    assert config.training.optimizer.betas == (0.8, 0.9)
    assert config.training.optimizer.weight_decay == 0.01


def test_a_saved_configuration_loads_equal(tmp_path: Path) -> None:
    config = load_config([written(tmp_path, STUDY)], ["width_buckets=[64, 128]", "degrade=train", "init_from=x"])
    save_config(config, tmp_path / "saved.yaml")
    assert load_config([tmp_path / "saved.yaml"]) == config


def test_every_key_can_be_given_by_its_full_name() -> None:
    assert "training.optimizer.learning_rate" in keys()
    assert all(full_key(key) == key for key in keys())


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.name)
def test_a_hub_id_means_a_backbone(row: Published) -> None:
    assert backbone_name(row.hub_id) == row.name


def test_an_unknown_hub_id_is_answered_with_the_names_there_are() -> None:
    with pytest.raises(OmrError, match=r"no backbone called 'google/vit-huge' \(known: .*resnet50"):
        backbone_name("google/vit-huge")


def test_width_buckets_follow_the_height_and_suit_the_backbone(tmp_path: Path) -> None:
    tall = load_config([written(tmp_path, STUDY)], ["vision_model_name=resnet50"])
    preparation = make_preparation(tall)
    assert (preparation.height, preparation.channels) == (224, 3)
    assert preparation.staff_space == pytest.approx(224 * 7 / 96)  # the framing of engraved lines, at that height
    assert all(width % 32 == 0 for width in preparation.width_buckets)
    assert preparation.width_buckets[-1] >= 1280 * 224 / 96
