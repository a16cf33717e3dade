"""Reads held-out lines, clean, degraded and from engravers never trained on, and says what is wrong.

    python benchmarks/heldout.py training/checkpoints/pocket            # PyTorch, fp32
    python benchmarks/heldout.py training/checkpoints/pocket --dump runs/torch
    python benchmarks/heldout.py runtime/bundles/pocket --set clean --against runs/torch     # a bundle

Two families of sets: one simple voice (`clean`, `photo`, `font`, `abcm2ps`, `musescore`), and the whole notation with
clutter beside it (`wide`, `wide_phone`, ...). The lines are built on first use (seed 2026, tunes of the test split, 1
to 8 bars uniformly) in `--data`. Every picture is brought to 7 px a staff space by the reader's own staff finder,
except our own engraver's clean ones, which are drawn so. A bundle reads each picture through `omr-transcribe`, from a
file, as users do; what that refuses counts as empty. A checkpoint is read by PyTorch, once, and lines wider than its
widest bucket are scaled down.
Percentages over atoms: SER, sequence accuracy; CER over characters; the last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from PIL.Image import Image

from runtime.abc.symbols import symbols
from runtime.errors import OmrError, run_command
from runtime.metrics import cer, class_table, errors_by_class, note_accuracy, sequence_accuracy, ser

SETS = {  # name -> engraver, degradation, mix
    "clean": ("verovio", "clean", "simple_heldout"),
    "photo": ("verovio", "photo", "simple_heldout"),
    "font": ("verovio_gootville", "clean", "simple_heldout"),
    "abcm2ps": ("abcm2ps", "clean", "simple_heldout"),
    "musescore": ("musescore", "clean", "simple_heldout"),
    "wide": ("verovio", "clean", "heldout"),
    "wide_phone": ("verovio", "phone", "heldout"),
    "wide_scan": ("verovio", "scan", "heldout"),
    "wide_font": ("verovio_gootville", "clean", "heldout"),
    "wide_musescore": ("musescore", "clean", "heldout"),
    "wide_lilypond": ("lilypond", "clean", "heldout"),
    "wide_abcjs": ("abcjs", "clean", "heldout"),
}
SEED, SIZE = 2026, 1000
TOGETHER = 100  # files in one run of the command
EMPTY = "X:1\nL:1/8\nK:C\n"
LONG = 289  # staff spaces: a longer line is wider than the widest bucket of `pocket`, 2048 px, with its margin


class Line(NamedTuple):
    """A line of a set and what was read."""

    name: str
    reference: str
    abc: str
    spaces: float  # width of the picture


def width_in_spaces(image: Image) -> float:
    """Of a framed picture, in staff spaces."""
    from training.loading.batches import SPACES_HIGH

    return image.width / image.height * SPACES_HIGH


def built(folder: Path, name: str) -> Path:
    """The folder of a set, built if it isn't there."""
    from training.data.dataset.build import Recipe, build

    engraver, preset, mix = SETS[name]
    recipe = Recipe(SIZE, SEED, (engraver,), mix=mix, splits=("test",), degrade=preset)
    build(folder / name, recipe)
    return folder / name


def read_checkpoint(checkpoint: Path, folder: Path, limit: int) -> list[Line]:
    """A set's lines read by PyTorch in fp32."""
    from training.data.dataset.hub import open_split
    from training.evaluation.evaluate import evaluate
    from training.loading.batches import Lines
    from training.saving.checkpoint import load_checkpoint

    loaded = load_checkpoint(checkpoint)
    rows = open_split(str(folder), "test", "canonical")
    lines = Lines(rows, loaded.preparation, loaded.tokenizer, loaded.model.stride, seed=0)
    _, readings = evaluate(loaded.model, lines, loaded.tokenizer, limit, show=True)
    spaces = {row["filename"]: width_in_spaces(row["image"]) for row in rows}
    return [Line(r.name, r.reference, r.abc, spaces[r.name]) for r in readings]


def read_bundle(bundle: Path, folder: Path, limit: int) -> list[Line]:
    """A set's lines read by the command that users run, each from a file of its own; refused ones are empty."""
    from tempfile import TemporaryDirectory

    from tqdm import tqdm

    from training.data.dataset.build import open_dataset

    rows = open_dataset(folder)["test"]
    rows = rows.select(range(min(limit or len(rows), len(rows))))
    out = []
    with TemporaryDirectory() as pictures:
        for start in tqdm(range(0, len(rows), TOGETHER), unit="run", desc="omr-transcribe"):
            part = rows.select(range(start, min(start + TOGETHER, len(rows))))
            names = [f"{start + number}.png" for number in range(len(part))]
            for name, row in zip(names, part, strict=True):
                row["image"].convert("L").save(Path(pictures) / name)
            found = transcribed(bundle, [Path(pictures) / name for name in names])
            for name, row in zip(names, part, strict=True):
                spaces = width_in_spaces(row["image"])
                out.append(Line(row["filename"], row["transcription"], found.get(name, EMPTY), spaces))
    return out


def transcribed(bundle: Path, pictures: list[Path]) -> dict[str, str]:
    """ABC by file name, as `omr-transcribe --json` prints it; without those that it refuses."""
    command = [sys.executable, "-m", "runtime", "--json", "--bundle", str(bundle), *map(str, pictures)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 2):
        raise OmrError(f"omr-transcribe ended with {done.returncode}: {done.stderr[-500:]}")
    return {Path(page["path"]).name: page["abc"] for page in map(json.loads, done.stdout.splitlines())}


def report(name: str, lines: list[Line]) -> dict[str, Any]:
    """Print the error table of a set and return its figures."""
    from runtime.bundle.tokenizer import AtomTokenizer

    tokenizer = AtomTokenizer()
    references, texts = [line.reference for line in lines], [line.abc for line in lines]
    wanted, found = [tokenizer.encode(t) for t in references], [tokenizer.encode(t) for t in texts]
    atoms = [[tokenizer.texts(ids) for ids in side] for side in (wanted, found)]
    print(f"\n{name}: {len(lines)} lines\n{class_table(errors_by_class(*atoms))}")
    spelled = [[symbols(text) for text in side] for side in (references, texts)]
    long = [row for row, line in enumerate(lines) if line.spaces > LONG]
    if long:
        of_long = round(ser([wanted[row] for row in long], [found[row] for row in long]), 2)
        print(f"{name}: {len(long)} lines are longer than {LONG} staff spaces; SER of those {of_long} %")
    return {
        "set": name, "lines": len(lines), "ser": round(ser(wanted, found), 2),
        "cer": round(cer(references, texts), 2),
        "sequence_accuracy": round(sequence_accuracy(wanted, found), 2),
        "note_accuracy": round(note_accuracy(references, texts), 2), "symbol_ser": round(ser(*spelled), 2),
    }  # fmt: skip


def converted(lines: list[Line]) -> float:
    """Percent of the readings whose MusicXML and MIDI hold as many notes as their ABC (ties held in MIDI)."""
    import io

    import mido

    from runtime.notation.score import count_notes, to_midi, to_musicxml

    whole = 0
    for line in lines:
        count = count_notes(line.abc)
        music = mido.MidiFile(file=io.BytesIO(to_midi(line.abc)))
        played = sum(m.type == "note_on" and m.velocity > 0 for track in music.tracks for m in track)
        whole += to_musicxml(line.abc).count(b"<pitch>") == count.noteheads and played == count.noteheads - count.tied
    return round(100 * whole / max(1, len(lines)), 2)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, help="a checkpoint folder or a bundle")
    simple = [name for name in SETS if not name.startswith("wide")]
    parser.add_argument("--set", nargs="+", default=simple, metavar="NAME", help=f"of {', '.join(SETS)}")
    parser.add_argument("--data", type=Path, default=Path("runs/heldout"), metavar="DIR")
    parser.add_argument("--limit", type=int, default=0, help="lines of each set; 0: all")
    parser.add_argument("--dump", type=Path, metavar="DIR", help="write every reading and reference as JSON lines")
    parser.add_argument("--convert", action="store_true", help="also write every reading as MusicXML and MIDI")
    parser.add_argument(
        "--against", type=Path, metavar="DIR", help="a --dump of another model: how many readings agree"
    )
    args = parser.parse_args()
    unknown = [name for name in args.set if name not in SETS]
    if unknown:
        raise OmrError(f"no held-out set called {unknown[0]!r} (known: {', '.join(SETS)})")
    is_bundle = (args.model / "manifest.json").exists()
    results = []
    for name in args.set:
        data = built(args.data, name)
        lines = (
            read_bundle(args.model, data, args.limit)
            if is_bundle
            else read_checkpoint(args.model, data, args.limit)
        )
        results.append(report(name, lines))
        if args.convert:
            results[-1]["converted"] = converted(lines)
            print(f"{name}: {results[-1]['converted']} % become MusicXML and MIDI with all their notes")
        if args.against:
            dumped = map(json.loads, (args.against / f"{name}.jsonl").read_text().splitlines())
            other = {row["name"]: row["abc"] for row in dumped}
            same = [other.get(line.name) == line.abc for line in lines]
            results[-1]["agree"] = round(100 * sum(same) / len(same), 2)
            print(f"{name}: {results[-1]['agree']} % read exactly as in {args.against}")
        if args.dump:
            args.dump.mkdir(parents=True, exist_ok=True)
            rows = [{"name": line.name, "reference": line.reference, "abc": line.abc} for line in lines]
            (args.dump / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ("set", "lines", "ser", "symbol_ser", "cer", "sequence_accuracy", "note_accuracy")
    for row in [dict(zip(columns, columns, strict=True)), *results]:
        print("".join(str(row[column]).rjust(19) for column in columns))
    print(json.dumps({"model": str(args.model), "seed": SEED, "results": results}))
    return 0


if __name__ == "__main__":
    sys.exit(run_command(main))
