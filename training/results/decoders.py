"""Compares decoders of several sizes on one encoder. The study keeps its decoder fixed and names that as a limit (Table
15)."""

from __future__ import annotations

from collections.abc import Sequence

from .figure import Drawing, fresh_groups
from .groups import Group, differing
from .seed_means import ranks
from .table import Table

SIZES = ("n_decoder_layers", "d_model", "d_ff", "n_heads")


def tables(groups: Sequence[Group]) -> list[Table]:
    table = Table(
        "table-15-decoders",
        "Table 15, a limit: decoders of several sizes",
        (
            "backbone", "layers", "width", "feed-forward width", "parameters M", "decoder parameters M", "val loss",
            "SER %", "it/s", "place by SER",
        ),
        {"val loss": 3, "parameters M": 1, "decoder parameters M": 1},
    )  # fmt: skip
    for members in one_encoder(groups):
        for group, place in zip(members, ranks([group.score("ser") for group in members]), strict=True):
            params, run = group.first.config.model.params, group.first
            total, encoder = run.parameters("total"), run.parameters("encoder")
            table.add(
                group, group.backbone, params.n_decoder_layers, params.d_model, params.d_ff, total,
                total - encoder if total is not None and encoder is not None else None, group.score("loss"),
                group.score("ser"), group.measure(lambda run: run.steps_per_second), place,
            )  # fmt: skip
    if not table.rows:
        table.add(None)
    table.notes.append("Decoder: all but the encoder, so also the layers that join the two, and the column heads.")
    return [table]


def figures(_groups: Sequence[Group]) -> list[Drawing]:
    return []


def one_encoder(groups: Sequence[Group]) -> list[list[Group]]:
    """Sets of two or more groups that differ only in the decoder's sizes, smallest first."""
    sets: list[list[Group]] = []
    for group in fresh_groups(groups):
        for others in sets:
            apart = [name.rsplit(".", 1)[-1] for name in differing(group, others[0])]
            if group.backbone == others[0].backbone and all(name in SIZES for name in apart):
                others.append(group)
                break
        else:
            sets.append([group])
    return [sorted(members, key=size) for members in sets if len(members) > 1]


def size(group: Group) -> tuple[int, int]:
    params = group.first.config.model.params
    return params.d_model, params.n_decoder_layers
