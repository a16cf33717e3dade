"""Turns text into ids and back: with atoms, as `pocket` does, or with byte-pair encoding, as the study does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from tokenizers import Tokenizer as HubTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from . import abc
from .abc_staves import join_staves, parse_staves, staff_atoms
from .errors import BundleError

PAD, BEGIN, END = "<|pad|>", "<|begin_of_abc|>", "<|end_of_abc|>"
SPECIAL = (PAD, BEGIN, END, "<|image|>", "<|text|>")


class Tokenizer(Protocol):
    """What a model and a reader need of a tokenizer."""

    pad_id: int
    bos_id: int
    eos_id: int
    vocab_size: int

    def encode(self, text: str) -> list[int]:
        """Ids of an ABC text, without begin and end."""

    def decode(self, ids: Sequence[int]) -> str:
        """ABC text of ids; special ones are left out; never fails."""

    def save(self, path: Path) -> None:
        """Write `tokenizer.json`."""


def atom_vocabulary() -> list[str]:
    """Every atom of printed music, in a fixed order. New atoms may only be appended."""
    pitches = [abc.pitch_text(abc.Pitch(step)) for step in range(7, 63)]  # C1 to B8
    lengths = [abc.duration_text(d) for d in abc.DURATIONS if d != 1]
    numbers = [str(n) for n in range(10)]
    tuplets = [f"({n}" for n in range(2, 10)] + [f":{n}" for n in range(1, 17)]
    changes = [f"clef={name}" for name in abc.CLEF_BOTTOM] + [f"K:{name}" for name in abc.MAJOR_KEYS]
    changes += [f"M:{name}" for name in abc.METERS]
    voices = ["\n", *(f"V:{n}" for n in range(1, 7)), "%%score", "&", "(&", "&)"]
    endings = [f"[{n}" for n in ("1", "2", "3", "4", "1,2", "1,3", "1-3")]
    marks = [".", *(f"!{name}!" for name in abc.DECORATIONS if name != "staccato")]
    rest = ["z", "x", "Z", "[", "]", "{", "{/", "}", "(", ")", "-", " "]
    words = [*SPECIAL, *changes, *abc.BARS, *endings, *abc.ACCIDENTALS, *pitches, *lengths, *numbers, *tuplets]
    return list(dict.fromkeys([*words, *rest, *marks, *voices]))


class AtomTokenizer:
    """Each atom of the canonical form is a token.

    Atoms outside the vocabulary (rare decorations) are left out.
    """

    def __init__(self, vocabulary: Sequence[str] | None = None) -> None:
        self.vocabulary = list(vocabulary or atom_vocabulary())
        self.ids = {text: index for index, text in enumerate(self.vocabulary)}
        self.pad_id, self.bos_id, self.eos_id = self.ids[PAD], self.ids[BEGIN], self.ids[END]
        self.vocab_size = len(self.vocabulary)

    def encode(self, text: str) -> list[int]:
        return [self.ids[atom] for atom in staff_atoms(parse_staves(text)) if atom in self.ids]

    def texts(self, ids: Sequence[int]) -> list[str]:
        """The atoms of ids, special ones left out."""
        known = (self.vocabulary[i] for i in ids if 0 <= i < self.vocab_size)
        return [text for text in known if text not in SPECIAL]

    def decode(self, ids: Sequence[int]) -> str:
        return join_staves(self.texts(ids))

    def save(self, path: Path) -> None:
        path.write_text(
            json.dumps({"type": "atoms", "vocabulary": self.vocabulary}, ensure_ascii=False, indent=0) + "\n",
            encoding="utf-8",
        )


class BpeTokenizer:
    """Byte-pair encoding with LEGATO's special tokens, resolved by name."""

    def __init__(self, hub_tokenizer: HubTokenizer) -> None:
        self.hub = hub_tokenizer
        self.bos_id, self.eos_id = self._id(BEGIN), self._id(END)
        pad = hub_tokenizer.token_to_id(PAD)
        self.pad_id = self.eos_id if pad is None else int(pad)
        self.vocab_size = int(hub_tokenizer.get_vocab_size())

    def _id(self, name: str) -> int:
        found = self.hub.token_to_id(name)
        if found is None:
            raise BundleError(f"tokenizer has no {name!r} token; expected a tokenizer of LEGATO's kind")
        return int(found)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int = 4096) -> BpeTokenizer:
        """Learn merges from ABC texts; they stop at newlines, text tokens, bar lines and brackets, as LEGATO's do."""
        hub = HubTokenizer(models.BPE())
        hub.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split("\n", "isolated"),
                pre_tokenizers.Split("<|text|>", "isolated"),
                *(pre_tokenizers.Split(mark, "isolated") for mark in '|["%!'),
                pre_tokenizers.Split(" ", "merged_with_next"),
            ]
        )
        hub.decoder = decoders.Fuse()
        hub.train_from_iterator(
            texts, trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=list(SPECIAL), show_progress=False)
        )
        return cls(hub)

    def encode(self, text: str) -> list[int]:
        return list(self.hub.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.hub.decode([int(i) for i in ids], skip_special_tokens=True))

    def save(self, path: Path) -> None:
        path.write_text(self.hub.to_str(), encoding="utf-8")


def load_tokenizer(path: Path) -> Tokenizer:
    """Read `tokenizer.json` of either kind.

    Raises:
        BundleError: the file isn't one.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        if content.get("type") == "atoms":
            return AtomTokenizer(content["vocabulary"])
        return BpeTokenizer(HubTokenizer.from_str(text))
    except BundleError:
        raise
    except Exception as error:  # tokenizers raises plain Exception
        raise BundleError(f"{path} is not a tokenizer: expected the tokenizer.json of a bundle or of LEGATO") from error
