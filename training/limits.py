"""The numbers that each setting may have. A setting that isn't named here must be finite and not negative.

`training.config.load_config` checks every number, so that impossible values are refused before opening data takes
minutes. Values that depend on each other (sizes of a model, a technique's settings) are checked where they are used.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from runtime.errors import ConfigError


class Range(NamedTuple):
    """Numbers from `low` to `high`; an open end is excluded."""

    low: float = 0.0
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return False
        above = self.low < value if self.open_low else self.low <= value
        return above and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {self.low:g}" if self.open_low else f"{self.low:g} or more"
        return f"in {self.low:g} to {self.high:g}{f', below {self.high:g}' if self.open_high else ''}"


DEFAULT = Range()
ONE_OR_MORE, POSITIVE = Range(1), Range(open_low=True)
SHARE, SHARE_BELOW_ONE = Range(0, 1), Range(0, 1, open_high=True)
LIMITS = {
    "model.params.d_model": ONE_OR_MORE,
    "model.params.n_heads": ONE_OR_MORE,
    "model.params.n_decoder_layers": ONE_OR_MORE,
    "model.params.d_ff": ONE_OR_MORE,
    "model.params.max_seq_len": ONE_OR_MORE,
    "model.params.dropout": SHARE_BELOW_ONE,
    "data.img_height": ONE_OR_MORE,
    "data.width_buckets": ONE_OR_MORE,
    "data.degrade_share": SHARE,
    "training.batch_size": ONE_OR_MORE,
    "training.gradient_accumulation_steps": ONE_OR_MORE,
    "training.epochs": POSITIVE,
    "training.label_smoothing": SHARE_BELOW_ONE,
    "training.optimizer.betas": SHARE_BELOW_ONE,
    "training.optimizer.clip_norm": POSITIVE,
    "training.optimizer.ema_decay": SHARE_BELOW_ONE,
    "training.scheduler.warmup_ratio": SHARE,
    "training.scheduler.final_ratio": SHARE,
    "training.scheduler.decay_ratio": SHARE,
    "training.log_every": ONE_OR_MORE,
    "training.max_skipped_steps": ONE_OR_MORE,
}


def check_number(name: str, value: Any) -> None:
    """Refuse a number, or a list with one, that the setting `name` can't be; other values pass.

    Raises:
        ConfigError: it can't be.
    """
    limits = LIMITS.get(name, DEFAULT)
    numbers = value if isinstance(value, tuple) else (value,)
    if any(isinstance(number, (int, float)) and number not in limits for number in numbers):
        each = "each " if isinstance(value, tuple) else ""
        raise ConfigError(f"{name} is {list(value) if each else value}; it must be {each}{limits}")
