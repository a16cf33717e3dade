"""The words of ABC text: how each is spelt, and what it says by itself. `runtime.abc.reader` puts them together."""

from __future__ import annotations

import re
from fractions import Fraction

from .tune import ACCIDENTALS, STEPS, Pitch

SIGNS = ("", *ACCIDENTALS)
MODES = {"maj": 0, "ion": 0, "mix": -1, "dor": -2, "m": -3, "min": -3, "aeo": -3, "phr": -4, "loc": -5, "lyd": 1}
FIFTHS = {"C": 0, "G": 1, "D": 2, "A": 3, "E": 4, "B": 5, "F": -1}
SHORT_DECORATIONS = {
    ".": "staccato", "~": "roll", "H": "fermata", "L": "accent", "M": "lowermordent", "O": "coda", "P": "uppermordent",
    "S": "segno", "T": "trill", "u": "upbow", "v": "downbow",
}  # fmt: skip

FIELD = re.compile(r"([A-Za-z+]):(?![|:])(.*)$")
TOKEN = re.compile(
    r"""(?P<inline>\[[A-Za-z]:[^\[\]]*\])
      | (?P<ending>\[\d[\d,\-]*|(?<=[|:])\d(?:[,\-]\d)*)
      | (?P<bar>\.\||:*\|[|\]:]*|::+|\[\|[|\]:]*)
      | (?P<grace>\{[^{}|]*\})
      | (?P<tuplet>\(\d(?::\d*)?(?::\d*)?)
      | (?P<chord>\[[^\[\]|]*\])
      | (?P<note>[\^_=]*[A-Ga-g][,']*)
      | (?P<rest>[zxZ])
      | (?P<mark>![^!|\n]{1,30}!|\+[A-Za-z.0-9]{1,20}\+)
      | (?P<text>"[^"]*"|<\|text\|>)
      | (?P<length>\d+(?:/+\d*)?|/+\d*)
      | (?P<broken><+|>+)
      | (?P<slur>[()]) | (?P<tie>-) | (?P<overlay>&) | (?P<short>[.~HLMOPSTuv]) | (?P<space>\s+)
      | (?P<break>\$) | (?P<skip>[y\\`*!]) | (?P<bad>.)""",
    re.X,
)
PITCH = re.compile(r"([\^_=]*)([A-Ga-g])([,']*)(\d*(?:/+\d*)?)(-?)")
KEY = re.compile(r"([A-G])([#b]?)\s*([A-Za-z]*)")
CLEF = re.compile(
    r"(?:clef=)?\b((?:treble|alto|tenor|bass|soprano|mezzosoprano|baritone|perc|tab|(?<==)none)\d?(?:[+-]\d+)?)(?!\w)"
)


def read_length(text: str) -> Fraction:
    """`3/2`, `/`, `//`, `2`, empty -> Fraction."""
    if not text:
        return Fraction(1)
    top, slash, rest = text.partition("/")
    value = Fraction(int(top or 1))
    if slash:
        digits = rest.lstrip("/")
        value /= max(1, int(digits)) if digits else 2 ** (1 + len(rest))
    return value


def read_pitch(accidental: str, letter: str, marks: str) -> Pitch:
    """The three parts of an ABC pitch."""
    octave = (5 if letter.islower() else 4) + marks.count("'") - marks.count(",")
    return Pitch(octave * 7 + STEPS.index(letter.upper()), accidental)


def read_key(text: str) -> int | None:
    """Sharps of a `K:` field (flats negative); None where no key is named."""
    text = CLEF.sub("", text).strip()
    if text.lower().startswith(("hp", "none")):
        return {"HP": 0, "Hp": 2}.get(text[:2], 0)
    found = KEY.match(text)
    if not found:
        return None
    tonic, sign, mode = found.groups()
    mode = mode.lower()
    shift = MODES.get(mode[:3], MODES["m"] if mode == "m" else 0)
    fifths = FIFTHS[tonic] + {"#": 7, "b": -7}.get(sign, 0) + shift
    return fifths if -7 <= fifths <= 7 else None


def read_bar(text: str) -> str:
    """One of BARS for any spelling of a bar line."""
    ends, starts = text.startswith(":"), text.endswith(":")
    if ends and starts:
        return "::"
    if ends:
        return ":|"
    if starts:
        return "|:"
    if text == ".|":
        return text
    if "]" in text:
        return "|]"
    return "[|" if text.startswith("[") else "||" if text.count("|") > 1 else "|"
