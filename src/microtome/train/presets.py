"""Full configurations to start from: the original's two, and small ones for two processor cores."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from microtome.train.config import TrainConfig

ORIGINAL_RATE = 3e-4
ORIGINAL_BAND_RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
SMALL_RATE = 2e-3
SMALL_BANDS = (32, 24, 20, 16, 16, 12, 8)


def band_rates(rate: float) -> tuple[float, ...]:
    """Return the original's rates of seven bands, in proportion to the rate of all else."""
    return tuple(rate * one / ORIGINAL_RATE for one in ORIGINAL_BAND_RATES)


def original_standard() -> TrainConfig:
    """The original's baseline: 6 layers of 512 dimensions on WikiText-103, 100,000 steps of 64 x 512 tokens."""
    return TrainConfig(model="standard", **_original())


def original_band() -> TrainConfig:
    """The original's band model, with a rate for each band and cross-band attention."""
    return TrainConfig(model="band", band_lrs=ORIGINAL_BAND_RATES, wormhole="published", **_original())


def small_standard() -> TrainConfig:
    """A baseline that two processor cores train in less than a minute."""
    return TrainConfig(model="standard", **_small())


def small_band() -> TrainConfig:
    """A band model of the baseline's size, its bands and rates in proportion to the original's."""
    return TrainConfig(
        model="band",
        band_lrs=band_rates(SMALL_RATE),
        wormhole="published",
        match="parameters",
        **_small(),
    )


def _original() -> dict[str, Any]:
    return {
        "learning_rate": ORIGINAL_RATE, "dataset": "wikitext-103", "tokenizer": "gpt2", "batch_size": 64,
        "sequence_length": 512, "steps": 100_000, "warmup_steps": 1000, "weight_decay": 0.01, "eval_every": 1000,
        "save_every": 10_000, "log_every": 100, "precision": "bf16",
    }  # fmt: skip


def _small() -> dict[str, Any]:
    return {
        "hidden_dim": 128, "num_layers": 3, "num_heads": 4, "sequence_length": 128, "band_dims": SMALL_BANDS,
        "learning_rate": SMALL_RATE, "dropout": 0.0, "steps": 300, "batch_size": 8, "warmup_steps": 30,
        "dataset": "docstrings", "held_out": 0.01, "tokenizer": "bpe:1024", "eval_every": 100, "save_every": 1000,
    }  # fmt: skip


PRESETS: Mapping[str, Callable[[], TrainConfig]] = MappingProxyType(
    {
        "original_standard": original_standard,
        "original_band": original_band,
        "small_standard": small_standard,
        "small_band": small_band,
    }
)
"""The presets by name."""
