"""The seven models of the study have the study's numbers of parameters, counted without network."""

from __future__ import annotations

import pytest

from tests.source import ROOT
from tests.training.study import PUBLISHED, Published
from training.config import load_config
from training.loop.parameter_counts import Counts, count_parameters, vocabulary_size
from training.model.backbone import get_backbone

CLASSES = 1000  # of ImageNet; each of these classifiers is one linear layer with biases


def counted(row: Published) -> Counts:
    return count_parameters(load_config([ROOT / "configs" / "backbones" / f"{row.name}.yaml"], ["pretrained=false"]))


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.name)
def test_a_model_has_the_studys_number_of_parameters(row: Published) -> None:
    found = counted(row)
    assert found.total / 1e6 == pytest.approx(row.total, rel=0.01)
    assert found.trainable == found.total


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: row.name)
def test_an_encoder_with_its_classifier_has_the_studys_whole_millions(row: Published) -> None:
    """Rounded down or to the nearest: the study does either."""
    classifier = (get_backbone(row.name).channels + 1) * CLASSES
    millions = (counted(row).backbone + classifier) / 1e6
    assert row.encoder in (int(millions), round(millions))


def test_what_the_study_counted_besides_is_the_same_for_all_seven() -> None:
    """What `training.loop.parameter_counts` says of the difference, in millions, up to the rounding of one decimal."""
    pooling = 384 * 385 / 1e6
    low, high = 0.0, 1.0
    for row in PUBLISHED:
        missing = row.total - counted(row).total / 1e6 - pooling * get_backbone(row.name).class_token
        low, high = max(low, missing - 0.05), min(high, missing + 0.05)
    assert 0.17 < low < high < 0.23


def test_the_studys_vocabulary_is_known_without_the_hub() -> None:
    assert vocabulary_size("guangyangmusic/legato") == 4097
