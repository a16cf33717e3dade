"""The losses of a batch: that of the tokens, and those that help to learn them (column labels, CTC, where to look).

Each part has a sum and a count, kept apart, so that every token counts the same across accumulated batches and several
processes.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import Config
from ..loading.batches import IGNORED, Batch
from ..model.decoder import MASKED
from ..model.music_trocr import MusicTrOCR, Output

LOOK_WIDTH = 0.5  # columns: standard deviation of where the guided heads should look
DENSE = ("symbol", "staff_position", "duration")


def weights(config: Config) -> dict[str, float]:
    """Weight of each part that is learnt."""
    params = config.model.params
    found = {"token": 1.0, "ctc": params.ctc_weight, "guide": params.guide_weight}
    found |= {name: params.dense_weight for name in DENSE}
    return {name: weight for name, weight in found.items() if weight}


def counts(batch: Batch, config: Config) -> dict[str, Tensor]:
    """What each part's sum is divided by, over all batches of a step."""
    symbols_BT = batch.columns_3BT[0]
    empty, drawn = (symbols_BT == 0).sum(), (symbols_BT > 0).sum()
    found = {
        "token": (batch.targets_BN != IGNORED).sum(),
        "ctc": torch.tensor(len(batch.names)),
        "guide": batch.look_BN.isfinite().sum(),
        "symbol": drawn + config.training.empty_weight * empty,
        "staff_position": (batch.columns_3BT[1] > 0).sum(),
        "duration": (batch.columns_3BT[2] > 0).sum(),
    }
    return {name: found[name].float() for name in weights(config)}


def sums(batch: Batch, output: Output, model: MusicTrOCR, config: Config) -> dict[str, Tensor]:
    """Each part's loss, summed over the batch."""
    wanted = weights(config)
    smoothing = config.training.label_smoothing if model.training else 0.0
    logits = output.logits_BNV.float().flatten(0, 1)
    found = {
        "token": F.cross_entropy(
            logits, batch.targets_BN.flatten(), reduction="sum", label_smoothing=smoothing
        )
    }
    if "guide" in wanted and output.guides_GBNT is not None:
        found["guide"] = guide_sum(output.guides_GBNT, batch.look_BN)
    if output.column_logits_BTV is not None and model.heads is not None:
        parts = model.heads.parts(output.column_logits_BTV.float())
        if "symbol" in wanted:
            for name, logits_BTV, labels_BT in zip(DENSE, parts, batch.columns_3BT, strict=False):
                weight = logits_BTV.new_ones(logits_BTV.shape[-1])
                weight[0] = config.training.empty_weight
                found[name] = F.cross_entropy(
                    logits_BTV.flatten(0, 1),
                    labels_BT.flatten(),
                    weight if name == "symbol" else None,
                    reduction="sum",
                )
        if "ctc" in wanted:
            found["ctc"] = ctc_sum(parts[-1], batch, model.stride)
    return found


def guide_sum(guides_GBNT: Tensor, look_BN: Tensor) -> Tensor:
    """Cross-entropy between a bell around each token's column and where a guided head looks, mean over heads.

    The bell ends where the padding begins, because no head can look there, and a line's last sign is often next to it.
    """
    placed_BN = look_BN.isfinite()
    looked_GKT = guides_GBNT[:, placed_BN]
    columns_T = torch.arange(guides_GBNT.shape[-1], device=look_BN.device) + 0.5
    distance_KT = columns_T - look_BN[placed_BN][:, None]
    bell_KT = -0.5 * (distance_KT / LOOK_WIDTH) ** 2
    seen_KT = looked_GKT.detach().amax(0) > MASKED / 2
    wanted_KT = torch.softmax(bell_KT.masked_fill(~seen_KT, MASKED), dim=-1)
    return -(wanted_KT * looked_GKT).sum() / len(guides_GBNT)


def ctc_sum(logits_BTV: Tensor, batch: Batch, stride: int) -> Tensor:
    """CTC over the tokens, a token's mean in each line; lines with more tokens than columns are left out.

    The padding token's id serves as blank.
    """
    lengths_B = (batch.targets_BN != IGNORED).sum(1) - 1
    columns_B = -(-batch.valid_width_B.long() // stride)
    losses_B = F.ctc_loss(
        logits_BTV.log_softmax(-1).transpose(0, 1), batch.tokens_BN[:, 1:], columns_B, lengths_B,
        blank=0, reduction="none", zero_infinity=True,
    )  # fmt: skip
    return (losses_B / lengths_B.clamp(min=1)).sum()
