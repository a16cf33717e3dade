"""What a scanner or a phone makes of an engraved page, and where its staves go.

`benchmarks/staff_pictures.py` draws the pages.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from runtime.page.geometry import StaffGeometry

Grey = NDArray[np.uint8]
Rng = np.random.Generator


def compressed(grey: Grey, quality: int) -> Grey:
    file = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(file, cv2.IMREAD_GRAYSCALE), np.uint8)


def scanned(
    grey: Grey, staves: list[StaffGeometry], strong: bool, rng: Rng
) -> tuple[Grey, list[StaffGeometry]]:
    """Laid on the glass a little askew; grain, and sometimes two levels only where lines are `strong`."""
    height, width = grey.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.uniform(-1.5, 1.5)), 1)
    edge = int(rng.choice([255, 255, 40]))  # the lid may be dark
    picture = cv2.warpAffine(grey, matrix, (width, height), borderValue=(edge,)).astype(np.float32)
    picture += noise(picture.shape, float(rng.uniform(0, 12)), rng)
    picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.3, 1.0)))
    if strong and rng.random() < 0.25:
        picture = np.where(picture < rng.uniform(140, 200), 0, 255).astype(np.float32)
    return compressed(np.clip(picture, 0, 255).astype(np.uint8), int(rng.integers(50, 95))), [
        staff.moved(matrix) for staff in staves
    ]


def noise(shape: tuple[int, ...], strength: float, rng: Rng) -> NDArray[np.float32]:
    field = np.empty(shape, np.float32)
    cv2.setRNGSeed(int(rng.integers(1 << 30)))
    cv2.randn(field, (0,), (strength,))
    return field


def photographed(
    grey: Grey, staves: list[StaffGeometry], shape: str, rng: Rng
) -> tuple[Grey, list[StaffGeometry]]:
    """A page on a table, seen by a phone: 12 megapixels in most cases.

    Perspective moves each corner by up to 5 %, the page is turned by up to 6 degrees and waves; light falls off by up
    to half, a hand's shadow takes more; blur, grain, JPEG.
    """
    tall, wide = grey.shape
    long_side = 4032 if rng.random() < 0.6 else int(rng.integers(1600, 3000))
    if tall >= wide:
        height, width = long_side, round(0.75 * long_side)
    elif shape == "band":
        width = long_side
        height = min(width, round(width * tall / wide * rng.uniform(1.0, 1.6)))
    else:
        height, width = round(0.75 * long_side), long_side
    zoom = float(rng.uniform(0.82, 1.0)) * min(width / wide, height / tall)
    left, top = (width - zoom * wide) / 2, (height - zoom * tall) / 2
    corners = np.array([[0, 0], [wide, 0], [wide, tall], [0, tall]], np.float32)
    places = corners * zoom + (left, top)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), float(rng.uniform(-6, 6)), 1)
    places = places @ turn[:, :2].T + turn[:, 2]
    places = (places + rng.uniform(-0.05, 0.05, (4, 2)) * min(zoom * wide, zoom * tall)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, places)
    wave = float(rng.uniform(0, 0.008)) * min(height, width)
    length, phase = float(rng.uniform(0.6, 1.6)) * width, float(rng.uniform(0, 2 * np.pi))

    def bend(x: Any) -> Any:
        return wave * np.sin(2 * np.pi * x / length + phase)

    def there(staff: StaffGeometry) -> StaffGeometry:
        ends = []
        for side in (-2.0, 0.0, 2.0):
            u, v, w = matrix @ np.stack([staff.x, staff.y + side * staff.space, np.ones(len(staff.x))])
            ends.append((u / w, v / w + bend(u / w)))
        space = np.hypot(ends[2][0] - ends[0][0], ends[2][1] - ends[0][1]) / 4
        return StaffGeometry(ends[1][0], ends[1][1], space)

    step = 8  # the way back is computed on a coarse raster
    columns, rows = np.meshgrid(np.arange(-step, width + 2 * step, step), np.arange(-step, height + 2 * step, step))
    back = np.linalg.inv(matrix) @ np.stack([columns.ravel(), (rows - bend(columns)).ravel(), np.ones(columns.size)])
    maps = []
    for axis in (0, 1):
        coarse = (back[axis] / back[2]).reshape(columns.shape).astype(np.float32)
        at = np.array([[1.0 / step, 0, 1.0], [0, 1.0 / step, 1.0]])
        maps.append(cv2.warpAffine(coarse, at, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))
    seen = cv2.remap(grey, *maps, cv2.INTER_AREA, borderValue=(255,)).astype(np.float32)
    on_paper = (maps[0] >= 0) & (maps[0] < wide) & (maps[1] >= 0) & (maps[1] < tall)
    cloth = cv2.resize(noise((height // 9 + 1, width // 9 + 1), 30, rng), (width, height))
    table = float(rng.uniform(40, 170)) + cloth + noise((height, width), 15, rng)
    paper = float(rng.uniform(180, 240))
    picture = np.where(on_paper, 45 + seen * ((paper - 45) / 255), table)
    picture *= light(height, width, rng)
    picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.5, 1.0)) * width / 2000)
    picture += noise((height, width), float(rng.uniform(2, 14)), rng)
    photo = compressed(np.clip(picture, 0, 255).astype(np.uint8), int(rng.integers(40, 95)))
    return photo, [there(staff) for staff in staves]


def light(height: int, width: int, rng: Rng) -> NDArray[np.float32]:
    """Falls off towards one side, and a shadow with a soft edge."""
    angle, fall = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0, 0.5))
    y, x = np.mgrid[0:1:65j, 0:1:65j]
    slope = 1 - fall * (0.5 + (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle))
    across, down = rng.uniform(0, 1, 2)
    slope *= 1 - rng.uniform(0, 0.4) * np.exp(-((x - across) ** 2 + (y - down) ** 2) / (2 * 0.2**2))
    return np.asarray(cv2.resize(slope.astype(np.float32), (width, height)), np.float32)
