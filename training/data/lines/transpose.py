"""Moves notes on the staff; the result is valid notation."""

from __future__ import annotations

from dataclasses import replace

from runtime.abc.sounding_pitches import ALTERATION, key_alterations
from runtime.abc.tune import CLEF_BOTTOM, STEPS, Event, Pitch

SIGN = {value: name for name, value in ALTERATION.items()}
LOWEST, HIGHEST = -7, 15  # staff positions: three and a half ledger lines either way


def fits_staff(event: Event, clef: str) -> bool:
    """Whether all noteheads are on the staff or on few ledger lines."""
    steps = [p.step for p in event.pitches] + [p.step for g in event.graces for p in g.pitches]
    return all(LOWEST <= step - CLEF_BOTTOM[clef] <= HIGHEST for step in steps)


def signature_alter(step: int, key: int) -> int:
    """What the key signature does to a step: -1, 0 or 1."""
    return key_alterations(key).get(STEPS[step % 7], 0)


def move(event: Event, shift: int, old_key: int, new_key: int) -> Event | None:
    """Transposition by scale degree: every accidental keeps its distance from the signature; None where it can't."""

    def moved(pitch: Pitch) -> Pitch | None:
        step = pitch.step + shift
        if not pitch.accidental:
            return Pitch(step)
        alter = ALTERATION[pitch.accidental] - signature_alter(pitch.step, old_key) + signature_alter(step, new_key)
        return Pitch(step, SIGN[alter]) if alter in SIGN else None

    pitches = [moved(p) for p in event.pitches]
    graces = [[moved(p) for p in g.pitches] for g in event.graces]
    if None in pitches or any(None in g for g in graces):
        return None
    return replace(
        event,
        pitches=tuple(p for p in pitches if p),
        graces=tuple(replace(g, pitches=tuple(p for p in n if p)) for g, n in zip(event.graces, graces, strict=True)),
    )
