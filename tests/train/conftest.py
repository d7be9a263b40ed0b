"""Configs at sizes that train in a second, on a text in which each word follows from the one before."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.tiny import WORDS

from microtome.train.config import TrainConfig

Tiny = Callable[..., TrainConfig]
BANDS: dict[str, Any] = {"num_bands": 3, "band_dims": (8, 4, 4), "band_lrs": (1e-3, 3e-3, 1e-2)}


@pytest.fixture
def tiny(own_cache: Path, tmp_path: Path) -> Tiny:
    """A function that returns a config of a tiny model: ``tiny("band", steps=3)``."""
    text = tmp_path / "words.txt"
    text.write_text("\n\n".join(" ".join(WORDS[i : i + 40]) for i in range(80)))

    def config(model: str = "standard", **changes: Any) -> TrainConfig:
        sizes: dict[str, Any] = {
            "hidden_dim": 16, "num_layers": 2, "num_heads": 2, "sequence_length": 16, "dropout": 0.0,
            "dataset": f"file:{text}", "tokenizer": "bpe:280", "held_out": 0.2, "device": "cpu",
            "learning_rate": 3e-3, "steps": 4, "batch_size": 4, "warmup_steps": 1, "eval_every": 2, "log_every": 1,
        }  # fmt: skip
        return TrainConfig.model_validate(
            {"model": model, **sizes, **(BANDS if model == "band" else {}), **changes}
        )

    return config
