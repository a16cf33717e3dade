"""Makes batches of tensors from a data set: pictures that are degraded on the fly, tokens, and labels of each column.

Shapes: B batch, C channels, H height, W width, N tokens, T columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from runtime.bundle.tokenizer import AtomTokenizer, Tokenizer
from runtime.errors import ConfigError
from runtime.page.preparation import POCKET_WIDTHS, Preparation, batch, prepare, window_for

from ..config import Config
from ..data.dataset.pictures import decode_picture, picture_sizes
from ..data.degradation.degrade import check
from ..data.degradation.degrade import degrade as degraded
from ..model.backbone import Backbone, get_backbone
from .order import Item, Place

IGNORED = -100  # a label that is not learnt; PyTorch's convention
FRAMINGS = ("staff_space", "height")  # how a configuration says the size of a line's staff
# Engraved lines reach 4.86 staff spaces above and below the five lines: room for ledger lines, slurs and no text.
SPACES_HIGH = 96 / 7


class Batch(NamedTuple):
    """Lines of one width bucket.

    Attributes:
        image_BCHW: float, padded with white paper.
        valid_width_B: widths before padding in px.
        tokens_BN: begin, then the line's tokens, then padding.
        targets_BN: the line's tokens, then end; `IGNORED` elsewhere.
        look_BN: column (with fraction) of each target, NaN if it has no place in the picture.
        columns_3BT: symbol class, staff position, duration of each column; `IGNORED` where not learnt.
        transcriptions: canonical ABC.
        names: of the lines.
        place: place of the next batch in the stream.
    """

    image_BCHW: Tensor
    valid_width_B: Tensor
    tokens_BN: Tensor
    targets_BN: Tensor
    look_BN: Tensor
    columns_3BT: Tensor
    transcriptions: list[str]
    names: list[str]
    place: Place

    def to(self, device: torch.device) -> Batch:
        moved = [
            value.to(device, non_blocking=True) if isinstance(value, Tensor) else value for value in self
        ]
        return Batch(*moved)

    def first(self, count: int) -> Batch:
        """Only the first lines."""
        whole = self._replace(columns_3BT=self.columns_3BT.transpose(0, 1))
        cut = Batch(*(value if isinstance(value, Place) else value[:count] for value in whole))
        return cut._replace(columns_3BT=cut.columns_3BT.transpose(0, 1))


class Sample(NamedTuple):
    """One line: picture uint8 [H, W], token ids, column of each (NaN: none), labels [3, T], its row."""

    image: NDArray[np.uint8]
    ids: list[int]
    look: NDArray[np.float32]
    columns: NDArray[np.int64]
    row: dict[str, Any]
    item: Item


def make_preparation(config: Config) -> Preparation:
    """How pictures are prepared for a configuration's backbone.

    Raises:
        ConfigError: a setting out of range.
    """
    data, entry = config.data, get_backbone(config.model.params.vision_model_name)
    if data.preparation not in FRAMINGS:
        raise ConfigError(f"preparation mode {data.preparation!r} is unknown; use one of {', '.join(FRAMINGS)}")
    space = data.staff_space if data.preparation == "staff_space" else data.img_height / SPACES_HIGH
    return Preparation(
        height=data.img_height, staff_space=space, whiten_window=window_for(space) if data.whiten else 0,
        channels=data.channels or entry.image_channels, width_multiple=entry.width_multiple,
        width_buckets=data.width_buckets or default_buckets(entry, SPACES_HIGH * space / 96),
    )  # fmt: skip


def default_buckets(entry: Backbone, scale: float) -> tuple[int, ...]:
    """The shipped width buckets at another scale, as multiples of 32 px that the backbone accepts."""
    step = int(np.lcm(32, entry.width_multiple))
    return tuple(sorted({-(-round(width * scale) // step) * step for width in POCKET_WIDTHS}))


class Lines(Dataset[Sample]):
    """Lines of a split, prepared for a model.

    Args:
        rows: a split as `training.data.dataset.hub.open_split` gives it.
        preparation: how pictures are prepared.
        tokenizer: of the model.
        stride: px of width a column covers.
        seed: of the degradation.
        degrade: preset of `training.data.degradation.degrade`, empty for none.
        share: of the pictures degraded.
    """

    def __init__(
        self,
        rows: Any,
        preparation: Preparation,
        tokenizer: Tokenizer,
        stride: int,
        seed: int,
        degrade: str = "",
        share: float = 1.0,
    ) -> None:
        self.rows, self.preparation, self.tokenizer, self.stride = rows, preparation, tokenizer, stride
        self.seed, self.degrade, self.share = seed, check(degrade) if degrade else "", share
        self.placed = isinstance(tokenizer, AtomTokenizer) and "symbols" in rows.column_names

    def __len__(self) -> int:
        return len(self.rows)

    def widths(self) -> list[int]:
        """Width of each line after preparation in px."""
        if "width" in self.rows.column_names:  # known already: shuffled rows are slow to go through
            sizes: Iterable[tuple[int, int]] = zip(self.rows["width"][:], self.rows["height"][:], strict=True)
        else:
            chunks = self.rows.select_columns(["image"]).with_format("arrow").iter(1000)
            sizes = (size for chunk in chunks for size in picture_sizes(chunk.column("image")))
        return [round(width * self.preparation.height / height) for width, height in sizes]

    def token_counts_over(self, limit: int) -> list[int]:
        """Rows with more than `limit` tokens; a token is at least a character, so short texts aren't read."""
        texts = tqdm(self.rows["transcription"][:], desc="counting tokens", unit="line", delay=5)
        return [
            i
            for i, text in enumerate(texts)
            if len(text) > limit and len(self.tokenizer.encode(text)) > limit
        ]

    def __getitem__(self, item: Item) -> Sample:
        row = self.rows[item.index]
        grey = decode_picture(row["image"], str(row.get("filename", f"of row {item.index}")))
        ids = self.tokenizer.encode(row["transcription"])
        marks = np.asarray(row["symbols"], np.float64).reshape(-1, 5) if self.placed else np.zeros((0, 5))
        xs = marks[:, 1].copy()
        rng = np.random.default_rng((self.seed, item.epoch, item.index))
        if self.degrade and rng.random() < self.share:
            grey, moved = degraded(grey, self.degrade, rng)
            xs = np.asarray(moved(xs), np.float64)
        line = prepare(grey, self.preparation, None)
        scale = line.shape[1] / grey.shape[1] * min(1.0, self.preparation.width_buckets[-1] / line.shape[1])
        look, columns = column_labels(
            marks, xs * scale / self.stride, len(ids), round(line.shape[1] / self.stride) + 1
        )
        return Sample(line, ids, look, columns, row, item)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """Samples of one bucket as tensors."""
        image, widths = batch([sample.image for sample in samples], self.preparation)
        length = 1 + max(len(sample.ids) for sample in samples)
        tokens = np.full((len(samples), length), self.tokenizer.pad_id, np.int64)
        targets = np.full((len(samples), length), IGNORED, np.int64)
        look = np.full((len(samples), length), np.nan, np.float32)
        columns = np.full((3, len(samples), -(-image.shape[-1] // self.stride)), IGNORED, np.int64)
        for b, sample in enumerate(samples):
            end = len(sample.ids)
            tokens[b, : end + 1] = [self.tokenizer.bos_id, *sample.ids]
            targets[b, : end + 1] = [*sample.ids, self.tokenizer.eos_id]
            look[b, :end] = sample.look
            valid = min(-(-int(widths[b]) // self.stride), sample.columns.shape[1])
            columns[:, b, :valid] = sample.columns[:, :valid]
        item = samples[0].item
        return Batch(
            image_BCHW=torch.from_numpy(image),
            valid_width_B=torch.from_numpy(widths),
            tokens_BN=torch.from_numpy(tokens),
            targets_BN=torch.from_numpy(targets),
            look_BN=torch.from_numpy(look),
            columns_3BT=torch.from_numpy(columns),
            transcriptions=[str(sample.row["transcription"]) for sample in samples],
            names=[str(sample.row.get("filename", sample.item.index)) for sample in samples],
            place=Place(item.epoch, item.first_step, item.number),
        )


def column_labels(
    marks: NDArray[np.float64], at: NDArray[np.float64], tokens: int, count: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The column of each token, and the labels of each column.

    Args:
        marks: [K, 5] atom index, x, symbol class, staff position, duration class (the data set's `symbols`).
        at: [K] column of each mark, with fraction.
        tokens: number of tokens.
        count: number of columns.

    Returns:
        column of each token, NaN without one, [tokens]; labels [3, count], where staff position and duration
        are learnt only where there is one, and nothing is learnt without marks.
    """
    look = np.full(tokens, np.nan, np.float32)
    labels = np.full((3, count), IGNORED, np.int64)
    if len(marks) == 0:
        return look, labels
    atoms = marks[:, 0].astype(int)
    known = atoms < tokens
    look[atoms[known]] = at[known]
    labels[0] = 0
    drawn = (marks[:, 2] > 0) & (at >= 0) & (at < count)
    where = at[drawn].astype(int)
    labels[0, where] = marks[drawn, 2]
    for row, kind in ((1, 3), (2, 4)):
        values = marks[drawn, kind].astype(np.int64)
        labels[row, where] = np.where(values > 0, values, IGNORED)
    return look, labels
