"""LiteRT's GPU delegate beside its CPU: a process of its own, since a driver may take it along.

    python -m tests.export.litert_gpu MODEL.tflite

Prints for each signature whether the GPU takes all of it, and how well each output agrees in dB.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
from ai_edge_litert.compiled_model import CompiledModel
from ai_edge_litert.hardware_accelerator import HardwareAccelerator
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.options import GpuOptions, Options
from numpy.typing import NDArray

from export.checks.parity import psnr
from runtime.bundle.io_spec import MASKED

EXTRA = "tflite"

POSITION = 40
TOKENS = 20  # ids under this one
WIDTH = 700  # px


def values(name: str, shape: tuple[int, ...], dtype: Any, rng: np.random.Generator) -> NDArray[Any]:
    """An input of the contract filled with noise, a memory of which half is padding, or a number that makes sense."""
    made: Any = rng.uniform(-1, 1, shape)
    if name in ("position", "valid_width"):
        made = np.full(shape, POSITION if name == "position" else WIDTH)
    elif name == "token":
        made = rng.integers(0, TOKENS, shape)
    elif name == "memory_mask":
        made = np.where(np.arange(shape[-1]) < shape[-1] // 2, 0.0, MASKED) * np.ones(shape)
    return np.ascontiguousarray(made, dtype)


def main(path: str) -> None:
    rng, interpreter = np.random.default_rng(0), Interpreter(model_path=path, num_threads=1)
    options = Options(hardware_accelerators=HardwareAccelerator.GPU, gpu_options=GpuOptions(enforce_f32=True))
    compiled = CompiledModel.from_file(path, options=options)
    found: dict[str, dict[str, float]] = {}
    for name, borders in compiled.get_signature_list().items():
        runner, number = interpreter.get_signature_runner(name), compiled.get_signature_index(name)
        details = runner.get_input_details()
        given = {key: values(key, tuple(item["shape"]), item["dtype"], rng) for key, item in details.items()}
        inputs, outputs = compiled.create_input_buffers(number), compiled.create_output_buffers(number)
        for buffer, key in zip(inputs, borders["inputs"], strict=True):
            buffer.write(given[key])
        compiled.run_by_index(number, inputs, outputs)
        found[name] = {}
        for key, expected in runner(**given).items():
            read = outputs[borders["outputs"].index(key)].read(expected.size, np.float32)
            found[name][key] = round(psnr(expected, np.reshape(read, expected.shape)), 1)
    print(json.dumps({"whole": compiled.is_fully_accelerated(), "psnr_db": found}))


if __name__ == "__main__":
    main(sys.argv[1])
