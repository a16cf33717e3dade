"""Reads pages of printed music with a bundle: the class that applications use.

    reader = Reader()                       # the shipped bundle
    page = reader.read_page(load_pages("page.png")[0])
    print(page.abc)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..bundle.manifest import read_bundle
from ..errors import InputError
from ..inference.engine import Floats, Integers, Memory, load_engine
from ..page.geometry import Grey, StaffGeometry
from ..page.orientation import clefs_at_the_end, turn, turned_round
from ..page.preparation import batch, bucket_for, prepare
from ..page.staves import find_staff
from ..page.systems import Layout, lay_out
from .column_head import clef_at_start, count_symbols, fit, understood
from .decode import Reading
from .join_lines import join_lines
from .search import Search
from .wide_lines import joined, pieces, smaller_width

SHIPPED = Path(__file__).parents[1] / "bundles" / "pocket"
AROUND = 1.5  # staff spaces between a staff and its outline
# Nats a token by which columns and reading may disagree before a line is read again: of 300 lines, 34 were, and the
# symbol error rate fell from 2.7 to 1.6 %; with a fourth of this, 182 were, and it fell no further.
DOUBT = 0.12
ASKED = 3  # staves that tell whether a page is upside down
BEGINNING = 160  # px of a prepared line that show its clef
FRAMED, LEAST_HEIGHT = 1.5, 40  # times as wide as high, and px of height, of a picture that may be a framed line
LEAST_SYMBOLS = 5  # that the columns show in it
UNREADABLE = -1.0  # nats a token by which columns and reading disagree where there is no music
BATCH = 8  # lines at once; a page has about as many, and larger batches are no faster on a CPU


class NoStaffError(InputError):
    """A page without music."""


@dataclass(frozen=True)
class SystemReading:
    """One system as it was read.

    Attributes:
        box: left, top, right, bottom of its staff lines in px of the page (after `Page.turned`).
        abc: canonical ABC of this line alone.
        confidence: geometric mean of the tokens' probabilities, 0 to 1.
        outline: polygon around the staff, in px of the page like the box.
    """

    box: tuple[int, int, int, int]
    abc: str
    confidence: float
    outline: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Page:
    """One page as it was read.

    Attributes:
        systems: from top to bottom.
        abc: canonical ABC of the whole page.
        turned: quarter turns clockwise that brought the page upright, 0 to 3.
        notes: sentences on staves that are too small to be read surely, or that may have been left out.
    """

    systems: list[SystemReading]
    abc: str
    turned: int = 0
    notes: tuple[str, ...] = ()


class Reader:
    """A bundle ready to read.

    Args:
        bundle_dir: folder of a bundle; the shipped `pocket` without it.
        engine: name of an engine; the first of the bundle that runs here without it.
        precision: name of a precision; the bundle's first without it.
        threads: most threads to use; 0 leaves it to the engine.
        search: how lines are read; greedily without it.
        second_look: read a line again, in pieces, where the column head sees other symbols than the decoder wrote.

    Raises:
        OmrError: no such bundle, engine or precision, or a damaged bundle.
    """

    def __init__(
        self,
        bundle_dir: Path | str | None = None,
        engine: str | None = None,
        precision: str | None = None,
        threads: int = 0,
        search: Search | None = None,
        second_look: bool = True,
    ) -> None:
        self.bundle = read_bundle(SHIPPED if bundle_dir is None else bundle_dir)
        self.engine, self.artifact = load_engine(self.bundle, engine, precision, threads)
        self.tokenizer = self.bundle.tokenizer()
        self.preparation = self.bundle.manifest.preparation
        self.search = search or Search()
        self.second_look = second_look

    def read_page(self, grey: Grey) -> Page:
        """Reads all systems of a page.

        Args:
            grey: uint8 [H, W], in any of the four orientations.

        Raises:
            NoStaffError: there is no staff on it.
        """
        layout = self.lay_out(grey)
        if not layout.systems:
            framed = self._framed(grey)
            if framed is not None:
                return framed
            height, width = grey.shape
            raise NoStaffError(
                f"no staff of five lines found in a picture of {width} x {height} px; give a page of printed music "
                "with at least 3 px from line to line" + "".join(f"; {note}" for note in layout.notes)
            )
        lines = [prepare(layout.grey, self.preparation, system.staves[0]) for system in layout.systems]
        read = self.read_prepared(lines)
        systems = [
            SystemReading(
                system.box,
                self.tokenizer.decode(reading.tokens),
                reading.confidence,
                tuple(system.staves[0].outline(AROUND)),
            )
            for system, reading in zip(layout.systems, read, strict=True)
        ]
        return Page(systems, join_lines([system.abc for system in systems]), layout.turned, layout.notes)

    def _framed(self, grey: Grey) -> Page | None:
        """A picture of a single line whose staff is not to be seen, read as it is framed; None where that fails."""
        height, width = grey.shape
        if width < FRAMED * height or height < LEAST_HEIGHT:
            return None
        [reading], [columns] = self._read_once([prepare(grey, self.preparation)])
        fit = self._fit(reading, columns)
        if fit is None or columns is None or count_symbols(columns) < LEAST_SYMBOLS:
            return None
        if fit < UNREADABLE * (len(reading.tokens) + 1):
            return None
        abc = self.tokenizer.decode(reading.tokens)
        note = "no staff lines were found; the whole picture was read as one line"
        return Page([SystemReading((0, 0, width, height), abc, reading.confidence)], join_lines([abc]), 0, (note,))

    def lay_out(self, grey: Grey) -> Layout:
        """A page the right way up, and where its systems stand.

        Args:
            grey: uint8 [H, W], in any of the four orientations.
        """
        return lay_out(grey, self._lies_upside_down)

    def _lies_upside_down(self, page: Grey, staves: Sequence[StaffGeometry]) -> bool:
        """Whether the longest staves begin with a clef when the page is turned round; without a clef it stays."""
        if not understood(self.engine.spec.columns):
            return clefs_at_the_end(page, staves)
        some = sorted(staves, key=lambda staff: -staff.along()[-1])[:ASKED]
        turned = [turned_round(staff, page) for staff in some]
        return self._clefs(turn(page, 2), turned) > self._clefs(page, some) + 0.5

    def _clefs(self, page: Grey, staves: Sequence[StaffGeometry]) -> float:
        """How probably staves begin with a clef, 0 to 1."""
        lines = [prepare(page, self.preparation, staff)[:, :BEGINNING] for staff in staves]
        return float(np.mean([clef_at_start(self._columns_of(line)) for line in lines]))

    def read_lines(self, crops: Sequence[Grey]) -> list[str]:
        """Reads pictures that show one line each: canonical ABC of each.

        A picture in which no staff is found is taken as framed already.
        """
        lines = [prepare(crop, self.preparation, find_staff(crop)) for crop in crops]
        return [self.tokenizer.decode(reading.tokens) for reading in self.read_prepared(lines)]

    def read_prepared(self, lines: Sequence[Grey]) -> list[Reading]:
        """Reads lines that `runtime.page.preparation.prepare` made; those too wide for the network in pieces."""
        if self.preparation.wide_lines != "pieces" or not understood(self.engine.spec.columns):
            return self._read_once(lines)[0]
        most = self.preparation.widest_line
        return self._read_in_pieces([pieces(line, self._columns_of, most) for line in lines], self._read_twice)

    def _read_in_pieces(
        self, lines: Sequence[list[Grey]], read: Callable[[Sequence[Grey]], list[Reading]]
    ) -> list[Reading]:
        """One reading of each line, whose pieces are read all together."""
        read_pieces = iter(read([piece for line in lines for piece in line]))
        return [joined([next(read_pieces) for _ in line], self.tokenizer) for line in lines]

    def _read_twice(self, strips: Sequence[Grey]) -> list[Reading]:
        """Reads strips, and those where the columns disagree once more in pieces; what fits them better is kept."""
        readings, seen = self._read_once(strips)
        if not self.second_look:
            return readings
        doubtful: dict[int, float] = {}
        smaller: list[list[Grey]] = []
        for row, (strip, reading, columns) in enumerate(zip(strips, readings, seen, strict=True)):
            most, agreement = smaller_width(strip.shape[1]), self._fit(reading, columns)
            if strip.shape[1] > most and agreement is not None and agreement < -DOUBT * (len(reading.tokens) + 1):
                doubtful[row] = agreement
                smaller.append(pieces(strip, self._columns_of, most))
        for row, again in zip(doubtful, self._read_in_pieces(smaller, lambda s: self._read_once(s)[0]), strict=True):
            better = self._fit(again, seen[row])
            if better is not None and better > doubtful[row]:
                readings[row] = again
        return readings

    def _fit(self, reading: Reading, seen: Floats | None) -> float | None:
        """See `runtime.reading.column_head.fit`."""
        return None if seen is None else fit(seen, self.engine.spec.columns, self.tokenizer.decode(reading.tokens))

    def _columns_of(self, strip: Grey) -> Floats:
        image, widths = batch([strip], self.preparation)
        seen = self._columns_seen(self.engine.encode(image, widths), image, widths)
        assert seen is not None, "a model with column classes has column logits"
        return seen[0]

    def _read_once(self, lines: Sequence[Grey]) -> tuple[list[Reading], list[Floats | None]]:
        """Readings of strips, in batches of one width bucket, and their column logits where there are some."""
        readings: dict[int, Reading] = {}
        logits: dict[int, Floats] = {}
        for rows in self._batches(lines):
            image, widths = batch([lines[row] for row in rows], self.preparation)
            memory = self.engine.encode(image, widths)
            spec = self.engine.spec
            seen = self._columns_seen(memory, image, widths)
            decoder = self.engine.start(memory)
            found = self.search.read(decoder, len(rows), self.tokenizer, spec.slots[-1], seen, spec.columns)
            readings.update(zip(rows, found, strict=True))
            logits.update(zip(rows, seen or [], strict=False))
        return [readings[row] for row in range(len(lines))], [logits.get(row) for row in range(len(lines))]

    def _columns_seen(self, memory: Memory, image: Floats, widths: Integers) -> list[Floats] | None:
        """Column logits of each row without padding; None where the model has no such head."""
        logits = memory.column_logits
        if logits is None:
            return None
        columns = -(-widths * logits.shape[1] // image.shape[-1])
        return [row[:count] for row, count in zip(logits, columns, strict=True)]

    def _batches(self, lines: Sequence[Grey]) -> Iterator[list[int]]:
        """Rows of at most BATCH lines that share a bucket: what a line reads as must not hang on its neighbours."""
        buckets: dict[int, list[int]] = {}
        for row, line in enumerate(lines):
            buckets.setdefault(bucket_for(line.shape[1], self.preparation), []).append(row)
        for rows in buckets.values():
            for start in range(0, len(rows), BATCH):
                yield rows[start : start + BATCH]
