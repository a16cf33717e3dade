"""The pictures of a data set, which stay encoded until they are needed: their sizes, and what they show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from runtime.errors import InputError


def picture_sizes(pictures: pa.ChunkedArray) -> list[tuple[int, int]]:
    """Width and height of encoded pictures in px. Of a PNG only the header is read."""
    heads = pc.binary_slice(pc.struct_field(pictures, "bytes"), 0, 24).to_pylist()
    sizes = []
    for number, head in enumerate(heads):
        if head is not None and head[:8] == b"\x89PNG\r\n\x1a\n":
            sizes.append((int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")))
        else:
            height, width = decode_picture(pictures[number].as_py()).shape
            sizes.append((width, height))
    return sizes


def decode_picture(picture: dict[str, Any], name: str = "in the data set") -> NDArray[np.uint8]:
    """An encoded picture of a data set as grey uint8 [H, W].

    Raises:
        InputError: it is none.
    """
    content = picture["bytes"] if picture["bytes"] is not None else Path(picture["path"]).read_bytes()
    grey = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE) if content else None
    if grey is None:
        raise InputError(f"picture {picture.get('path') or name} can't be decoded; expected PNG or JPEG")
    return np.asarray(grey, np.uint8)
