"""How much white paper follows a line must not change what is read."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from runtime.metrics import sequence_accuracy
from runtime.page.preparation import batch, bucket_for, prepare
from tests.music import rows
from training.data.dataset.pictures import decode_picture
from training.evaluation.torch_decoder import read_batch
from training.loading.batches import Batch
from training.loading.order import Place
from training.saving.checkpoint import SHIPPED, WEIGHTS, load_checkpoint

LINES = 200


@pytest.mark.skipif(not (SHIPPED / WEIGHTS).is_file(), reason=f"needs the shipped checkpoint, {SHIPPED}")
def test_pocket_reads_lines_in_their_bucket_and_in_the_next_alike() -> None:
    loaded = load_checkpoint(SHIPPED)
    buckets = loaded.preparation.width_buckets
    lines = [prepare(decode_picture(row["image"]), loaded.preparation) for row in rows("test", LINES, 99, 4)]
    groups: dict[int, list[int]] = {}
    for number, line in enumerate(lines):
        groups.setdefault(bucket_for(line.shape[1], loaded.preparation), []).append(number)
    readings: list[list[list[int]]] = [[], []]
    for bucket, numbers in groups.items():
        assert bucket < buckets[-1], "an invented line of four bars fits every bucket but the last"
        widths = (bucket, buckets[buckets.index(bucket) + 1])
        for start in range(0, len(numbers), 16):
            for width, found in zip(widths, readings, strict=True):
                preparation = replace(loaded.preparation, width_buckets=(width,))
                image, valid = batch([lines[n] for n in numbers[start : start + 16]], preparation)
                nothing = torch.zeros(0)
                pictures = Batch(torch.from_numpy(image), torch.from_numpy(valid), *[nothing] * 4, [], [], Place())
                read = read_batch(loaded.model, pictures, loaded.tokenizer, 256)
                found += [reading.tokens for reading in read]
    assert sequence_accuracy(readings[0], readings[1]) >= 99
