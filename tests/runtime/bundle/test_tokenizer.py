"""Both tokenizers behind one interface."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from runtime.bundle.tokenizer import SPECIAL, AtomTokenizer, BpeTokenizer, TextSpec, load_tokenizer
from runtime.errors import BundleError

LINES = [
    "X:1\nL:1/8\nM:6/8\nK:D clef=bass\n|:{gf}(e3/2f/2) (3gab[CE]2-[CE]|z2:|\n",
    "X:1\nL:1/8\nK:Bb clef=alto\nABc dfe|[CEG]4Z|]\n",
    "X:1\nL:1/8\nK:C# clef=treble\n.A !trill!B=c|[1d4:|[2^^e4|]\n",
]


@pytest.fixture(params=["atoms", "bpe"])
def tokenizer(request: pytest.FixtureRequest) -> AtomTokenizer | BpeTokenizer:
    return AtomTokenizer() if request.param == "atoms" else BpeTokenizer.train(LINES * 20, vocab_size=200)


@pytest.mark.parametrize("line", LINES)
def test_decoding_gives_the_text_back(tokenizer: AtomTokenizer | BpeTokenizer, line: str) -> None:
    ids = tokenizer.encode(line)
    assert tokenizer.decode(ids) == line
    assert tokenizer.decode([tokenizer.bos_id, *ids, tokenizer.eos_id, tokenizer.pad_id]) == line
    assert max(ids) < tokenizer.vocab_size


def test_a_saved_tokenizer_reads_back(tokenizer: AtomTokenizer | BpeTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    again = load_tokenizer(tmp_path / "tokenizer.json")
    assert [again.encode(line) for line in LINES] == [tokenizer.encode(line) for line in LINES]
    assert (again.bos_id, again.eos_id, again.pad_id) == (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id)


def test_a_manifest_says_which_ids_mean_what(tokenizer: AtomTokenizer | BpeTokenizer, tmp_path: Path) -> None:
    """Whatever names they have in the file."""
    tokenizer.save(tmp_path / "tokenizer.json")
    stored = TextSpec.from_dict(tokenizer.text.to_dict())
    assert stored == tokenizer.text
    assert {stored.begin, stored.end} == {tokenizer.bos_id, tokenizer.eos_id} <= set(stored.special)
    again = load_tokenizer(tmp_path / "tokenizer.json", replace(stored, begin=9, end=8))
    assert (again.bos_id, again.eos_id) == (9, 8)


def test_special_ids_of_the_manifest_stand_for_no_text() -> None:
    plain = AtomTokenizer()
    silent = AtomTokenizer(text=replace(plain.text, special=(*plain.text.special, plain.ids["|"])))
    assert silent.decode(plain.encode(LINES[1])) == plain.decode(plain.encode(LINES[1])).replace("|[", "[")


def test_special_tokens_have_legatos_names() -> None:
    atoms = AtomTokenizer()
    assert SPECIAL[1:] == ("<|begin_of_abc|>", "<|end_of_abc|>", "<|image|>", "<|text|>")
    assert (atoms.pad_id, atoms.bos_id, atoms.eos_id) == (0, 1, 2)


def test_decoding_never_fails_on_any_order_of_atoms() -> None:
    atoms = AtomTokenizer()
    assert atoms.decode(list(reversed(range(atoms.vocab_size))) + [99999, -1]).startswith("X:1\nL:1/8\n")


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"type": "atoms", "vocabulary": ["A"]}'])
def test_a_file_that_is_no_tokenizer_is_one_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(BundleError, match="tokenizer"):
        load_tokenizer(tmp_path / "tokenizer.json")
