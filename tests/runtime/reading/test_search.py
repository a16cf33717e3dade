"""Among the candidates of a beam, the one that fits the columns is read."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.abc.reader import parse
from runtime.bundle.tokenizer import AtomTokenizer
from runtime.errors import ConfigError
from runtime.inference.engine import Floats
from runtime.reading.column_head import DURATION_CLASSES, POSITION_CLASSES, SIZES, SYMBOL_CLASSES, agreement, drawn
from runtime.reading.decode import Reading, score
from runtime.reading.search import Search

HEAD = "X:1\nL:1/8\nM:4/4\nK:C clef=treble\n"
LINE = HEAD + "^F2G2 [Ac]4|z2d2 {e}f4|"


def seen(text: str, sure: float = 6.0) -> Floats:
    """Column logits of a head that sees exactly this line, two empty columns after every symbol."""
    symbols = list(drawn(parse(text)))
    logits = np.zeros((3 * len(symbols) + 1, sum(SIZES.values())), np.float32)
    logits[:, 0] = sure
    for number, classes in enumerate(symbols):
        start = 0
        for kind, size in zip(classes, SIZES.values(), strict=True):
            if kind:
                logits[3 * number, start : start + size] = 0
                logits[3 * number, start + kind] = sure
            start += size
    return logits


def test_symbols_stand_in_the_order_in_which_they_are_drawn() -> None:
    found = [
        (SYMBOL_CLASSES[symbol], POSITION_CLASSES[position], DURATION_CLASSES[duration])
        for symbol, position, duration in drawn(parse(LINE))
    ]
    assert found == [
        ("clef=treble", "none", "none"), ("M:4/4", "none", "none"), ("^", "1", "none"), ("note", "1", "2"),
        ("note", "2", "2"), ("chord", "5", "4"), ("|", "none", "none"), ("rest", "none", "2"), ("note", "6", "2"),
        ("grace", "7", "none"), ("note", "8", "4"), ("|", "none", "none"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        LINE.replace("^F", "F"), LINE.replace("G2", "A2"), LINE.replace("d2", "d"), LINE.replace("z2", "c2"),
        LINE.replace("{e}", ""), LINE.replace("G2", "G2G2"), LINE.replace("M:4/4", "M:3/4"),
        LINE + "z2d2 {e}f4|" * 3,
    ],
)  # fmt: skip
def test_the_line_that_was_seen_fits_better_than_one_with_an_error(wrong: str) -> None:
    logits = seen(LINE)
    right, other = (agreement(logits, SIZES, parse(text)) for text in (LINE, wrong))
    assert right is not None and other is not None
    assert other < right - 3


def test_padding_that_is_empty_changes_little_and_a_symbol_without_a_column_costs_12_nats() -> None:
    logits = seen(LINE, sure=40.0)
    longer = np.concatenate([logits, logits[1:3]])
    assert agreement(longer, SIZES, parse(LINE)) == pytest.approx(agreement(logits, SIZES, parse(LINE)), abs=1e-3)
    assert agreement(logits, SIZES, parse(LINE + "|")) == pytest.approx(-12, abs=0.1)


def test_two_voices_and_other_heads_are_not_weighed() -> None:
    assert agreement(seen(LINE), SIZES, parse(HEAD + "c4 c4&E8|")) is None
    assert agreement(seen(LINE), {**SIZES, "symbol": SIZES["symbol"] + 1}, parse(LINE)) is None


def reading(text: str, mean: float) -> Reading:
    return Reading(AtomTokenizer().encode(text), mean, True)


def test_of_two_candidates_the_columns_choose_unless_their_weight_is_zero() -> None:
    right, wrong = reading(LINE, -0.06), reading(LINE.replace("G2", "A2"), -0.05)
    tokenizer, logits = AtomTokenizer(), seen(LINE)
    assert Search(2).choose([wrong, right], tokenizer, logits, SIZES) is right
    assert Search(2, column_weight=0.001).choose([wrong, right], tokenizer, logits, SIZES) is wrong


def test_a_length_penalty_of_one_compares_means_and_of_zero_sums() -> None:
    short, long = Reading([3] * 4, -0.5, True), Reading([3] * 9, -0.4, True)
    assert score(short, 1.0) < score(long, 1.0)
    assert score(short, 0.0) == pytest.approx(-2.5) and score(long, 0.0) == pytest.approx(-4.0)


@pytest.mark.parametrize(("wrong", "message"), [({"width": 0}, "beam of 0"), ({"column_weight": -1}, "-1")])
def test_a_search_that_can_not_be_is_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Search(**wrong)
