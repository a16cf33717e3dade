"""Writes int8 weights and activations with fixed scales into a TFLite file, for LiteRT's delegates for neural
processors, and for old phones' processors.

It uses AI Edge Quantizer's static recipe for convolutions and linear maps, and for what moves values between them
(padding, max pooling). Weights have a scale for each output channel, an activation has one that covers what the
calibration lines gave. Sums, products of two activations (attention), layer norms and softmax stay fp32; embeddings
are int8 weights. Signatures of a kind name their tensors alike, so they share scales, and with them their weights.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_quantizer import calibrator, qtyping, recipe_manager
from ai_edge_quantizer.utils.qsv_utils import min_max_update
from numpy.typing import NDArray

from ...target import Arrays

EXTRA = "tflite"

Operator = qtyping.TFLOperationName

OPERATORS = (
    Operator.CONV_2D, Operator.DEPTHWISE_CONV_2D, Operator.FULLY_CONNECTED, Operator.PAD, Operator.MAX_POOL_2D,
)  # fmt: skip


def recipe() -> qtyping.ModelQuantizationRecipe:
    """Which operators become int8."""
    manager = recipe_manager.RecipeManager()
    for operator in OPERATORS:
        manager.add_static_config(regex=".*", operation_name=operator, activation_num_bits=8, weight_num_bits=8)
    manager.add_dynamic_config(regex=".*", operation_name=Operator.EMBEDDING_LOOKUP, num_bits=8)
    return manager.get_quantization_recipe()


def ranges(source: Path, inputs: Mapping[str, Iterable[Arrays]]) -> dict[str, Any]:
    """Name of each tensor -> lowest and highest value, as the quantiser takes them.

    Args:
        source: an fp32 file.
        inputs: signature -> its inputs by name, for each calibration run.
    """
    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe())
    by_profile = calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED
    seen = calibrator.Calibrator(str(source), num_threads=1, mode=by_profile, qsv_update_func=min_max_update)
    with open(os.devnull, "w") as nothing:
        for graph, runs in inputs.items():
            for run in runs:
                given = {name: as_stored(value) for name, value in run.items()}
                with contextlib.redirect_stderr(nothing):  # a bar for each run
                    seen.calibrate({graph: [given]}, manager)
    found: dict[str, Any] = seen.get_model_qsvs()
    return found


def as_stored(value: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers are 32 bits wide there."""
    return value.astype(np.int32) if value.dtype.kind == "i" else value
