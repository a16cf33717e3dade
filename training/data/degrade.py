"""What scanners and phone cameras do to a line of music, as one chain of cheap steps on a grey picture.

Strangers and geometry come first (one resampling for rotation, perspective, scale and paper curl), then ink, light,
focus, noise and compression, in the order in which they happen between paper and file. A preset holds the largest
strengths; a line draws its own below them. `photo` is the fixed recipe of the degraded test set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from runtime.errors import ConfigError

XMap = Callable[[np.ndarray], np.ndarray]
SPACE = 7.0  # px a staff space in the pictures this chain was tuned on


@dataclass(frozen=True)
class Preset:
    """Largest strengths. `fixed`: every step at full strength, only signs and directions are drawn."""

    rotation: float = 0.0  # degrees
    perspective: float = 0.0  # shift of a corner, share of the height
    scale: float = 0.0  # share of the size
    shift: float = 0.0  # px, vertical
    curl: float = 0.0  # px, amplitude of a slow vertical wave
    ink: float = 0.0  # share by which lines get bolder or thinner
    light: float = 0.0  # share of light lost at one side
    contrast: float = 0.0  # share of the range lost between paper and ink
    blur: float = 0.0  # sigma in staff spaces
    motion: float = 0.0  # length in staff spaces
    noise: float = 0.0  # sigma in grey levels
    specks: float = 0.0  # per 10,000 px
    threshold: float = 0.0  # probability of a two-level scan
    shrink: float = 0.0  # share of resolution lost
    jpeg: int = 100  # lowest quality
    strangers: float = 0.0  # probability of a neighbouring staff, text or strokes at the edges
    fixed: bool = False


PRESETS = {
    "clean": Preset(),
    "light": Preset(
        rotation=0.4, perspective=0.02, scale=0.04, shift=2, ink=0.5, light=0.15, contrast=0.2, blur=0.08, noise=4,
        jpeg=60,
    ),
    "train": Preset(
        rotation=1.0, perspective=0.06, scale=0.08, shift=4, curl=1.6, ink=1.0, light=0.5, contrast=0.5, blur=0.19,
        motion=0.22, noise=14, specks=3, threshold=0.12, shrink=0.3, jpeg=22, strangers=0.4,
    ),
    "photo": Preset(rotation=2.0, perspective=0.04, blur=0.15, light=0.4, noise=4, jpeg=30, fixed=True),
}  # fmt: skip


def degrade(image: np.ndarray, preset: str, rng: np.random.Generator) -> tuple[np.ndarray, XMap]:
    """Degrade one picture.

    Args:
        image: uint8 grey [H, W], black on white.
        preset: a name in PRESETS.
        rng: draws the strengths; equal state, equal picture.

    Returns:
        The degraded picture, of the same size (with `photo` on a canvas that is tall enough for the rotation), and a
        function from x in the clean picture to x in the degraded one, at the height of the staff's middle line.

    Raises:
        ConfigError: no such preset.
    """
    if preset not in PRESETS:
        raise ConfigError(f"no degradation preset called {preset!r} (known: {', '.join(PRESETS)})")
    p = PRESETS[preset]
    if preset == "clean":
        return image, lambda xs: xs
    draw = _Draw(rng, p.fixed)
    if p.fixed:  # the whole rotated line must stay in the picture
        lift = round(image.shape[1] / 2 * np.sin(np.radians(p.rotation)) + p.perspective * image.shape[0]) + 8
        image = cv2.copyMakeBorder(image, lift, lift, 24, 24, cv2.BORDER_CONSTANT, value=255)
    if p.strangers and rng.random() < p.strangers:
        image = _strangers(image, rng)
    image, x_map = _geometry(image, p, draw)
    if p.fixed:
        inner = x_map
        x_map = lambda xs: inner(xs + 24)  # noqa: E731 - a shift of the border above
    picture = _ink(image.astype(np.float32), p, draw)
    picture = _light(picture, p, draw)
    picture = _focus(picture, p, draw)
    picture = _sensor(picture, p, draw)
    out = np.clip(picture, 0, 255).astype(np.uint8)
    if p.jpeg < 100:
        quality = p.jpeg if p.fixed else int(rng.integers(p.jpeg, 96))
        out = cv2.imdecode(cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)
    return out, x_map


@dataclass(frozen=True)
class _Draw:
    """Draws strengths: half of the steps are left out or weak unless the preset is fixed."""

    rng: np.random.Generator
    fixed: bool

    def signed(self, largest: float) -> float:
        if self.fixed:
            return largest * float(self.rng.choice([-1, 1]))
        return largest * float(self.rng.uniform(-1, 1))

    def strength(self, largest: float) -> float:
        """0 to `largest`, small values more often."""
        return largest if self.fixed else largest * float(self.rng.random()) ** 1.5


def _strangers(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What a crop of a page also shows: edges of neighbouring staves, text, bar numbers, strokes. Never labelled."""
    height, width = image.shape
    out = image.copy()
    for side in (-1, 1):
        if rng.random() < 0.45:  # a neighbouring staff: this one mirrored, so far away that only its edge shows
            away = side * int(rng.integers(round(8.2 * SPACE), round(11 * SPACE)))
            other = image[:, ::-1]
            rows = slice(max(0, away), min(height, height + away)), slice(max(0, -away), min(height, height - away))
            out[rows[0]] = np.minimum(out[rows[0]], other[rows[1]])
    for _ in range(int(rng.integers(0, 4))):
        letters = "".join(rng.choice(list("abcdefghiklmnoprstuvw ABCDEFGM.-123456789"), size=int(rng.integers(1, 14))))
        y = int(rng.integers(7, 20)) if rng.random() < 0.6 else int(rng.integers(height - 16, height))
        font = int(
            rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_ITALIC])
        )
        size = float(rng.uniform(0.25, 0.55))
        x = 2 if rng.random() < 0.3 else int(rng.integers(0, max(1, width - 20)))
        ground = out[max(0, y - 10) : y + 3, x : x + round(len(letters) * size * 19)]
        if ground.size and ground.min() > 200:  # over notes it would hide what the label tells
            cv2.putText(out, letters, (x, y), font, size, 0, 1, cv2.LINE_AA)
    return out


def _geometry(image: np.ndarray, p: Preset, draw: _Draw) -> tuple[np.ndarray, XMap]:
    height, width = image.shape
    angle, size = np.radians(draw.signed(p.rotation)), 1 + draw.signed(p.scale)
    centre = np.array([width / 2, height / 2])
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    turn = size * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (corners - centre) @ turn.T + centre
    if size > 1:  # keep the right end of a grown line in the picture
        moved[:, 0] = (moved[:, 0] - centre[0]) / size + centre[0]
    sway = p.perspective * height
    moved += np.array([[draw.signed(sway), draw.signed(sway)] for _ in range(4)]) / (1.0 if p.fixed else 2.0)
    moved[:, 1] += draw.signed(p.shift)
    warp = cv2.getPerspectiveTransform(corners.astype(np.float32), moved.astype(np.float32))
    xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    amplitude, phase = draw.signed(p.curl), float(draw.rng.uniform(0, 2 * np.pi))
    waves = float(draw.rng.uniform(0.3, 1.5)) * 2 * np.pi / max(width, 1)
    bent = ys + (amplitude * np.sin(waves * xs + phase)).astype(np.float32)
    back = np.linalg.inv(warp)
    depth = back[2, 0] * xs + back[2, 1] * bent + back[2, 2]
    map_x = (back[0, 0] * xs + back[0, 1] * bent + back[0, 2]) / depth
    map_y = (back[1, 0] * xs + back[1, 1] * bent + back[1, 2]) / depth
    out = cv2.remap(
        image,
        map_x.astype(np.float32),
        map_y.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=255,
    )

    def x_map(points: np.ndarray) -> np.ndarray:
        row = np.stack([points, np.full_like(points, height / 2), np.ones_like(points)]).astype(np.float64)
        x, _, w = warp @ row
        return np.asarray(x / w)

    return out, x_map


def _ink(picture: np.ndarray, p: Preset, draw: _Draw) -> np.ndarray:
    amount = draw.signed(p.ink)
    if abs(amount) < 0.05:
        return picture
    kernel = np.ones((2, 2) if draw.rng.random() < 0.5 else (3, 3), np.uint8)
    if kernel.shape[0] == 3:
        amount *= 0.5
    other = cv2.erode(picture, kernel) if amount > 0 else cv2.dilate(picture, kernel)
    amount = amount if amount > 0 else amount * 0.55  # thinned staff lines vanish altogether at full strength
    return np.asarray((1 - abs(amount)) * picture + abs(amount) * other)


def _light(picture: np.ndarray, p: Preset, draw: _Draw) -> np.ndarray:
    height, width = picture.shape
    lost = draw.strength(p.contrast)
    dark = lost * float(draw.rng.random()) * 110
    picture = dark + picture * (255 - lost * 90 - dark) / 255
    fall = draw.strength(p.light)
    if fall:
        side = float(draw.rng.uniform(0, 2 * np.pi))
        xs, ys = np.linspace(-1, 1, width), np.linspace(-1, 1, height)
        slope = (np.cos(side) * xs[None, :] + np.sin(side) * ys[:, None]) / (abs(np.cos(side)) + abs(np.sin(side)))
        picture = picture * (1 - fall * (slope + 1) / 2)
    return np.asarray(picture, np.float32)


def _focus(picture: np.ndarray, p: Preset, draw: _Draw) -> np.ndarray:
    height, width = picture.shape
    lost = draw.strength(p.shrink)
    if lost > 0.05:
        small = cv2.resize(
            picture,
            (max(8, round(width * (1 - lost))), max(8, round(height * (1 - lost)))),
            interpolation=cv2.INTER_AREA,
        )
        picture = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    sigma = draw.strength(p.blur) * SPACE
    if sigma > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), sigma)
    length = round(draw.strength(p.motion) * SPACE)
    if length > 1:
        kernel = np.zeros((length, length), np.float32)
        ends = [
            (0, length // 2, length - 1, length // 2),
            (length // 2, 0, length // 2, length - 1),
            (0, 0, length - 1, length - 1),
        ]
        x0, y0, x1, y1 = ends[int(draw.rng.integers(3))]
        cv2.line(kernel, (x0, y0), (x1, y1), 1.0)
        picture = cv2.filter2D(picture, -1, kernel / kernel.sum())
    return picture


def _sensor(picture: np.ndarray, p: Preset, draw: _Draw) -> np.ndarray:
    height, width = picture.shape
    sigma = draw.strength(p.noise)
    if sigma > 0.5:
        grain = draw.rng.standard_normal((height, width)).astype(np.float32)
        if draw.rng.random() < 0.4:
            grain = cv2.GaussianBlur(grain, (0, 0), 0.8) * 2
        picture = picture + sigma * grain
    for _ in range(draw.rng.poisson(draw.strength(p.specks) * height * width / 10_000) if p.specks else 0):
        x, y = int(draw.rng.integers(width)), int(draw.rng.integers(height))
        cv2.circle(picture, (x, y), int(draw.rng.integers(0, 2)), float(draw.rng.choice([30, 240])), -1)
    if p.threshold and draw.rng.random() < p.threshold:
        level = cv2.GaussianBlur(picture, (0, 0), 12) * float(draw.rng.uniform(0.86, 0.96))
        # Scanners threshold at a higher resolution than this: a soft step keeps lines that are thinner than a pixel.
        picture = 20 + 220 / (1 + np.exp((level - picture) / float(draw.rng.uniform(3, 14))))
    return picture
