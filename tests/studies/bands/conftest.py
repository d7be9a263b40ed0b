"""Options small enough to train every arm in seconds, on text of short words; all tests share one cache of models."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microtome.studies.bands.arms import ARMS
from microtome.studies.bands.config import BandsConfig
from tests.tiny import WORDS

SHORT: dict[str, Any] = {
    "arms": ARMS,
    "seeds": 2,
    "lr_scales": (1.0,),
    "hidden_dim": 16,
    "num_layers": 2,
    "num_heads": 2,
    "sequence_length": 32,
    "band_dims": (8, 5, 3),
    "band_lrs": (2e-4, 2e-3, 2e-2),
    "steps": 20,
    "warmup_steps": 2,
    "batch_size": 2,
    "held_out": 0.2,
    "evaluations": 2,
    "ablation_blocks": 2,
    "feature_blocks": 8,
    "rotations": 1,
    "reference_layer": 1,
    "reference_documents": 8,
    "resamples": 99,
    "device": "cpu",
}


def write_prose(file: Path, documents: int = 120) -> str:
    """Write documents of 40 short words, and return the corpus' reference."""
    rng = np.random.default_rng(0)
    file.write_text("\n\n".join(" ".join(rng.choice(WORDS, 40)) for _ in range(documents)))
    return f"file:{file}"


@pytest.fixture(scope="package", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache that is empty at first: models that one test trained are found by the next."""
    folder = tmp_path_factory.mktemp("bands-cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MICROTOME_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def prose(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A corpus of 120 documents."""
    return write_prose(tmp_path_factory.mktemp("prose") / "prose.txt")


@pytest.fixture(scope="session")
def options(prose: str, tiny_model: Callable[..., Path]) -> dict[str, Any]:
    """Options of a run; the models take the reference's tokenizer."""
    reference = str(tiny_model("llama"))
    return {**SHORT, "dataset": prose, "tokenizer": reference, "reference_model": reference}


@pytest.fixture(scope="session")
def config(options: dict[str, Any]) -> BandsConfig:
    return BandsConfig.model_validate(options)
