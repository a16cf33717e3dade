"""Imitates what a GPU does differently from a CPU, if it takes memory. Otherwise the rehearsal runs as on a CPU.

- Autocast on CUDA computes some operators in fp32 that the CPU's leaves in half precision: "CUDA Ops that can autocast
  to float32", https://docs.pytorch.org/docs/stable/amp.html
- Dropout keeps a mask of a byte a value on CUDA, and fp32 noise on a CPU (`native_dropout`, ATen/native/Dropout.cpp).
- Vision transformers compute the padding there, too (`training.backbones._patches`).
- The caching allocator hands out multiples of 512 bytes (`kMinBlockSize`, c10/cuda/CUDACachingAllocator.cpp).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from training.backbones._patches import PatchGrid

BLOCK = 512  # bytes
IN_SINGLE = {
    "layer_norm", "group_norm", "softmax", "log_softmax", "cross_entropy", "nll_loss", "kl_div", "mse_loss", "l1_loss",
    "smooth_l1_loss", "exp", "log", "pow", "__pow__", "rsqrt", "reciprocal", "norm", "normalize", "cumsum", "sum",
    "prod", "softplus",
}  # fmt: skip
HALVES = (torch.float16, torch.bfloat16)


class CudaAutocast(TorchFunctionMode):
    """Inside autocast, inputs of the operators in the list become fp32."""

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        options = options or {}
        if getattr(function, "__name__", "") in IN_SINGLE and torch.is_autocast_enabled("cpu"):
            arguments, options = tree_map(single, (arguments, options))
        return function(*arguments, **options)


def single(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.dtype in HALVES else value


def keep_padding(model: nn.Module) -> None:
    """Have its vision transformers compute the padding."""
    for module in model.modules():
        if isinstance(module, PatchGrid):
            module.leaves_out_padding = False


def cuda_bytes(operator: Any, tensor: Tensor) -> int:
    """Bytes of a tensor's storage on a GPU."""
    size = tensor.untyped_storage().nbytes()
    if operator is torch.ops.aten.bernoulli_.float:  # dropout's noise
        size = tensor.numel()
    return -(-size // BLOCK) * BLOCK
