"""Canonical symbols: what a line of music means, independent of how ABC spells it.

    clef:G2  key:-2  time:6/8  note:F#4:1/8  chord:C4+E4:1/2  rest:1/4  rest:measure  multirest:8
    bar  tie  grace:D5

Lengths are fractions of a whole note. Pitches are as they sound, with their spelling; C4 is middle C. Readings with the
same meaning have the same symbols: all bar lines are `bar`; clef, key and time count only where they change something,
and come after the bar line in that order; a rest alone in its bar is `rest:measure`, and several such bars in a row are
one `multirest`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fractions import Fraction

from .reader import parse
from .sounding_pitches import Sounded, Tone, sound
from .tune import Bar, Change, Event, Tune

SIGNATURES = ("clef", "key", "time")
CLEF_NAMES = {
    "treble": "G2", "treble1": "G1", "soprano": "C1", "mezzosoprano": "C2", "alto": "C3", "tenor": "C4",
    "baritone": "F3", "bass": "F4", "bass3": "F3", "perc": "P", "none": "none",
}  # fmt: skip
# A shorter rest alone in its bar is a pickup or fragment, not a bar of rest.
SHORTEST_BAR_REST = Fraction(3, 8)


def kind(symbol: str) -> str:
    """Class of a symbol: clef, key, time, note, chord, rest, multirest, bar, tie or grace."""
    return symbol.partition(":")[0]


def symbols(abc: str | Tune, ignore: Collection[str] = ()) -> list[str]:
    """Canonical symbols of an ABC text or tune.

    Args:
        abc: one voice; text is read leniently, what can't be read is skipped.
        ignore: kinds to leave out, e.g. ("tie", "grace").
    """
    tune = parse(abc) if isinstance(abc, str) else abc
    # First, so that a grace note doesn't keep a rest from being alone in its bar.
    unheard = {"tie", "grace"} & set(ignore)
    tidied = _tidy([symbol for symbol in spell(tune) if kind(symbol) not in unheard])
    return [symbol for symbol in _join_rests(_bar_rests(tidied)) if kind(symbol) not in ignore]


def spell(tune: Tune) -> list[str]:
    """Every sign of a tune in order, before equal readings are made equal; empty without bars and notes."""
    first = {"clef": clef_name(tune.clef), "key": str(tune.key), "time": time_name(tune.meter or "")}
    out = [f"{name}:{value}" for name, value in first.items() if value]
    nothing = len(out)
    for item, sounded in sound(tune):
        if isinstance(item, Bar):
            out.append("bar")
        elif isinstance(item, Change):
            value = {"clef": clef_name, "meter": time_name}.get(item.kind, str)(item.value)
            out.append(f"{'time' if item.kind == 'meter' else item.kind}:{value}")
        elif isinstance(item, Event) and sounded is not None:
            out += _spell_event(item, sounded)
    return out if any(kind(symbol) not in SIGNATURES for symbol in out[nothing:]) else []


def clef_name(clef: str) -> str:
    """Sign, line and octave: `treble-8` -> G2-8."""
    octave = clef[-2:] if clef.endswith(("-8", "+8")) else ""
    return CLEF_NAMES[clef.removesuffix(octave)] + octave


def time_name(meter: str) -> str:
    """The meter of a time signature; C is 4/4 and C| is 2/2."""
    return {"C": "4/4", "C|": "2/2"}.get(meter, meter)


def _names(tones: Sequence[Tone]) -> str:
    return "+".join(tone.name for tone in sorted(tones, key=lambda tone: tone.height))


def _spell_event(event: Event, sounded: Sounded) -> list[str]:
    out = [f"grace:{_names(grace)}" for grace in sounded.graces]
    length = f"{sounded.length.numerator}/{sounded.length.denominator}"
    if event.rest == "Z":
        bars = int(event.duration)  # a reading may hold Z3/2
        out.append(f"multirest:{bars}" if bars > 1 else "rest:measure")
    elif event.rest == "z":
        out.append(f"rest:{length}")
    elif event.pitches:
        out.append(f"{'note' if len(sounded.tones) == 1 else 'chord'}:{_names(sounded.tones)}:{length}")
    return [*out, "tie"] if event.tie else out


def _tidy(signs: list[str]) -> list[str]:
    """Each run of bar lines and signatures as one bar line and the signatures that change something."""
    out: list[str] = []
    state: dict[str, str] = {}
    run: dict[str, str] = {}
    music = False
    for sign in signs:
        name = kind(sign)
        if name == "bar" or name in SIGNATURES:
            run[name] = sign
            continue
        if music and "bar" in run:
            out.append("bar")
        out += [run[n] for n in SIGNATURES if n in run and state.get(n) != run[n]]
        state.update(run)
        run = {}
        out.append(sign)
        music = True
    if music:  # signatures at the end announce the next line
        return [*out, "bar"] if "bar" in run else out
    return [run[n] for n in SIGNATURES if n in run]


def _bar_rests(signs: list[str]) -> list[str]:
    """`rest:measure` for a rest that is alone in its bar, whatever its length."""
    out: list[str] = []
    bars: list[list[str]] = [[]]
    for sign in signs:
        bars[-1].append(sign)
        if sign == "bar":
            bars.append([])
    for bar in bars:
        sounding = [sign for sign in bar if kind(sign) in ("note", "chord", "rest", "multirest", "grace")]
        alone = len(sounding) == 1 and kind(sounding[0]) == "rest" and sounding[0] != "rest:measure"
        if alone and Fraction(sounding[0].removeprefix("rest:")) >= SHORTEST_BAR_REST:
            bar = ["rest:measure" if sign == sounding[0] else sign for sign in bar]
        out += bar
    return out


def _join_rests(signs: list[str]) -> list[str]:
    """Bars of rest in a row as one `multirest`."""
    out: list[str] = []
    for sign in signs:
        bars = _rest_bars(sign)
        before = _rest_bars(out[-2]) if len(out) > 1 and out[-1] == "bar" else 0
        if bars and before:
            out[-2:] = [f"multirest:{before + bars}"]
        else:
            out.append(sign)
    return out


def _rest_bars(sign: str) -> int:
    if sign == "rest:measure":
        return 1
    return int(sign.removeprefix("multirest:")) if sign.startswith("multirest:") else 0
