"""JPEG compression: blocks, and ripples around lines."""

from __future__ import annotations

import cv2
import numpy as np

from training.data.degradation.degrade import Change, Rng, Stage


def compressed(picture: np.ndarray, strength: float, rng: Rng, space: float) -> np.ndarray:
    if not strength:
        return picture
    grey = cv2.max(cv2.min(picture, 255.0), 0.0).astype(np.uint8)  # type: ignore[call-overload]
    quality = [cv2.IMWRITE_JPEG_QUALITY, max(5, round(100 - strength))]
    return cv2.imdecode(cv2.imencode(".jpg", grey, quality)[1], cv2.IMREAD_GRAYSCALE).astype(np.float32)


DEGRADATION = Change(Stage.FILE, "points of quality lost", compressed)
