"""Reads real lines, with all the signs that engravers put on them, from the MusicXML files in the music21 package.

Every line is one staff of one part (see `musicxml/`). The files are read from the installed package and never copied.
music21 says that all the music is in the public domain and that the encodings are "either public domain or used by
permission", with "restrictions on commercial use" for some; only the files themselves tell which. So files that state
free terms are the default, and the rest is opt-in. String quartets are left out, so that pages of quartets stay free
for evaluation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from runtime.abc.reader import AbcError
from runtime.abc.tune import Tune
from training.data.sources.collections import corpus_folder
from training.data.sources.musicxml.staves import read_score, read_staves

# Beginning of a path -> terms of the encoding, as the files state them. All of them allow commercial use.
FREE = {
    "johnson_j_r/": "CC0 (Cuthbert)",
    "liliuokalani/": "CC0 (Cuthbert)",
    "lusitano/": "CC0/public domain (Cuthbert, 2022)",
    "leadSheet/fosterBrownHair": "public domain (Wikifonia)",
    "weber/": "released to the public domain in 1998 (Oliver Seely)",
    "corelli/": "CC BY (Cuthbert, 2014)",
}
# Public-domain music whose encoding states no terms, or not who may do what, or must be shared alike (which for weights
# nobody has settled): for those who have.
UNCLEAR = {
    "beach/": "most uses allowed for free, CC BY-SA (Cuthbert, 2017)",
    "ciconia/": "CC BY-SA 3.0 (Cuthbert, 2010)",
    "luca/": "CC BY-SA 3.0 (Cuthbert, 2010)",
    "schumann_clara/polonaise_op1": "CC BY-SA 4.0 (Cypressdome for IMSLP)",
    "webern/": "CC BY-SA (Cuthbert)",
    "bach/": "'PDF © Margaret Greentree, used by permission', and her site is said to have reserved commercial use; "
    "48 of 410 files name nobody",
    "monteverdi/": "none stated; six files name Ut Orpheus Edizioni 2003",
    "trecento/": "none stated; 20 of 103 files say 'Copyright ©' without a name",
    "schumann_clara/opus17": "'©' without a name",
    "schubert/": "'Copyright ©' without a name",
    "schumann_robert/": "none stated",
    "cpebach/": "none stated",
    "handel/": "none stated",
    "joplin/": "none stated (musescore.com)",
    "verdi/": "none stated",
    "mozart/k545": "none stated",
    "schoenberg/": "none stated",
    "demos/": "none stated; some say 'Copyright ©' without a name",
    "theoryExercises/": "none stated",
}
# Never read. Any other score for two violins, viola and cello is left out too, whoever wrote it.
EXCLUDED = {
    "beethoven/": "string quartets (op. 18, 59, 74, 132, 133)",
    "haydn/": "string quartets (op. 1, 74)",
    "mozart/k80/": "string quartet",
    "mozart/k155/": "string quartet",
    "mozart/k156/": "string quartet",
    "mozart/k458/": "string quartet",
    "schumann_robert/opus41": "string quartet",
    "leadSheet/berlin": "all rights reserved",
    "monteverdi/madrigal.3.1_old": "an older state of madrigal.3.1",
    "schumann_robert/opus48no2": "the same encoding as dichterliebe_no2",
}
TABLES = {"scores": FREE, "scores_unclear": UNCLEAR}  # collection -> the files it holds
SUFFIXES = (".xml", ".musicxml", ".mxl")
QUARTET = ["cello", "viola", "violin", "violin"]


def scores(collection: str, lost: Counter[str] | None = None) -> Iterator[tuple[str, Tune]]:
    """(`collection/folder/file/part.staff`, line) of every staff that holds notes, in a fixed order.

    Args:
        collection: one of TABLES.
        lost: counts by cause the bars that are not part of a line, and the files that can't be read.
    """
    for name, path in score_files(collection):
        try:
            score = read_score(path)
        except AbcError as error:
            if lost is not None:
                lost[str(error)] += 1
            continue
        for staff in () if is_string_quartet(score) else read_staves(score):
            if lost is not None:
                lost.update(staff.lost)
            if any(event.pitches for event in staff.tune.events):
                yield f"{collection}/{name}/{staff.name}", staff.tune


def score_files(collection: str) -> Iterator[tuple[str, Path]]:
    """(folder/file without suffix, path) of the files that may be read; of two with one name the first."""
    corpus = corpus_folder()
    paths = {path.relative_to(corpus).with_suffix("").as_posix(): path for path in _music_files(corpus)}
    for name, path in sorted(paths.items()):
        if terms(name, TABLES[collection]) and not terms(name, EXCLUDED):
            yield name, path


def _music_files(corpus: Path) -> list[Path]:
    return sorted((path for path in corpus.rglob("*") if path.suffix in SUFFIXES), reverse=True)


def terms(name: str, table: dict[str, str]) -> str:
    """What a table of terms says of a file; empty where it doesn't list it."""
    return next((text for start, text in table.items() if name.startswith(start)), "")


def is_string_quartet(score: Element) -> bool:
    """Whether the parts are two violins, viola and cello, by their names."""
    names = [part.findtext("part-name", "").lower() for part in score.iterfind("part-list/score-part")]
    return sorted(next((kind for kind in QUARTET if kind in name), name) for name in names) == QUARTET
