"""The two sides of `benchmarks/training.py`: our training step, and Hugging Face's `Trainer`.

Both get the same lines from the same code, train a DeiT-Small with a decoder of 6 layers from random weights, and are
advanced one step at a time, so that they can take turns.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader

from runtime.bundle.tokenizer import BpeTokenizer
from training.config import Config, load_config
from training.data.dataset.hub import make_tokenizer
from training.hardware.precision import settle_device
from training.loading.batches import Batch, Lines, Sample
from training.loading.order import Item, Plan
from training.loop.parameter_counts import parameters_of
from training.loop.run import Run, build_run, open_material
from training.loop.train import take_step
from training.model.activation_checkpointing import checkpoint_activations
from training.model.backbone import declare_torchvision_operators

declare_torchvision_operators()  # before timm and transformers, which import torchvision

# Here, and not where they are used, so that no way's memory holds an import.
import timm  # noqa: E402, F401
from transformers import (  # noqa: E402
    BartConfig,
    BartForCausalLM,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    VisionEncoderDecoderModel,
    ViTConfig,
    ViTModel,
)
from transformers.trainer_pt_utils import LengthGroupedSampler  # noqa: E402

EXTRA = "bench"
ROOT = Path(__file__).parent.parent
VOCABULARY = 4097  # the study's number of token ids
PATCH = 16  # px


@dataclass(frozen=True)
class Setup:
    """What both sides have in common.

    Attributes:
        data: folder made by `omr-data build`.
        lines: of its train split, those that our model can hold.
        batch: lines in a batch; a batch is a step.
        height: of the pictures in px.
        precision: fp32 or bf16.
        threads: of the processor.
        device: cpu or cuda.
        workers: processes that load.
        seed: of weights and orders.
    """

    data: Path
    lines: int
    batch: int
    height: int
    precision: str
    threads: int
    device: str
    workers: int
    seed: int

    def config(self, tokenizer_id: str) -> Config:
        """The study's configuration with this data and machine."""
        settings = {
            "data.dataset_id": self.data, "data.tokenizer_id": tokenizer_id, "data.img_height": self.height,
            "data.num_workers": self.workers, "model.params.pretrained": "false", "training.seed": self.seed,
            "training.batch_size": self.batch, "training.gradient_accumulation_steps": 1,
            "training.max_steps": 10_000, "hardware.device": self.device, "hardware.precision": self.precision,
            "hardware.threads": self.threads,
        }  # fmt: skip
        overrides = [f"{key}={value}" for key, value in settings.items()]
        return load_config([ROOT / "configs/backbones/deit_small.yaml"], overrides)


@dataclass(frozen=True)
class Material:
    """The lines that both sides learn from."""

    config: Config
    lines: Lines
    plan: Plan


def open_lines(setup: Setup) -> Material:
    """The first lines that our model holds; byte pairs of their texts take the place of the study's gated tokenizer."""
    atoms = setup.config("atoms")
    texts = open_material(atoms, make_tokenizer("atoms"), 1).lines.rows["transcription"][: setup.lines]
    tokenizer = BpeTokenizer.train(texts, VOCABULARY)
    tokenizer.vocab_size = VOCABULARY  # few lines have fewer pairs; the model's size doesn't follow
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokenizer.json"
        tokenizer.save(path)
        config = setup.config(str(path))
    lines = open_material(config, tokenizer, 1).lines
    lines.rows = lines.rows.select(range(min(setup.lines, len(lines.rows))))
    return Material(config, lines, Plan.of(config, lines.widths(), lines.preparation, 1))


class Side(Protocol):
    """Something that trains."""

    def start(self, batches: Sequence[Sequence[int]]) -> None:
        """Get ready to learn from these batches of rows, in this order."""

    def advance(self) -> None:
        """Load the next batch and take a step with it."""


def load(material: Material, batches: Sequence[Sequence[int]], collate: Callable[[list[Sample]], Any]) -> Any:
    """A loader of these batches, as both sides use it."""
    data = material.config.data
    items = [[Item(index, 0, 0, number) for index in batch] for number, batch in enumerate(batches, 1)]
    on_gpu = settle_device(material.config.hardware.device).type == "cuda"
    return DataLoader(
        material.lines, batch_sampler=items, collate_fn=collate, num_workers=data.num_workers, pin_memory=on_gpu
    )


class Ours:
    """`training.loop.train.take_step`, as `omr-train` calls it.

    Args:
        material: lines.
        run: model and optimizer, which all of our ways share.
        checkpointing: value of `hardware.gradient_checkpointing`.
    """

    def __init__(self, material: Material, run: Run, checkpointing: str) -> None:
        self.material, self.run, self.checkpointing = material, run, checkpointing

    def start(self, batches: Sequence[Sequence[int]]) -> None:
        self.batches = iter(load(self.material, batches, self.material.lines.collate))

    def advance(self) -> None:
        checkpoint_activations(self.run.model, self.checkpointing)
        take_step(self.run, [next(self.batches)])
        synchronise(self.run.accelerator.device)


def our_run(material: Material) -> Run:
    """Model, optimizer and averaged weights at step 0."""
    config = material.config
    half = config.hardware.precision if config.hardware.precision != "fp32" else "no"
    accelerator = Accelerator(mixed_precision=half, cpu=settle_device(config.hardware.device).type == "cpu")
    torch.manual_seed(config.training.seed)
    return build_run(config, Path("runs/none"), accelerator, material.lines.tokenizer, material.plan)


class HuggingFace:
    """`VisionEncoderDecoderModel` in a `Trainer`, which runs in a thread and waits before each step.

    Args:
        material: lines.
        model: of `huggingface_model`, which all of these ways share.
        optimizer: of the model, as the `Trainer` makes it.
        own_width: pad each batch to its own widest picture; otherwise as our batches are padded.
    """

    def __init__(self, material: Material, model: nn.Module, optimizer: torch.optim.Optimizer, own_width: bool) -> None:
        self.material, self.model, self.optimizer, self.own_width = material, model, optimizer, own_width
        self.go, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.error: BaseException | None = None

    def start(self, batches: Sequence[Sequence[int]]) -> None:
        self.thread = threading.Thread(target=self._train, args=(batches,), daemon=True)
        self.thread.start()

    def advance(self) -> None:
        self.go.release()
        self.done.acquire()
        if self.error is not None:
            raise RuntimeError("the Trainer failed") from self.error

    def _train(self, batches: Sequence[Sequence[int]]) -> None:
        torch.set_num_threads(self.material.config.hardware.threads)  # a thread's own setting
        try:
            self.go.acquire()
            make_trainer(self, batches).train()
            raise RuntimeError("it ended before its last batch")
        except BaseException as error:
            self.error = error
            self.done.release()

    def finished_step(self) -> None:
        """Called by the trainer after each step: hands over, and waits for the next turn."""
        synchronise(settle_device(self.material.config.hardware.device))
        self.done.release()
        self.go.acquire()

    def collate(self, samples: list[Sample]) -> dict[str, Any]:
        """A batch with the names that the model wants."""
        batch: Batch = self.material.lines.collate(samples)
        image = batch.image_BCHW
        if self.own_width:
            image = image[..., : -(-int(batch.valid_width_B.max()) // PATCH) * PATCH].contiguous()
        return {"pixel_values": image, "labels": batch.targets_BN, "interpolate_pos_encoding": True}


def huggingface_model(lines: Lines, seed: int) -> nn.Module:
    """A ViT of DeiT-Small's sizes (facebook/deit-small-patch16-224 is one) and a decoder as large as ours.

    The decoder is BART's: of those with cross-attention it has fused attention, which TrOCR's lacks. Its two matrices
    of 3,072 in a feed-forward layer weigh what our three of 2,048 do.
    """
    torch.manual_seed(seed)
    encoder = ViTConfig(
        hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536, image_size=224
    )
    decoder = BartConfig(
        vocab_size=VOCABULARY, d_model=512, decoder_layers=6, decoder_attention_heads=8, decoder_ffn_dim=3072,
        max_position_embeddings=2048, dropout=0.1, is_decoder=True, add_cross_attention=True, use_cache=False,
        tie_word_embeddings=False, pad_token_id=lines.tokenizer.pad_id, bos_token_id=lines.tokenizer.bos_id,
        eos_token_id=lines.tokenizer.eos_id,
    )  # fmt: skip
    model = VisionEncoderDecoderModel(
        encoder=ViTModel(encoder, add_pooling_layer=False),
        decoder=BartForCausalLM(decoder),
    )
    model.config.decoder_start_token_id = lines.tokenizer.bos_id
    model.config.pad_token_id = lines.tokenizer.pad_id
    return model


def trainer_settings(config: Config) -> Any:
    """`TrainingArguments` with our optimizer's settings."""
    optimizer = config.training.optimizer
    return TrainingArguments(
        output_dir=tempfile.gettempdir(), per_device_train_batch_size=config.training.batch_size, num_train_epochs=1,
        learning_rate=optimizer.learning_rate, weight_decay=optimizer.weight_decay, adam_beta1=optimizer.betas[0],
        adam_beta2=optimizer.betas[1], max_grad_norm=optimizer.clip_norm, optim="adamw_torch_fused", warmup_steps=1,
        lr_scheduler_type="linear", bf16=config.hardware.precision == "bf16",
        use_cpu=config.hardware.device == "cpu", dataloader_num_workers=config.data.num_workers,
        remove_unused_columns=False, save_strategy="no", logging_strategy="no", report_to="none", disable_tqdm=True,
        seed=config.training.seed,
    )  # fmt: skip


def huggingface_optimizer(config: Config, model: nn.Module) -> torch.optim.Optimizer:
    """The `Trainer`'s own AdamW, fused."""
    made: torch.optim.Optimizer = Trainer(model, trainer_settings(config)).create_optimizer()
    return made


def make_trainer(side: HuggingFace, batches: Sequence[Sequence[int]]) -> Any:
    """A `Trainer` that learns from given batches in their order, small ones as they are."""

    class Ordered(Trainer):
        def get_train_dataloader(self) -> DataLoader[Sample]:
            return load(side.material, batches, side.collate)

    class TakesTurns(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            side.finished_step()

    return Ordered(
        side.model,
        trainer_settings(side.material.config),
        train_dataset=side.material.lines,
        callbacks=[TakesTurns()],
        optimizers=(side.optimizer, None),
    )


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def make_sides(material: Material, ways: Sequence[str]) -> tuple[dict[str, Side], dict[str, int]]:
    """Ways to train by name, and the number of parameters of each model."""
    config = material.config
    sides: dict[str, Side] = {}
    parameters = {}
    if ours := [way for way in ways if way.startswith("ours")]:
        run = our_run(material)
        sides |= {way: Ours(material, run, way.removeprefix("ours, ")) for way in ours}
        parameters["ours"] = parameters_of(run.model)
    if theirs := [way for way in ways if way.startswith("hf")]:
        model = huggingface_model(material.lines, config.training.seed)
        optimizer = huggingface_optimizer(config, model)
        sides |= {way: HuggingFace(material, model, optimizer, own_width=way != "hf fixed") for way in theirs}
        parameters["hf"] = parameters_of(model)
    return sides, parameters


def clock_of(setup: Setup) -> tuple[Callable[[], float], str]:
    """What steps are timed with, and its name.

    One thread of a processor is timed by the seconds it computes, which other programs hardly move; more threads, which
    wait for one another, and a GPU by the wall clock.
    """
    if setup.device == "cpu" and setup.threads == 1 and setup.workers == 0:
        return time.process_time, "processor seconds"
    return time.perf_counter, "seconds"


def epoch_orders(material: Material, seed: int) -> dict[str, list[list[int]]]:
    """All batches of an epoch: by our plan, and as the `Trainer` draws them in random order or grouped by length."""
    size, widths = material.config.training.batch_size, list(material.plan.widths)
    chance = torch.Generator().manual_seed(seed)
    random = torch.randperm(len(widths), generator=chance).tolist()
    grouped = list(LengthGroupedSampler(size, lengths=widths, generator=chance))
    return {
        "ours": list(material.plan.epoch(0, 0)),
        "random": [random[start : start + size] for start in range(0, len(random), size)],
        "grouped": [grouped[start : start + size] for start in range(0, len(grouped), size)],
    }
