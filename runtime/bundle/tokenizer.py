"""Turns text into ids and back: with atoms, as `pocket` does, or with byte-pair encoding, as the study does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from tokenizers import Tokenizer as HubTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

from ..abc import tune
from ..abc.staves import join_staves, parse_staves, staff_atoms
from ..errors import BundleError, ConfigError

PAD, BEGIN, END = "<|pad|>", "<|begin_of_abc|>", "<|end_of_abc|>"
SPECIAL = (PAD, BEGIN, END, "<|image|>", "<|text|>")


JOINS = ("atoms", "bpe")


@dataclass(frozen=True)
class TextSpec:
    """How ids become text, as a manifest says it.

    Attributes:
        vocabulary: name of the file that holds the tokens, one for each id.
        begin: id that a reading starts from.
        end: id that ends it.
        special: ids that stand for no text, begin and end among them.
        join: `atoms`: the file's `vocabulary` lists them, and they join as in `runtime.abc.tune.join` (one staff) and
            `runtime.abc.staves.join_staves` (several). `bpe`: the file is one of the `tokenizers` library, whose
            decoder joins them.
    """

    begin: int
    end: int
    special: tuple[int, ...]
    join: str
    vocabulary: str = "tokenizer.json"

    def __post_init__(self) -> None:
        if self.join not in JOINS:
            raise ConfigError(f"text.join is {self.join!r}; use one of {', '.join(JOINS)}")

    def to_dict(self) -> dict[str, Any]:
        """As plain data for a manifest."""
        return {**asdict(self), "special": list(self.special)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TextSpec:
        """Inverse of `to_dict`.

        Raises:
            ConfigError: another way to join than those known.
        """
        return cls(**{**data, "special": tuple(data["special"])})


class Tokenizer(Protocol):
    """What a model and a reader need of a tokenizer."""

    text: TextSpec
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
    pitches = [tune.pitch_text(tune.Pitch(step)) for step in range(7, 63)]  # C1 to B8
    lengths = [tune.duration_text(d) for d in tune.DURATIONS if d != 1]
    numbers = [str(n) for n in range(10)]
    tuplets = [f"({n}" for n in range(2, 10)] + [f":{n}" for n in range(1, 17)]
    changes = [f"clef={name}" for name in tune.CLEF_BOTTOM] + [f"K:{name}" for name in tune.MAJOR_KEYS]
    changes += [f"M:{name}" for name in tune.METERS]
    voices = ["\n", *(f"V:{n}" for n in range(1, 7)), "%%score", "&", "(&", "&)"]
    endings = [f"[{n}" for n in ("1", "2", "3", "4", "1,2", "1,3", "1-3")]
    marks = [".", *(f"!{name}!" for name in tune.DECORATIONS if name != "staccato")]
    rest = ["z", "x", "Z", "[", "]", "{", "{/", "}", "(", ")", "-", " "]
    words = [*SPECIAL, *changes, *tune.BARS, *endings, *tune.ACCIDENTALS, *pitches, *lengths, *numbers, *tuplets]
    return list(dict.fromkeys([*words, *rest, *marks, *voices]))


class AtomTokenizer:
    """Each atom of the canonical form is a token.

    Atoms outside the vocabulary (rare decorations) are left out.

    Args:
        vocabulary: the atoms; all that are known without it.
        text: which ids mean what; by their names without it.
    """

    def __init__(self, vocabulary: Sequence[str] | None = None, text: TextSpec | None = None) -> None:
        self.vocabulary = list(vocabulary or atom_vocabulary())
        self.ids = {text: index for index, text in enumerate(self.vocabulary)}
        special = tuple(self.ids[name] for name in SPECIAL if name in self.ids)
        self.text = text or TextSpec(self.ids[BEGIN], self.ids[END], special, "atoms")
        self.pad_id, self.bos_id, self.eos_id = self.ids[PAD], self.text.begin, self.text.end
        self.vocab_size = len(self.vocabulary)

    def encode(self, text: str) -> list[int]:
        return [self.ids[atom] for atom in staff_atoms(parse_staves(text)) if atom in self.ids]

    def texts(self, ids: Sequence[int]) -> list[str]:
        """The atoms of ids, special ones left out."""
        return [self.vocabulary[i] for i in ids if 0 <= i < self.vocab_size and i not in self.text.special]

    def decode(self, ids: Sequence[int]) -> str:
        return join_staves(self.texts(ids))

    def save(self, path: Path) -> None:
        path.write_text(
            json.dumps({"type": "atoms", "vocabulary": self.vocabulary}, ensure_ascii=False, indent=0) + "\n",
            encoding="utf-8",
        )


class BpeTokenizer:
    """Byte-pair encoding with LEGATO's special tokens, resolved by name where `text` doesn't say which they are."""

    def __init__(self, hub_tokenizer: HubTokenizer, text: TextSpec | None = None) -> None:
        self.hub = hub_tokenizer
        special = tuple(i for i, token in sorted(hub_tokenizer.get_added_tokens_decoder().items()) if token.special)
        self.text = text or TextSpec(self._id(BEGIN), self._id(END), special, "bpe")
        self.bos_id, self.eos_id = self.text.begin, self.text.end
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


def load_tokenizer(path: Path, text: TextSpec | None = None) -> Tokenizer:
    """Read `tokenizer.json` of either kind.

    Args:
        path: the file.
        text: how a bundle's manifest says that its ids become text; without it the file tells.

    Raises:
        BundleError: the file isn't one.
    """
    try:
        written = path.read_text(encoding="utf-8")
        content = json.loads(written)
        if (text.join if text else content.get("type")) == "atoms":
            return AtomTokenizer(content["vocabulary"], text)
        return BpeTokenizer(HubTokenizer.from_str(written), text)
    except BundleError:
        raise
    except Exception as error:  # tokenizers raises plain Exception
        raise BundleError(f"{path} is not a tokenizer: expected the tokenizer.json of a bundle or of LEGATO") from error
