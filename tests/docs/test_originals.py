"""The page for those who come from the originals leaves none of their settings out, and names options that exist."""

import inspect
import re
from pathlib import Path

import pytest

from microtome.cli import stability
from microtome.cli.run import run
from microtome.cli.spectra import extract
from microtome.cli.train import train
from microtome.lab import registry
from microtome.train.config import TrainConfig

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from-the-originals.md").read_text("utf-8")
SETTINGS = {
    "task-vectors": "tasks number_pairs layer_to_analyze layer_idx device",
    "head-spectra": "--anchor metric_singvals_per_head mean_attention_entropy_per_head num_layers num_heads",
    "universality": "MODEL_A MODEL_B LAYERS_TO_ANALYZE AQ_THRESHOLD NUM_SAMPLES BATCH_SIZE statistical "
    "percentile fixed",
    "bands": "--model --hidden_dim --num_layers --dataset --steps --output --num_bands --band_dims --band_lrs --seed "
    "--model1 --model2 --baseline --akira batch_size sequence_length total_steps warmup_steps weight_decay eval_every "
    "save_every device mixed_precision wandb",
    "stability": "--priority --num-runs --seed --model --output-dir --verbosity --quantization --force-fft --optimizer "
    "--control-type --results-dir --models --use-absolute --no-absolute --filter-method --filter-metric "
    "--filter-iqr-multiplier --filter-zscore-threshold --treatments --optimizers --precisions",
}
"""What each original lets its user set."""
THEIRS = {"model1", "model2", "baseline", "akira"}
"""Options of the originals that are something else here."""


def section(study: str) -> str:
    (found,) = (part for part in PAGE.split("\n## ") if part.splitlines()[0].endswith(f": `{study}`"))
    return re.sub(r"^```.*?^```$", "", found, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("study", SETTINGS)
def test_every_setting_of_the_original_is_there(study: str) -> None:
    words = set(re.findall(r"-{0,2}\b[\w-]*\w", " ".join(re.findall(r"`([^`]+)`", section(study)))))
    assert [name for name in SETTINGS[study].split() if name not in words] == []


def test_every_option_exists() -> None:
    configs = [TrainConfig, *(registry.load(name).config for name in registry.names())]
    commands = [run, train, extract, stability.run, stability.orchestrate, stability.analyze]
    known = {name for config in configs for name in config.model_fields}
    known |= {name for command in commands for name in inspect.signature(command).parameters}
    known |= {"config", "no_absolute", *THEIRS}
    named = {name.replace("-", "_") for name in re.findall(r"--([a-z][\w-]*\w)", PAGE)}
    assert named - known == set()
