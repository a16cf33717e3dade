"""abcm2ps (Debian package `abcm2ps`): another engraver, held out for testing."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from runtime.abc import Tune, write
from runtime.errors import MissingExtraError
from training.data.engraver import EngraveError, Engraving, normalised

ZOOM = 2.0  # 12 px a staff space
STYLE = "%%pagewidth 80cm\n%%leftmargin 0.4cm\n%%rightmargin 0.4cm\n%%topspace 0.8cm\n%%stretchlast 0\n"


class Abcm2ps:
    """Draws through the abcm2ps command."""

    held_out = True

    def draw(self, tune: Tune, rng: np.random.Generator, clutter: float = 0.0) -> Engraving:
        command = shutil.which("abcm2ps")
        if command is None:
            raise MissingExtraError("engraver 'abcm2ps' needs the Debian package abcm2ps: apt-get install abcm2ps")
        text = write(tune)
        if tune.meter is None:  # without a field it would take 4/4 for granted
            text = text.replace("K:", "M:none\nK:", 1)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "line.abc").write_text(STYLE + text, encoding="utf-8")
            options = ["-q", "-g", "-O", "line.svg", "line.abc"]
            done = subprocess.run([command, *options], cwd=folder, capture_output=True, timeout=30)
            drawn = Path(folder) / "line001.svg"
            if not drawn.exists():
                raise EngraveError(f"abcm2ps drew nothing: {done.stderr.decode(errors='replace')[:200]}")
            png = resvg_py.svg_to_bytes(svg_path=str(drawn), background="white", zoom=ZOOM)
        return Engraving(normalised(np.array(Image.open(io.BytesIO(bytes(png))).convert("L"))), [])


ENGRAVER = Abcm2ps()
