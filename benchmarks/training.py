"""Training steps: microtome's trainer beside plain loops over GPT-2 and nanoGPT's model, at two sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.report import OURS, Report, about, markdown
from microtome.models.architectures import StandardTransformer
from microtome.train.config import TrainConfig
from microtome.train.data import Text

RATE = 1e-3
UPDATES = 10
"""In one measured call, with one row of the trainer's curves among them."""
BLOCKS = 512
GPT2, NANOGPT = "GPT-2 of transformers, plain loop", "nanoGPT's model and loop, restated"
PEERS = (GPT2, NANOGPT)
VARIANTS = {
    OURS: {"model": "standard"},
    "band": {"model": "band"},
    "band, published wormhole": {"model": "band", "wormhole": "published"},
    "band, complementary wormhole": {"model": "band", "wormhole": "complementary"},
    "filter bank": {"model": "band", "filter_bank": True},
}
Step = Callable[[], Any]


@dataclass(frozen=True)
class Size:
    """A model's size and a batch's; all models are 128 wide with 4 heads, and have no dropout."""

    name: str
    layers: int
    tokens: int
    batch: int
    vocabulary: int
    width: int = 128
    heads: int = 4
    bands: tuple[int, ...] = (32, 24, 20, 16, 16, 12, 8)

    @property
    def blocks(self) -> Tensor:
        """Random text, ``[BLOCKS, tokens + 1]``."""
        generator = torch.Generator().manual_seed(0)
        return torch.randint(self.vocabulary, (BLOCKS, self.tokens + 1), generator=generator)


SIZES = (
    Size("nanoGPT's CPU configuration", layers=4, tokens=64, batch=12, vocabulary=65),
    Size("the small preset", layers=3, tokens=128, batch=8, vocabulary=1024),
)


def ours(size: Size, **variant: Any) -> tuple[StandardTransformer, Step]:
    """Return a model, and the trainer's own update of it."""
    from microtome.train.build import new_model
    from microtome.train.distributed import World
    from microtome.train.loggers import open_logger
    from microtome.train.loop import Run

    cpu, nowhere, blocks = torch.device("cpu"), Path("nowhere"), size.blocks
    config = TrainConfig(
        **variant, hidden_dim=size.width, num_layers=size.layers, num_heads=size.heads, band_dims=size.bands,
        sequence_length=size.tokens, batch_size=size.batch, dropout=0.0, learning_rate=RATE, steps=10**6,
        match="parameters" if variant["model"] == "band" else "none", save_every=10**6, device="cpu",
    )  # fmt: skip
    text: Any = Text(blocks, blocks, None, size.vocabulary, "random")  # pyright: ignore[reportArgumentType]
    model = new_model(config, size.vocabulary, cpu)
    run = Run(config, nowhere, text, model, cpu, World(), None, lambda line: None)
    run.logger = open_logger("none", nowhere, {})
    model.train()
    return model, run.update


def gpt2(size: Size) -> tuple[nn.Module, Step]:
    """Return GPT-2 with a head of its own, and a step as its users write one."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config: Any = GPT2Config(
        vocab_size=size.vocabulary, n_positions=size.tokens, n_embd=size.width, n_layer=size.layers,
        n_head=size.heads, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, tie_word_embeddings=False,
        bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    model: Any = GPT2LMHeadModel(config).train()
    optimizer, blocks = torch.optim.AdamW(model.parameters(), lr=RATE), size.blocks

    def step() -> float:
        tokens = blocks[torch.randint(BLOCKS, (size.batch,)), :-1]
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return model, step


class PlainLayer(nn.Module):
    """A layer as nanoGPT has it: no biases, queries, keys and values in one product, fused attention, exact GELU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = (nn.LayerNorm(width, bias=False) for _ in range(2))
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual stream ``[B, T, d]`` after the layer."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.norm_1(x)).chunk(3, -1)
        )
        z = F.scaled_dot_product_attention(q, k, v, is_causal=True)  # [B, H, T, d_head]
        x = x + self.out(z.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class PlainGPT(nn.Module):
    """nanoGPT's model: learned positions, and a head that is the embedding."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.tokens = nn.Embedding(size.vocabulary, size.width)
        self.positions = nn.Embedding(size.tokens, size.width)
        self.layers = nn.Sequential(*(PlainLayer(size.width, size.heads) for _ in range(size.layers)))
        self.norm = nn.LayerNorm(size.width, bias=False)
        for weight in (weight for weight in self.parameters() if weight.ndim == 2):
            nn.init.normal_(weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits ``[B, T, V]`` of tokens ``[B, T]``."""
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        return self.norm(self.layers(x)) @ self.tokens.weight.T


def nanogpt(size: Size) -> tuple[nn.Module, Step]:
    """Return nanoGPT's model, and its loop's step on a CPU, where AdamW is not fused and each loss is read."""
    model = PlainGPT(size)
    decayed, others = ([p for p in model.parameters() if (p.ndim >= 2) == matrix] for matrix in (True, False))
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer, blocks = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.99)), size.blocks

    def step() -> float:
        batch = blocks[torch.randint(BLOCKS, (size.batch,))]
        logits = model(batch[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return model, step


def rows(size: Size, repetitions: int) -> list[dict[str, Any]]:
    """Measure all ways to train at a size."""
    from benchmarks.meters import interleaved, timings

    ways = {name: ours(size, **variant) for name, variant in VARIANTS.items()}
    ways |= {GPT2: gpt2(size), NANOGPT: nanogpt(size)}
    calls = {name: lambda step=step: [step() for _ in range(UPDATES)] for name, (_, step) in ways.items()}
    for call in calls.values():  # a warm-up
        call()
    times = interleaved(calls, repetitions)
    found = timings(times, OURS)
    fastest = min(PEERS, key=lambda name: found[name]["wall_ratio"])
    against = timings(times, fastest)
    return [
        {
            "size": size.name,
            "way": name,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "tokens_per_second": UPDATES * size.batch * size.tokens / found[name]["wall_s"],
            # Speeds, so the other way round than times.
            "speed_ratio": 1 / found[name]["wall_ratio"],
            "cpu_speed_ratio": 1 / found[name]["cpu_ratio"],
            "to_fastest_peer": 1 / against[name]["wall_ratio"],
        }
        for name, (model, _) in ways.items()
    ]


def run(repetitions: int) -> Report:
    """Measure both sizes, each way on the same random text."""
    lines, found = [], []
    for size in SIZES:
        print(f"measuring {size.name} ...", flush=True)
        found += (table := rows(size, repetitions))
        shape = f"{size.layers} layers, {size.width} wide, {size.heads} heads, {size.batch} x {size.tokens} tokens"
        lines += [f"## {size.name[0].upper()}{size.name[1:]}: {shape}, vocabulary {size.vocabulary}", ""]
        lines += markdown(
            ["", "parameters", "tokens/s", "/ microtome's standard", "by CPU time", "/ the faster peer"],
            [
                [
                    "microtome, standard" if row["way"] == OURS else row["way"],
                    f"{row['parameters']:,}",
                    f"{row['tokens_per_second']:,.0f}",
                    f"{row['speed_ratio']:.2f}",
                    f"{row['cpu_speed_ratio']:.2f}",
                    f"{row['to_fastest_peer']:.2f}",
                ]
                for row in table
            ],
        )
    described = about(
        f"{repetitions} interleaved repetitions of {UPDATES} updates after a warm-up; ratios are medians of "
        "repetitions', of speeds",
        updates="batch, forward, backward, clipping, AdamW; float32, no dropout; microtome's by its trainer, with a "
        "row of its curves; band models have the standard one's parameters",
        peers="GPT-2 with sdpa and AdamW by default, head untied; nanoGPT's without biases, head tied, not compiled",
    )
    return Report("Training", described, lines, {"rows": found})
