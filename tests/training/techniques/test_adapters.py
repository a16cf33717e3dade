"""LoRA and QLoRA layer by layer: where adapters go, what they cost, that they merge, and what four bits hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from runtime.errors import ConfigError
from training.config import Config
from training.loop.parameter_counts import counts_of
from training.loop.run import adapt
from training.loop.technique import get_technique, learnt
from training.model.backbone import get_backbone
from training.model.music_trocr import MusicTrOCR
from training.techniques._adapters import adapted_layers
from training.techniques.qlora import BLOCK, FourBitLayer, size

from ..technique_runs import configure, random_model

LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(48, 40),
    "linear without bias": lambda: nn.Linear(33, 7, bias=False),
    "convolution": lambda: nn.Conv2d(12, 20, 3, 2, 1),
    "convolution of one pixel": lambda: nn.Conv2d(16, 24, 1, bias=False),
    "convolution of a column": lambda: nn.Conv2d(8, 32, (5, 1), bias=False),
}


class OneLayer(nn.Module):
    """A layer as a model's backbone."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.backbone = nn.Sequential(layer)


def picture(layer: nn.Module) -> Tensor:
    """An input for a layer."""
    torch.manual_seed(1)
    shape = (2, layer.in_channels, 11, 17) if isinstance(layer, nn.Conv2d) else (2, 5, layer.in_features)
    return torch.randn(shape, requires_grad=True)


def with_adapters(technique: str, *overrides: str) -> tuple[MusicTrOCR, Config]:
    config = configure("mobilevit_s", technique, *overrides)
    model = random_model(config)
    adapt(model, config)
    return model, config


@pytest.mark.parametrize("technique", ["lora", "qlora"])
@pytest.mark.parametrize("kind", LAYERS)
def test_an_adapter_merges_into_its_weight(kind: str, technique: str) -> None:
    """Tolerance: fp32, sums of up to 108 products in another order."""
    config = configure("pocket_cnn", technique)
    made = OneLayer(LAYERS[kind]())
    entry = get_technique(config.technique)
    x = picture(made.backbone[0])
    entry.apply(made, config)  # type: ignore[arg-type]
    [adapter] = adapted_layers(made).values()
    nn.init.normal_(adapter.lora_B["default"].weight, std=0.1)
    assert not torch.allclose(made.backbone(x), adapter.base_layer(x), atol=1e-2)
    merged = OneLayer(LAYERS[kind]())
    merged.load_state_dict(entry.merged(made))  # type: ignore[arg-type]
    assert torch.allclose(made.backbone(x), merged.backbone(x), atol=3e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_in_four_bits_computes_what_its_unpacked_weight_does(kind: str) -> None:
    layer, exact = LAYERS[kind](), LAYERS[kind]()
    packed = FourBitLayer(layer)
    exact.load_state_dict({**layer.state_dict(), "weight": packed.weight})
    x = picture(layer)
    outputs = [module(x) for module in (packed, exact)]
    gradients = [torch.autograd.grad(output.square().sum(), x)[0] for output in outputs]
    assert torch.equal(*outputs)
    assert torch.allclose(*gradients, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_in_four_bits_takes_four_bits_and_a_scale_for_every_block(kind: str) -> None:
    layer = LAYERS[kind]()
    packed, weight = FourBitLayer(layer), layer.weight.detach().flatten()
    bias = 0 if layer.bias is None else 4 * layer.bias.numel()
    assert size(packed) == -(-len(weight) // BLOCK) * (BLOCK // 2 + 4) + bias
    for first, stored in zip(weight.split(BLOCK), packed.weight.flatten().split(BLOCK), strict=True):
        assert len(stored.unique()) <= 16
        assert 0.02 < float((stored - first).norm() / first.norm()) < 0.15


def test_a_layer_in_four_bits_follows_autocast() -> None:
    packed = FourBitLayer(nn.Linear(48, 40))
    x = torch.randn(2, 48, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        half = packed(x)
    half.sum().backward()
    assert half.dtype == torch.bfloat16
    assert torch.allclose(half.float(), packed(x), atol=0.05)
    assert x.grad is not None and x.grad.dtype == torch.float32


def test_the_whole_model_shrinks_to_its_packed_bytes() -> None:
    """Adapters aside: 4.5 bits a dense weight instead of 32."""
    plain, _ = with_adapters("full")
    model, _ = with_adapters("qlora")
    layers = adapted_layers(model)
    dense = sum(layer.base_layer.shape.numel() for layer in layers.values())
    adapters = sum(p.numel() * p.element_size() for name, p in model.named_parameters() if ".lora_" in name)
    saved = size(plain) - (size(model) - adapters)
    assert saved == pytest.approx((32 - 4.5) / 8 * dense, rel=1e-3)
    assert dense > 0.9 * counts_of(plain).total


@pytest.mark.parametrize("technique", ["lora", "qlora"])
def test_what_is_trained_grows_with_the_rank(technique: str) -> None:
    trained = {rank: counts_of(with_adapters(technique, f"rank={rank}")[0]).trainable for rank in (4, 8, 16)}
    assert trained[8] == 2 * trained[4]
    assert trained[16] == 4 * trained[4]
    whole = counts_of(with_adapters("full")[0]).total
    assert trained[16] < 0.2 * whole


def test_adapters_stand_beside_linear_layers_and_dense_convolutions() -> None:
    plain = random_model(configure("mobilevit_s"))
    layers = adapted_layers(with_adapters("lora")[0])
    wanted = {
        name
        for name, module in plain.named_modules()
        if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
    }
    depthwise = [name for name, module in plain.named_modules() if isinstance(module, nn.Conv2d) and module.groups > 1]
    assert depthwise and wanted
    assert set(layers) == wanted


CHOICES = [
    ([], "none", True), (["training.init_from=x"], "all", True), (["pretrained=true"], "encoder", False),
    (["pretrained=true", "training.init_from=x"], "all", True), (["pretrained=true", "targets=all"], "encoder", True),
    (["training.init_from=x", "targets=encoder"], "all", False),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "before", "everywhere"), CHOICES, ids=lambda value: str(value))
def test_adapters_go_where_weights_were_learnt_before_unless_told(
    overrides: list[str], before: str, everywhere: bool
) -> None:
    model, config = with_adapters("lora", *overrides)
    assert learnt(config) == before
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    whole = {name for name, _ in model.named_parameters() if not name.startswith("backbone.") and ".lora_" not in name}
    assert trained & whole == (set() if everywhere else whole)
    assert any(name.startswith("backbone.") and ".lora_" in name for name in trained)


def test_a_backbone_without_a_dense_layer_is_refused() -> None:
    config = configure("pocket_cnn", "lora", "targets=encoder")
    model = random_model(config)
    model.backbone = nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4))
    with pytest.raises(ConfigError, match="backbone 'pocket_cnn' has no dense layer .* technique.targets=all"):
        adapt(model, config)


@pytest.mark.parametrize("name", ["pocket_cnn", "mobilevit_s", "resnet50"])
def test_a_frozen_encoder_keeps_its_batch_statistics(name: str) -> None:
    config = configure(name, "frozen")
    model = random_model(config)
    adapt(model, config)
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    model.train()
    entry = get_backbone(name)
    model.backbone(torch.randn(2, entry.image_channels, *entry.debug_size))
    assert all(torch.equal(value, before[key]) for key, value in model.backbone.state_dict().items())
    assert any("running_mean" in key for key in before)
    assert model.decoder.training
