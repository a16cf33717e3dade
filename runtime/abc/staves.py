"""Several staves in one label: a grand staff, or the staves of a score, from top to bottom.

In atoms one staff follows the other, with `V:2`, `V:3` between them; each is written as `runtime.abc.tune` writes a
line. In text each staff is a voice with its own clef. The key and meter of the first staff hold for all, unless a staff
has others.

    K:D clef=treble
    %%score {1 2}
    V:1
    d2 f2|
    V:2 clef=bass
    D,4|
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .reader import parse
from .tune import Tune, atoms, join

VOICE = re.compile(r"V:(\d+)(.*)$")
MOST = 6  # staves


def staff_atoms(staves: Sequence[Tune]) -> list[str]:
    """The label of staves from top to bottom."""
    out = [atom.text for atom in atoms(staves[0])]
    for number, staff in enumerate(staves[1 : MOST], 2):
        out += [f"V:{number}", *(atom.text for atom in atoms(staff))]
    return out


def join_staves(texts: Sequence[str]) -> str:
    """ABC text of the atoms of one staff or several; never fails, whatever their order."""
    parts: list[list[str]] = [[]]
    for text in texts:
        if re.fullmatch(VOICE, text):
            parts.append([])
        elif text != "%%score":
            parts[-1].append(text)
    parts = [part for part in parts if part] or [[]]
    joined = [join(part) for part in parts]
    if len(joined) == 1:
        return joined[0]
    head, body = _split(joined[0])
    numbers = range(1, len(joined) + 1)
    out = [*head, f"%%score {{{' '.join(map(str, numbers))}}}", "V:1", *body]
    for number, text in zip(numbers[1:], joined[1:], strict=True):
        own, body = _split(text)
        key, clef = own[-1].split(" ", 1)
        changed = [f"[{field}]" for field in (key, *own[2:-1]) if not any(f.startswith(field) for f in head)]
        out += [f"V:{number} {clef}", "".join(changed) + "\n".join(body)]
    return "\n".join(out) + "\n"


def _split(text: str) -> tuple[list[str], list[str]]:
    """Header lines (the last is K:) and music lines."""
    lines = text.rstrip("\n").split("\n")
    end = next(index for index, line in enumerate(lines) if line.startswith("K:")) + 1
    return lines[:end], lines[end:]


def write_staves(staves: Sequence[Tune]) -> str:
    """Canonical ABC of staves from top to bottom."""
    return join_staves(staff_atoms(staves))


def parse_staves(text: str, strict: bool = False) -> list[Tune]:
    """Read the staves of a tune, from top to bottom; a text of one voice is one staff.

    Args:
        text: ABC whose voices come one after another, each after a line `V:`.
        strict: raise on what isn't understood.

    Raises:
        AbcError: only when `strict`.
    """
    head: list[str] = []
    blocks: dict[str, list[str]] = {}
    current: list[str] = head
    for line in text.replace("\r", "").split("\n"):
        found = VOICE.match(line)
        if found:
            current = blocks.setdefault(found[1], [])
            if "clef=" in found[2]:
                current.append(f"K:{found[2].strip()}")
        elif not line.startswith("%%"):
            current.append(line)
    if not blocks:
        return [parse(text, strict)]
    return [parse("\n".join([*head, *block]), strict) for block in list(blocks.values())[:MOST]]
