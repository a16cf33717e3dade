"""MuseScore 3 (Debian package `musescore3`): what most users have, held out. Draws a shard in one run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

from runtime.abc import Tune
from runtime.errors import MissingExtraError
from runtime.notation import to_musicxml
from training.data.engraver import EngraveError, Engraving, normalised

RESOLUTION = "180"  # dpi; about 12 px a staff space
# A page so wide that every line stays one line. MuseScore takes it from its own format only, neither from MusicXML
# nor from a style file (3.2.3), so lines pass through that format.
STYLE = (
    "<Style><pageWidth>35</pageWidth><pageHeight>8</pageHeight><pagePrintableWidth>34</pagePrintableWidth>"
    "<lastSystemFillLimit>1</lastSystemFillLimit><showMeasureNumber>0</showMeasureNumber>"
)


class MuseScore:
    """Draws through the mscore3 command, from MusicXML."""

    held_out = True

    def draw(self, tune: Tune, rng: np.random.Generator, clutter: float = 0.0) -> Engraving:
        drawn = self.draw_many([tune], [rng])[0]
        if drawn is None:
            raise EngraveError("MuseScore drew no line")
        return drawn

    def draw_many(self, tunes: list[Tune], rngs: list[np.random.Generator]) -> list[Engraving | None]:
        """Draw lines in one run of the program, which takes a second to start."""
        command = shutil.which("mscore3")
        if command is None:
            raise MissingExtraError(
                "engraver 'musescore' needs the Debian package musescore3: apt-get install musescore3"
            )
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            numbers = range(len(tunes))
            for number, tune in enumerate(tunes):
                (folder / f"{number}.musicxml").write_bytes(to_musicxml(tune))
            _convert(command, folder, [(f"{n}.musicxml", f"{n}.mscx") for n in numbers])
            converted = [number for number in numbers if (folder / f"{number}.mscx").exists()]
            for number in converted:
                path = folder / f"{number}.mscx"
                path.write_text(path.read_text(encoding="utf-8").replace("<Style>", STYLE, 1), encoding="utf-8")
            _convert(command, folder, [(f"{n}.mscx", f"{n}.png") for n in converted])
            return [_picture(folder / f"{number}-1.png") for number in numbers]


def _convert(command: str, folder: Path, jobs: list[tuple[str, str]]) -> None:
    """One run of MuseScore over several files."""
    content = [{"in": str(folder / before), "out": str(folder / after)} for before, after in jobs]
    (folder / "jobs.json").write_text(json.dumps(content))
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen", "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
    options = ["-r", RESOLUTION, "-T", "20", "-j", "jobs.json"]
    subprocess.run([command, *options], cwd=folder, env=environment, capture_output=True, timeout=60 + 5 * len(jobs))


def _picture(path: Path) -> Engraving | None:
    loaded = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) if path.exists() else None
    if loaded is None:
        return None
    if loaded.ndim == 3 and loaded.shape[2] == 4:  # transparent paper
        ink = loaded[..., 3:].astype(np.float32) / 255
        loaded = (loaded[..., :3] * ink + 255 * (1 - ink)).astype(np.uint8)
    grey = loaded if loaded.ndim == 2 else cv2.cvtColor(loaded, cv2.COLOR_BGR2GRAY)
    try:
        return Engraving(normalised(grey), [])
    except EngraveError:
        return None


ENGRAVER = MuseScore()
