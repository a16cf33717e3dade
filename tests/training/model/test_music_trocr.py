"""MusicTrOCR: a cache changes nothing, padding changes nothing it should not, sizes must fit."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from runtime.errors import ConfigError, MissingExtraError
from tests.weights import enliven
from training.backbones._patches import PatchGrid
from training.config import ModelParams
from training.model.decoder import Decoder, KeysValues, attend
from training.model.music_trocr import MusicTrOCR, dense_classes

PARAMS = ModelParams(
    pretrained=False, d_model=32, n_heads=2, n_decoder_layers=2, d_ff=48, max_seq_len=64, memory="columns",
    mixers=1, feed_columns=True, dense_weight=1.0, guide_weight=0.3,
)  # fmt: skip
VOCABULARY = 40


def model(**changes: object) -> MusicTrOCR:
    torch.manual_seed(4)
    made = MusicTrOCR(replace(PARAMS, **changes), VOCABULARY, 32, 1)  # type: ignore[arg-type]
    return enliven(made, 1, 32, 128)


def pictures(width: int = 128) -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    return torch.rand(3, 1, 32, width) * 2 - 1, torch.tensor([width, width - 40, width // 2])



GRID = {"memory": "grid", "feed_columns": False, "dense_weight": 0.0, "guide_weight": 0.0}


@pytest.mark.parametrize("changes", [{}, GRID], ids=["columns", "grid"])
@torch.inference_mode()
def test_step_by_step_with_a_cache_gives_the_whole_sequences_logits(changes: dict[str, object]) -> None:
    """Tolerance: 1e-4 of logits of about 1; the sums are taken in another order."""
    net = model(**changes)
    image, valid = pictures()
    tokens_BN = torch.randint(0, VOCABULARY, (3, 20))
    whole_BNV = net(image, valid, tokens_BN).logits_BNV
    encoded = net.encode(image, valid)
    noise = torch.randn(2, 3, 2, 32, 16)  # in slots that are free yet
    own = [KeysValues(*noise.clone()) for _ in encoded.cross]
    for position in range(20):
        logits_BV, new = net.step(
            tokens_BN[:, position], torch.full((3,), position), own, encoded.cross, encoded.mask_B11T
        )
        assert torch.allclose(logits_BV, whole_BNV[:, position], atol=1e-4)
        for cache, slice_ in zip(own, new, strict=True):
            cache.keys[:, :, position] = slice_.keys[:, :, 0]
            cache.values[:, :, position] = slice_.values[:, :, 0]


@pytest.mark.parametrize("changes", [{}, GRID], ids=["columns", "grid"])
@torch.inference_mode()
def test_chunks_of_given_tokens_give_the_whole_sequences_logits(changes: dict[str, object]) -> None:
    """Tolerance as for single tokens; what fills the last chunk up stands beyond the last position."""
    net = model(**changes)
    image, valid = pictures()
    longest = net.decoder.positions.num_embeddings
    tokens_BN = torch.randint(0, VOCABULARY, (3, longest))
    whole_BNV = net(image, valid, tokens_BN).logits_BNV
    encoded = net.encode(image, valid)
    noise = torch.randn(2, 3, 2, longest + 8, 16)  # in slots that are free yet
    own = [KeysValues(*noise.clone()) for _ in encoded.cross]
    for position in [*range(0, longest - 7, 7), longest - 3]:
        given_BN = F.pad(tokens_BN, (0, 8))[:, position : position + 8]
        logits_BNV, new = net.chunk(given_BN, torch.full((3,), position), own, encoded.cross, encoded.mask_B11T)
        count = min(8, longest - position)
        assert torch.allclose(logits_BNV[:, :count], whole_BNV[:, position : position + count], atol=1e-4)
        for cache, slices in zip(own, new, strict=True):
            cache.keys[:, :, position : position + 8] = slices.keys
            cache.values[:, :, position : position + 8] = slices.values


@torch.inference_mode()
def test_later_tokens_change_nothing_before_them() -> None:
    net = model()
    image, valid = pictures()
    tokens_BN = torch.randint(0, VOCABULARY, (3, 12))
    changed_BN = tokens_BN.clone()
    changed_BN[:, 8:] = (changed_BN[:, 8:] + 1) % VOCABULARY
    first, second = (net(image, valid, ids).logits_BNV for ids in (tokens_BN, changed_BN))
    assert torch.allclose(first[:, :8], second[:, :8], atol=1e-5)
    assert not torch.allclose(first[:, 8:], second[:, 8:], atol=1e-2)


@torch.inference_mode()
def test_the_mask_hides_the_padding_alone() -> None:
    net = model()
    image, valid = pictures()
    mask_B11T = net.encode(image, valid).mask_B11T
    assert mask_B11T.shape == (3, 1, 1, 16)
    assert (mask_B11T[:, 0, 0] == 0).sum(1).tolist() == [16, 11, 8]
    assert set(mask_B11T.unique().tolist()) == {0.0, -1e4}


@torch.inference_mode()
def test_what_stands_far_beyond_a_lines_end_is_not_seen() -> None:
    """The backbone looks some columns ahead, so a margin stays."""
    net = model()
    image, valid = pictures(256)
    valid[:] = 128
    changed = image.clone()
    changed[..., 208:] = 1

    def seen(picture: Tensor) -> Tensor:
        return net.encode(picture, valid).cross[1].keys[:, :, :16]

    assert torch.allclose(seen(image), seen(changed), atol=1e-5)
    changed[..., 120:] = 1
    assert not torch.allclose(seen(image), seen(changed), atol=1e-2)


@pytest.mark.parametrize("ctc_weight", [0.0, 0.5])
@torch.inference_mode()
def test_the_column_heads_score_every_class(ctc_weight: float) -> None:
    net = model(ctc_weight=ctc_weight)
    image, valid = pictures()
    logits_BTV = net.encode(image, valid).column_logits_BTV
    assert logits_BTV is not None and net.heads is not None
    sizes = [*dense_classes(), *([VOCABULARY] if ctc_weight else [])]
    assert logits_BTV.shape == (3, 16, sum(sizes))
    parts = net.heads.parts(logits_BTV)
    assert [part.shape[-1] for part in parts] == sizes
    assert torch.equal(torch.cat(parts, -1), logits_BTV)


def test_the_decoders_loss_does_not_teach_the_column_heads() -> None:
    net = model()
    image, valid = pictures()
    net(image, valid, torch.randint(0, VOCABULARY, (3, 6))).logits_BNV.sum().backward()
    assert net.heads is not None and net.heads.tell is not None
    assert net.heads.score.weight.grad is None
    assert net.heads.tell.weight.grad is not None


def test_where_padding_is_left_out_there_is_an_answer_for_every_column_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The labels of columns and the guides go to the end of the width bucket."""
    torch.manual_seed(4)
    net = MusicTrOCR(replace(PARAMS, vision_model_name="vit_small", dropout=0.0), VOCABULARY, 32, 1).train()
    image, valid = torch.rand(2, 1, 32, 128) * 2 - 1, torch.tensor([64, 80])
    tokens = torch.zeros(2, 5, dtype=torch.long)
    found = []
    for left_out in (True, False):
        monkeypatch.setattr(PatchGrid, "leaves_out_padding", left_out)
        output = net(image, valid, tokens, guide=True)
        assert output.column_logits_BTV is not None and output.guides_GBNT is not None
        assert output.column_logits_BTV.shape[:2] == (2, 8)
        assert output.guides_GBNT.shape[-1] == 8
        found.append((output.column_logits_BTV[0, :4], output.column_logits_BTV[1, :5], output.logits_BNV))
    assert all(torch.allclose(*pair, atol=1e-4) for pair in zip(*found, strict=True))


def test_guides_are_probabilities_of_columns() -> None:
    net = model()
    image, valid = pictures()
    guides = net(image, valid, torch.randint(0, VOCABULARY, (3, 6)), guide=True).guides_GBNT
    assert guides is not None
    assert guides.shape == (2, 3, 6, 16)
    assert torch.allclose(guides.exp().sum(-1), torch.ones(2, 3, 6), atol=1e-5)
    assert net(image, valid, torch.zeros(3, 6, dtype=torch.long)).guides_GBNT is None


@pytest.mark.parametrize("length", [20, 30])
def test_both_ways_of_attending_agree_in_half_precision(length: int) -> None:
    """Tolerance: bfloat16 keeps 8 bits."""
    torch.manual_seed(0)
    query, keys, values = (torch.randn(2, 2, length, 16) for _ in range(3))
    mask = torch.zeros(2, 1, 1, length)
    mask[1, ..., length // 2 :] = -1e4
    exact = attend(query, keys, values, mask)
    half = attend(query.bfloat16(), keys.bfloat16(), values.bfloat16(), mask)
    assert torch.allclose(exact, half.float(), atol=0.05)


def test_a_decoder_has_the_studys_number_of_parameters() -> None:
    """Untied head, no biases, three matrices of SwiGLU, learned positions: 36.7M at the published sizes."""
    with torch.device("meta"):
        decoder = Decoder(4097, 512, 8, 6, 2048, 2048, 0.1, 0)
    assert sum(parameter.numel() for parameter in decoder.parameters()) == pytest.approx(36.7e6, rel=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory": "rows"}, "model.params.memory is 'rows'; use grid or columns"),
        ({"d_model": 30}, "model.params.d_model is 30; it must be a multiple of 4 and of twice n_heads"),
        ({"memory": "grid"}, "model.params.dense_weight needs model.params.memory=columns"),
    ],
)
def test_sizes_that_do_not_fit_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        model(**changes)


def test_a_backbone_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"needs timm: pip install -e '\.\[train\]'"):
        model(vision_model_name="resnet50", **GRID)
