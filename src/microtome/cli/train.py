"""``microtome train {standard,band}``: train a model, standard or in bands."""

import sys
from pathlib import Path

from microtome.base.errors import UserError, did_you_mean
from microtome.cli import FAILED, OK
from microtome.cli.options import Asked, Kind, Subject, subject_app
from microtome.cli.parameters import Switch

HELP = "Train a model, standard or in bands; the same command again goes on, or shows the finished model."
MODELS = {
    "standard": "A transformer with one MLP in each layer.",
    "band": "A transformer whose MLPs are cut into bands, each with a learning rate of its own if asked for.",
}
ORIGINAL_WORDS = {"standard_transformer": "standard", "akira_band_transformer": "band"}
"""What the original calls them."""


def train(
    asked: Asked,
    *,
    output: Path | None = None,
    preset: str | None = None,
    config: Path | None = None,
    model: str | None = None,
    dry_run: Switch = False,
) -> int:
    """Train a model, or say what would be trained.

    Args:
        asked: The architecture and its options.
        output: Folder of the trained model; if it holds one that was cut short, that goes on.
        preset: A full configuration to start from: original_standard, original_band, small_standard or small_band.
        config: TOML or YAML file with options; they win over the preset, and those typed over both.
        model: The original's word for the architecture, standard_transformer or akira_band_transformer.
        dry_run: Only print the size of the model, the tokens it would read, and the options.
    """
    from microtome import face
    from microtome.cli.printing import print_trained, print_training
    from microtome.train.loop import Diverged

    meant = ORIGINAL_WORDS.get(model, model) if model else asked.name
    if meant != asked.name:
        raise UserError(
            f"--model: expected a word for '{asked.name}', got '{model}'. Leave it out, or begin with "
            f"`microtome train {meant if meant in MODELS else asked.name}`."
        )
    options = {"preset": preset, "config_file": config, **asked.given}
    if dry_run:
        print_training(face.training(asked.name, **options))
        return OK
    if output is None:
        raise UserError("expected a folder for the trained model, got none. Add --output DIR, or --dry-run.")
    try:
        print_trained(face.train(asked.name, output, **options))
    except Diverged as stop:
        print(f"microtome: {stop}", file=sys.stderr)
        return FAILED
    return OK


def _architecture(name: str) -> Subject:
    from microtome.train.config import TrainConfig

    if name not in MODELS:
        raise UserError(
            f"unknown architecture '{name}'.{did_you_mean(name, MODELS)} Architectures: {', '.join(MODELS)}"
        )
    fields = {field: info for field, info in TrainConfig.model_fields.items() if field != "model"}
    return Subject(name, MODELS[name], fields)


ARCHITECTURE = Kind(
    "architecture", "architectures", "The model and its training", lambda: tuple(MODELS), _architecture
)
app = subject_app("train", HELP, train, ARCHITECTURE)
