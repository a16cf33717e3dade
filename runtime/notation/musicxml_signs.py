"""The MusicXML element for each sign of canonical ABC."""

from __future__ import annotations

from fractions import Fraction

ACCIDENTAL_NAMES = {"^^": "double-sharp", "^": "sharp", "=": "natural", "_": "flat", "__": "flat-flat"}
# Length without dots, in eighths -> name of the note type.
NOTE_TYPES = {
    Fraction(2) ** power: name
    for power, name in zip(
        range(5, -8, -1),
        ("long", "breve", "whole", "half", "quarter", "eighth", "16th", "32nd", "64th")
        + ("128th", "256th", "512th", "1024th"),
        strict=True,
    )
}
BAR_STYLES = {"||": "light-light", "|]": "light-heavy", "[|": "heavy-light", ".|": "dotted"}
CLEF_SIGNS = {"P": "percussion", "none": "none"}

ARTICULATIONS = {
    "staccato": "staccato", "accent": "accent", "tenuto": "tenuto", "marcato": "strong-accent",
    "staccatissimo": "staccatissimo", "wedge": "spiccato", "breath": "breath-mark", "slide": "scoop",
}  # fmt: skip
ORNAMENTS = {
    "trill": "trill-mark", "turn": "turn", "invertedturn": "inverted-turn", "uppermordent": "inverted-mordent",
    "lowermordent": "mordent",
}  # fmt: skip
TECHNICAL = {
    "upbow": "up-bow", "downbow": "down-bow", "open": "open-string", "plus": "stopped", "snap": "snap-pizzicato",
    "thumb": "thumb-position",
}  # fmt: skip
FERMATAS = {"fermata": "upright", "invertedfermata": "inverted"}
TREMOLOS = {"/": "1", "//": "2", "///": "3"}
WAVY_LINES = {"trill(": "start", "trill)": "stop"}
FINGERS = ("0", "1", "2", "3", "4", "5")
WORDS = {"D.C.": "D.C.", "D.S.": "D.S.", "fine": "Fine", "dacapo": "Da Capo", "dacoda": "Da Coda"}
WEDGES = {"<(": "crescendo", "<)": "stop", ">(": "diminuendo", ">)": "stop"}
ROLL = "roll"  # MusicXML has no name for it


