"""Which lines make up which batch: a pure function of seed, epoch and step."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from runtime.page.preparation import Preparation, bucket_for
from training.config import CurriculumConfig, OptimizerConfig, SchedulerConfig
from training.loading.order import Item, Place, Plan, Stream
from training.loop.optimizer import SCHEDULES, AveragedWeights, learning_rate_factor, make_optimizer

BEGIN = Place()
PREPARATION = Preparation(width_buckets=(128, 256, 512, 1024))
WIDTHS = np.random.default_rng(0).integers(50, 600, 90).tolist()


def plan(curriculum: CurriculumConfig = CurriculumConfig(), group: int = 2, width: int = 0) -> Plan:  # noqa: B008 - frozen
    return Plan(WIDTHS, PREPARATION, 4, width, group, 1, curriculum)


def stream(place: Place = BEGIN, rank: int = 0, processes: int = 1, **options: object) -> list[list[Item]]:
    return list(islice(Stream(plan(**options), place, rank, processes), 40))  # type: ignore[arg-type]


def rows(items: list[Item]) -> list[int]:
    return [item.index for item in items]


def test_a_batch_holds_lines_of_one_bucket() -> None:
    for items in stream():
        assert len({bucket_for(WIDTHS[item.index], PREPARATION) for item in items}) == 1


@pytest.mark.parametrize("done", [1, 7, 25])
def test_the_stream_goes_on_from_any_place(done: int) -> None:
    whole = stream()
    last = whole[done - 1][0]
    rest = stream(Place(last.epoch, last.first_step, last.number))
    assert rest[: 40 - done] == whole[done:]


def test_processes_share_every_group() -> None:
    both = [stream(rank=rank, processes=2) for rank in (0, 1)]
    merged = [items for pair in zip(*both, strict=True) for items in pair]
    assert [rows(items) for items in merged[:40]] == [rows(items) for items in stream()]


@pytest.mark.parametrize("steps", [1, 4, 13])
def test_processes_go_on_together(steps: int) -> None:
    """Whichever process wrote the checkpoint, both begin with the batch after its step."""
    for rank in (0, 1):
        whole = stream(rank=rank, processes=2)
        for other in (0, 1):
            last = stream(rank=other, processes=2)[steps - 1][0]
            rest = stream(Place(last.epoch, last.first_step, last.number), rank=rank, processes=2)
            assert rest[: 40 - steps] == whole[steps:]


def test_an_epoch_shows_nearly_every_line_once_in_another_order() -> None:
    epochs = [[i for batch in plan().epoch(number, 0) for i in batch] for number in (0, 1)]
    for shown in epochs:
        assert len(set(shown)) == len(shown) > 0.9 * len(WIDTHS)
    assert epochs[0] != epochs[1]


def test_batches_of_narrow_lines_hold_more_of_them() -> None:
    made = plan(width=256)
    assert [made.size(bucket) for bucket in (128, 256, 512, 1024)] == [8, 4, 2, 1]


def test_wide_lines_wait() -> None:
    waiting = plan(CurriculumConfig(steps=100, start_width=200), group=1)
    early = [max(WIDTHS[i] for i in batch) for batch in islice(waiting.epoch(0, 0), 5)]
    assert max(early) <= waiting.limit(5) < 300
    assert waiting.limit(100) == float("inf")


@pytest.mark.parametrize("kind", SCHEDULES)
def test_the_learning_rate_rises_then_falls_to_its_end(kind: str) -> None:
    config = SchedulerConfig(type=kind, warmup_ratio=0.1, final_ratio=0.05)
    course = [learning_rate_factor(config, step, 100) for step in range(101)]
    assert course[0] == pytest.approx(0.1)
    assert max(course) == pytest.approx(1.0) == course[10]
    assert course[100] == pytest.approx(0.05)
    assert all(a >= b for a, b in zip(course[10:], course[11:], strict=False))


def test_averages_follow_the_weights_and_can_be_tried_on() -> None:
    import torch

    model = torch.nn.Linear(2, 2, bias=False)
    averages = AveragedWeights(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(1.0)
    for step in range(1, 200):
        averages.update(step)
    assert torch.allclose(averages.average["weight"], torch.ones(2, 2), atol=1e-3)
    with torch.no_grad():
        model.weight.fill_(5.0)
    with averages.applied():
        assert torch.allclose(model.weight, torch.ones(2, 2), atol=1e-3)
        assert not model.training
    assert model.training and model.weight[0, 0] == 5


def test_norms_and_embeddings_do_not_decay() -> None:
    import torch

    model = torch.nn.Sequential(torch.nn.Embedding(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 4))
    decaying, steady = make_optimizer(model, OptimizerConfig(weight_decay=0.1)).param_groups
    assert [tuple(p.shape) for p in decaying["params"]] == [(4, 4)]
    assert (decaying["weight_decay"], steady["weight_decay"]) == (0.1, 0.0)
    assert len(steady["params"]) == 4
